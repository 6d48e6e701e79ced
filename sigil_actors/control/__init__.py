"""The door of a running supervisor: a socket in its state folder, for its operator alone."""
