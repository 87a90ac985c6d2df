"""What moves in a benchmark: each load starts its container, watches it and checks its content."""
