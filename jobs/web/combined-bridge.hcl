path = "combined-bridge"
