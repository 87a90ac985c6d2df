"""Where an installation keeps what belongs to CRIU."""

from __future__ import annotations

import sys
from pathlib import Path


def home() -> Path:
    """The directory of the record of the chosen CRIU, of the private prefix, and of the filter."""
    return Path(sys.prefix) / "criu"
