workload = "stream"
path     = "tcp"
