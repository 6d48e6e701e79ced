"""Values and decisions: pure functions of frozen values, no input or output, no clock, no randomness."""
