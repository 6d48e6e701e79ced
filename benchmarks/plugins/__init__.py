"""Plugins in Python that answer what hosts ask, each on another server; run as programs."""
