"""What stands against a move, found before anything is frozen: named checks, here and there."""
