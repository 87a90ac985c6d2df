"""The benchmark's hosts: test hosts on this one machine, from the checkout's tests/hosts."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import migrate
from migrate.bench.errors import BenchImpossible


def load(name: str = "") -> Any:
    """The module `tests.hosts` (or one below it); raises BenchImpossible outside a checkout."""
    root = str(Path(migrate.__file__).resolve().parent.parent)
    if root not in sys.path:
        sys.path.insert(0, root)
    try:
        return importlib.import_module(f"tests.hosts{name and '.' + name}")
    except ImportError as error:
        raise BenchImpossible(
            "the benchmark needs a checkout of migrate", cause=str(error),
            mend="clone the project, run 'make setup', then '.venv/bin/migrate bench'",
        ) from error  # fmt: skip
