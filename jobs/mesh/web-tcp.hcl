workload = "web"
path     = "tcp"
