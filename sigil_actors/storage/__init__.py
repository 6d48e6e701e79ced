"""What the runtime keeps on disk besides the audit log."""
