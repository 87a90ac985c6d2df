"""The benchmark suite: each benchmark is a module that says what it measures."""
