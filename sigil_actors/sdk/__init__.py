"""For the authors of plugins in Python: serve a plugin, call its host.

A program that calls `serve` runs under this project's host and under any go-plugin host.
"""
