"""Which pages of a running container were written: trackers behind one interface."""
