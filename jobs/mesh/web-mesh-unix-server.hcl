workload = "web"
path     = "mesh-unix-server"
