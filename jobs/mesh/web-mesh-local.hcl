workload = "web"
path     = "mesh-local"
