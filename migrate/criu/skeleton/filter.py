"""The library that is preloaded into CRIU: built once, told what to leave out of a dump.

Its sources say how it works. CRIU's own `--lazy-pages` dump costs 150 ms for 1 GiB where this costs
30, since it still looks at every page (design.md, "The page path").
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from migrate.criu.errors import FilterNotBuilt
from migrate.criu.place import home

if TYPE_CHECKING:
    import numpy

_HERE = Path(__file__).parent
SOURCES = tuple(
    _HERE / name for name in ("dump_filter.c", "join_userns.c", "small_tar.c", "small_untar.c")
)
_INCLUDED = (_HERE / "small_tar.inc",)
_VARIABLE = "MIGRATE_SKELETON"
_NO_CONNECTIONS = "no-connections"
_LOOKING = "looking"
_USER_NAMESPACE, _PLACES = "MIGRATE_USER_NAMESPACE", "MIGRATE_PLACES"
_COMPILERS = ("cc", "gcc", "clang", "tcc")
_TIME_LIMIT = 60.0  # seconds


def library() -> Path:
    """Where the library of this version of the source is, or would be."""
    source = b"".join(path.read_bytes() for path in SOURCES + _INCLUDED)
    digest = hashlib.sha256(source).hexdigest()[:12]
    return home() / f"dump_filter-{digest}.so"


def is_built() -> bool:
    """Whether there is a library for this version of the source."""
    return library().exists()


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, _COMPILERS)), None)


def has_compiler() -> bool:
    """Whether `build` finds a C compiler."""
    return _compiler() is not None


def build() -> bool:
    """Build the library where it is missing; True when it was built.

    Raises FilterNotBuilt: no compiler, or it complains.
    """
    target = library()
    if target.exists():
        return False
    compiler = _compiler()
    if compiler is None:
        raise FilterNotBuilt("the filter for CRIU's dump is not built", cause="no C compiler")
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".filter-") as name:
        made = Path(name) / "filter.so"
        done = subprocess.run(
            [compiler, "-shared", "-fPIC", "-nostdlib", "-o", made, *SOURCES],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=_TIME_LIMIT,
        )  # fmt: skip
        if done.returncode != 0:
            complaint = (done.stderr.strip().splitlines() or ["no word"])[0]
            raise FilterNotBuilt("the filter for CRIU's dump is not built", cause=complaint)
        for stale in target.parent.glob("dump_filter-*.so"):
            stale.unlink()
        made.rename(target)
    return True


def preloading() -> dict[str, str]:
    """What a CRIU that leaves nothing out needs in its environment; nothing, where it is not built.

    With it a small tmpfs costs a dump or a restore no start of other programs (`small_tar.c`).
    """
    return {"LD_PRELOAD": str(library())} if is_built() else {}


def joining(user_namespace: Path, places: Sequence[Path]) -> dict[str, str]:
    """The same of a CRIU that restores into a user namespace, bound to that path (`join_userns.c`).

    `places`: what it mounts from outside, which the namespace's root need not be able to reach.
    Raises FilterNotBuilt: without the library CRIU would make another one.
    """
    if not is_built():
        raise FilterNotBuilt("a container with a user namespace can't be restored here")
    reached = "".join(f"{place}:" for place in places)
    return preloading() | {_USER_NAMESPACE: str(user_namespace), _PLACES: reached}


class Skeleton:
    """One dump that leaves things out; what it is told lies in `directory`, made if need be."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory

    def environment(self) -> dict[str, str]:
        """What `criu` has to be started with."""
        return dict(os.environ, LD_PRELOAD=str(library()), **{_VARIABLE: str(self._directory)})

    def begin_look(self) -> None:
        """From now on CRIU waits with each process for its `leave_out`, until `end_look`.

        To be called while CRIU holds all tasks, and has dumped none.
        """
        (self._directory / _LOOKING).touch(mode=0o600)

    def end_look(self) -> None:
        """Nothing more is told; safe to repeat."""
        (self._directory / _LOOKING).unlink(missing_ok=True)

    def leave_out(self, pid: int, ranges: numpy.ndarray) -> None:
        """Have CRIU take `ranges` of a process as empty; before it dumps the process's memory.

        `ranges` has the shape (n, 2), uint64: [start, end) in bytes, ascending. It is the last that
        is told of a process: from then on CRIU may go on with it (`begin_look`).
        """
        path = f"{self._directory}/{pid}"
        with open(f"{path}.new", "wb", buffering=0) as file:  # noqa: PTH123 -- many, frozen
            file.write(ranges.astype("=u8").tobytes())
        os.rename(f"{path}.new", path)  # noqa: PTH104

    def tell_smaps(self, pid: int, text: bytes) -> None:
        """Have CRIU take this for /proc/PID/smaps, unless it is empty; before `leave_out`."""
        if text:
            with open(f"{self._directory}/{pid}.smaps", "wb", buffering=0) as file:  # noqa: PTH123
                file.write(text)

    def leave_out_connections(self) -> None:
        """Have CRIU take the table of tracked connections as empty; before it dumps namespaces."""
        (self._directory / _NO_CONNECTIONS).touch(mode=0o600)
