workload = "database"
path     = "tcp"
