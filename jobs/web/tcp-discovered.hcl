path = "tcp-discovered"
