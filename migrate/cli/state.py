"""Where this host's state lies; the environment can move it, as test hosts do."""

from __future__ import annotations

import os
from pathlib import Path


def state_directory() -> Path:
    """What outlives a reboot: images, uppers, volumes, journals (MIGRATE_STATE)."""
    return Path(os.environ.get("MIGRATE_STATE") or "/var/lib/migrate")


def run_directory() -> Path:
    """What does not: records, sockets, pids (MIGRATE_RUN)."""
    return Path(os.environ.get("MIGRATE_RUN") or "/run/migrate")
