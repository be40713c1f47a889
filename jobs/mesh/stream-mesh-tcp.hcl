workload = "stream"
path     = "mesh-tcp"
