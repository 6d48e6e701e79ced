"""A small kit of actors on trio that knows nothing of plugins: mailbox, ask, supervisor."""
