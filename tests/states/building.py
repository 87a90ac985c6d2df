"""Building the programs, and what their runner says."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "programs"
MADE = Path(sys.prefix) / "states"


def _kinds(directory: Path) -> list[str]:
    return sorted(path.stem for path in directory.glob("*.c") if path.stem != "runner")


def _huge_pages() -> int:
    """How many the host keeps ready (vm.nr_hugepages); CRIU, too, needs one to find its device."""
    return int(Path("/proc/sys/vm/nr_hugepages").read_text())


NEED_HUGE_PAGES = 8
HUGE = _kinds(SOURCES / "huge")
"""Kept on a host with huge pages; on others there can't be such memory."""
KINDS = _kinds(SOURCES) + (HUGE if _huge_pages() >= NEED_HUGE_PAGES else [])
REFUSED = _kinds(SOURCES / "refused")
"""What CRIU can't dump: migrate says so, and the container runs on."""
BY_CRIU = [
    "mount_descriptor", "net_udp_corked", "process_shared_directory", "process_shared_memory",
    "process_vfork", "tty_current",
]  # fmt: skip
"""Those of them that the preflight does not see; the dump is given up."""
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
        shutil.copy(_compiled(compiler, kind), directory / kind)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, [*kinds, "runner"]))


def _compiled(compiler: str, kind: str) -> Path:
    """Made once for each content of the sources: several tests use all of them."""
    (source,) = SOURCES.rglob(f"{kind}.c")
    digest = hashlib.blake2b(digest_size=8)
    for file in (source, *sorted(SOURCES.glob("*.h"))):
        digest.update(file.read_bytes())
    made = MADE / f"{kind}-{digest.hexdigest()}"
    if not made.exists():
        MADE.mkdir(exist_ok=True)
        fresh = made.with_name(f"{made.name}.{os.getpid()}")
        options = ["-D_GNU_SOURCE", "-Wall", "-O1", f"-I{SOURCES}", "-o", fresh]
        subprocess.run([compiler, *options, source, "-lpthread", "-lrt"], check=True)
        fresh.rename(made)
    return made


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
