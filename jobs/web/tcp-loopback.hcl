path = "tcp-loopback"
