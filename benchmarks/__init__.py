"""Measures against the peers, in the same run: `make bench`, or `python -m benchmarks --list`."""
