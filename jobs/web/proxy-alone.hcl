path = "proxy-alone"
