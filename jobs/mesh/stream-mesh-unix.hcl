workload = "stream"
path     = "mesh-unix"
