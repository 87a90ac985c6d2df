"""Which containers go where, in which order and at what cost: pure functions of what hosts told."""
