"""Addresses for bridges on this machine itself: tests that run beside these have others."""

from __future__ import annotations

import os

SUBNET = f"198.{18 + (os.getpid() >> 8) % 2}.{os.getpid() % 256}"
"""The first three numbers of a network of 256 addresses, of RFC 2544's for tests."""
