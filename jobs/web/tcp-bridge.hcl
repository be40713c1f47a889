path = "tcp-bridge"
