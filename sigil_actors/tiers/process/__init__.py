"""The process tier: any go-plugin plugin, as a program of its own in a sandbox."""
