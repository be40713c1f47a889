workload = "web"
path     = "mesh-unix-client"
