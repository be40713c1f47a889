workload = "web"
path     = "mesh-tcp"
