workload = "database"
path     = "mesh-tcp"
