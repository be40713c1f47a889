path = "combined"
