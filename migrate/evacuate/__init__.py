"""Emptying a host: which hosts there are, a plan as a value, and its execution with a journal."""
