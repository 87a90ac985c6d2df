"""Fuzzers for all that comes from the wire, an archive or a file: `python -m tests.fuzz`."""
