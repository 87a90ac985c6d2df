"""Building the programs, and what their runner says."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "programs"


def _kinds(directory: Path) -> list[str]:
    return sorted(path.stem for path in directory.glob("*.c") if path.stem != "runner")


KINDS = _kinds(SOURCES)
REFUSED = _kinds(SOURCES / "refused")
"""What CRIU can't dump: migrate says so, and the container runs on."""
LOST = _kinds(SOURCES / "lost")
"""What CRIU loses without a word, and so does runc."""
ALL = KINDS + REFUSED + LOST
CAPABILITIES = (
    "CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_IPC_LOCK", "CAP_LEASE", "CAP_SYS_NICE",
)  # fmt: skip
"""Beyond the usual ones: for namespaces of their own, options of sockets, locked memory, leases,
scheduling."""


def build(directory: Path, kinds: Iterable[str] = KINDS) -> None:
    """These into `directory`, made; the test is skipped where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    directory.mkdir(exist_ok=True)

    def one(kind: str) -> None:
        (source,) = SOURCES.rglob(f"{kind}.c")
        options = ["-D_GNU_SOURCE", "-Wall", "-O1", "-I", SOURCES, "-o", directory / kind]
        subprocess.run([compiler, *options, source, "-lpthread", "-lrt"], check=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, [*kinds, "runner"]))


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
