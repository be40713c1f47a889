workload = "stream"
path     = "socat"
