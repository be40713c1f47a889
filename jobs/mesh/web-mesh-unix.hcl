workload = "web"
path     = "mesh-unix"
