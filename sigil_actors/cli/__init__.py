"""The command line: one file a command.

`main` alone is loaded for `--help`; a command's file, and what it needs, when it is run.
"""
