workload = "database"
path     = "tcp-tls"
