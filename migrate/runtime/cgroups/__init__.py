"""Control groups of a container: v1, v2, or both side by side (hybrid)."""
