id   = "web-system"
type = "system"
path = "tcp-loopback"
