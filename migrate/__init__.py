"""Moves running Linux containers between hosts with their open connections alive."""

__version__ = "0.1.0"
