"""The plugin host, written with the actor kit and the ports; it names no concrete tier or store."""
