workload = "database"
path     = "mesh-unix"
