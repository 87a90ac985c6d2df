"""Whatever dies, the container lives once: faults at every point of a move, in every mode."""
