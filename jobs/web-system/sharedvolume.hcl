id   = "web-system"
type = "system"
path = "sharedvolume"
