"""What the tiers share whose plugins are programs of their own, spoken to by gRPC."""
