"""Hosts of a Go plugin, each a program of its own that calls the same things and times them.

Whose threads, loops and collectors there are matters to none of the others then. Each is started by
`lines.open_host` and does what a line of its input asks for.
"""
