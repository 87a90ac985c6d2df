"""Checkpoint and restore on one host, and the archive format."""
