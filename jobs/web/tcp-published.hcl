path = "tcp-published"
