"""What in a running container stands against a dump: looked for, and named, before any freeze."""

from migrate.checkpoint.preflight.checks import CHECKS, look, obstacles, refuse
from migrate.checkpoint.preflight.verdict import Verdict, joined

__all__ = ["CHECKS", "Verdict", "joined", "look", "obstacles", "refuse"]
