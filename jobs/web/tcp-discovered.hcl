path          = "tcp-discovered"
instances_max = 4
