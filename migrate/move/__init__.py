"""One move: preflight, plan, the modes, the transaction, recovery."""
