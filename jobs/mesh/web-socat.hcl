workload = "web"
path     = "socat"
