workload = "web"
path     = "unix"
