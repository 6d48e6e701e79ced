"""The audit stores."""
