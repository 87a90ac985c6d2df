"""Building the programs, and what their runner says."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "programs"
KINDS = sorted(path.stem for path in SOURCES.glob("*.c") if path.stem != "runner")
CAPABILITIES = ("CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_IPC_LOCK", "CAP_LEASE")
"""Beyond the usual ones: for namespaces of their own, options of sockets, locked memory, leases."""


def build(directory: Path) -> None:
    """All of them into `directory`, made; the test is skipped where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    directory.mkdir(exist_ok=True)

    def one(kind: str) -> None:
        words = [compiler, "-D_GNU_SOURCE", "-Wall", "-O1", "-o", directory / kind]
        subprocess.run([*words, SOURCES / f"{kind}.c", "-lpthread", "-lrt"], check=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, [*KINDS, "runner"]))


def verdicts(log: Iterable[str], word: str) -> dict[str, str]:
    """What is said of each program ("intact", "ready" or "broken") before the last `all WORD`."""
    found: dict[str, str] = {}
    current: dict[str, str] = {}
    for line in log:
        first, _, rest = line.partition(" ")
        if line == f"all {word}":
            found, current = current, {}
        elif first in {"ready", "intact", "broken"}:
            current[rest] = first
    return found
