path = "sharedvolume"
