"""Values and decisions: pure functions of frozen values. No I/O, no clock, no randomness."""
