path = "sharedvolume-bridge"
