"""A plan carried out: moves side by side, a journal, hooks, a report."""
