"""All memory of frozen processes as digests of pages, to compare two copies of a container.

For tests and for who doubts: it reads all memory while nothing runs. A process is an array of the
shape (n, 2), uint64: the address of a page that exists, and the xxh3-64 of what it holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrate.checkpoint.tracking.trust import Untrackable, inner_pid
from migrate.kernel.maps import Mapping, flagged, mappings
from migrate.kernel.memory import PAGE, read_runs
from migrate.kernel.pagemap import (
    PAGE_IS_GUARD,
    PAGE_IS_PFNZERO,
    PAGE_IS_PRESENT,
    PAGE_IS_SWAPPED,
    PagemapScanner,
    scans_guards,
)
from migrate.kernel.processes import status_fields

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Digests = NDArray[np.uint64]

_KERNELS = ("[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]", "[aio]", "[uprobes]")
_DROPPABLE = frozenset({"dp"})
"""VmFlags of memory whose contents may go at any time (vgetrandom's, Linux 6.11)."""
_AT_ONCE = 1 << 20  # bytes
DIRECTORY = "digests"
"""Where they travel: a file for each process, by its pid in the container."""
_RSEQ_SIZE = 32  # bytes, at least (include/uapi/linux/rseq.h)


def by_inner_pid(pids: Iterable[int], init_pid: int) -> dict[int, int]:
    """Host pids by pid in the container; those of a nested pid namespace are left out."""
    depth = len(status_fields(init_pid)["NSpid"].split())
    found = {}
    for pid in pids:
        try:
            found[inner_pid(pid, depth)] = pid
        except (Untrackable, FileNotFoundError, ProcessLookupError):
            continue
    return found


def write(processes: dict[int, int], place: Path) -> list[str]:
    """Write digests of host pids, by pid in the container, beneath `place`; the files' names."""
    (place / DIRECTORY).mkdir(mode=0o700)
    for inner, pid in processes.items():
        (place / DIRECTORY / f"{inner}").write_bytes(digests(pid).astype("<u8").tobytes())
    return [f"{DIRECTORY}/{inner}" for inner in processes]


def differences(processes: dict[int, int], place: Path) -> tuple[int, list[tuple[int, int]]]:
    """Compare this copy with what `write` wrote at the other: pages, (pid, address) of the wrong.

    CRIU's images are in `place`/criu. Raises OSError; FileNotFoundError for a process that the
    other copy did not have.
    """
    import numpy as np

    excepted = restartable_sequences(place / "criu")
    pages, wrong = 0, []
    for inner, pid in processes.items():
        raw = (place / DIRECTORY / f"{inner}").read_bytes()
        expected = np.frombuffer(raw, dtype="<u8").reshape(-1, 2).astype(np.uint64)
        pages += len(expected)
        wrong += [(inner, address) for address in compare(pid, expected, excepted)]
    return pages, wrong


def digests(pid: int) -> Digests:
    """Of all pages of a frozen process that exist. Raises OSError."""
    import numpy as np

    scanner, without = PagemapScanner(), PAGE_IS_PFNZERO | (PAGE_IS_GUARD if scans_guards() else 0)
    parts = [np.empty((0, 2), dtype=np.uint64)]
    descriptor = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        dropped = flagged(pid, _DROPPABLE)
        for mapping in mappings(pid):
            if not _is_compared(mapping) or mapping.start in dropped:
                continue
            runs = scanner.scan(
                descriptor, mapping.start, mapping.end, mask=without, inverted=without,
                any_of=PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            )  # fmt: skip
            parts.append(read_digests(pid, runs[:, :2]))
    finally:
        os.close(descriptor)
    return np.concatenate(parts)


def _is_compared(mapping: Mapping) -> bool:
    return "r" in mapping.perms and mapping.name not in _KERNELS


def read_digests(pid: int, runs: Digests) -> Digests:
    """Of the pages of these runs, as far as they can be read; raises OSError."""
    import numpy as np
    import xxhash

    buffer = bytearray(_AT_ONCE)
    view = memoryview(buffer)
    found: list[tuple[int, int]] = []
    for start, end in runs.tolist():
        for at in range(start, end, _AT_ONCE):
            part = np.array([(at, min(at + _AT_ONCE, end))], dtype=np.uint64)
            place = 0
            for first, last in read_runs(pid, part, buffer).tolist():
                for address in range(first, last, PAGE):
                    page = view[place : place + PAGE]
                    found.append((address, xxhash.xxh3_64_intdigest(page)))
                    place += PAGE
    return np.array(found, dtype=np.uint64).reshape(-1, 2)


def compare(pid: int, expected: Digests, excepted: set[int]) -> list[int]:
    """The addresses of pages of this copy that differ from those `expected`.

    What is not among them has to be zero, where it is private and anonymous. `excepted` pages are
    not compared. Raises OSError.
    """
    import numpy as np

    addresses = expected[:, 0]
    apart = np.flatnonzero(np.diff(addresses) != PAGE) + 1
    groups = np.split(addresses, apart) if len(addresses) else []
    runs = np.array([(g[0], g[-1] + PAGE) for g in groups], dtype=np.uint64).reshape(-1, 2)
    here = dict(read_digests(pid, runs).tolist())
    wanted = dict(expected.tolist())
    wrong = {address for address, digest in wanted.items() if here.get(address) != digest}
    return sorted((wrong | _not_zero(pid, wanted)) - excepted)


def _not_zero(pid: int, wanted: dict[int, int]) -> set[int]:
    """Pages that exist in private anonymous memory, were not there, and hold something."""
    import xxhash

    zero = xxhash.xxh3_64_intdigest(bytes(PAGE))
    anonymous = [m for m in mappings(pid) if m.perms.endswith("p") and not m.inode]
    found = set()
    for address, digest in digests(pid).tolist():
        if address not in wanted and digest != zero:
            found.add(address)
    return {a for a in found if any(m.start <= a < m.end for m in anonymous)}


def restartable_sequences(images: Path) -> set[int]:
    """The pages into which the kernel writes by itself (rseq(2)), those of all threads together.

    From CRIU's core images. Raises OSError, and DecodeError for images that are none.
    """
    found: set[int] = set()
    for path in images.glob("core-*.img"):
        core = _read_core(path)
        entry = core.thread_core.rseq_entry if core.HasField("thread_core") else None
        if entry is not None and entry.rseq_abi_pointer:
            start = int(entry.rseq_abi_pointer)
            end = start + max(int(entry.rseq_abi_size), _RSEQ_SIZE)
            found.update(range(start - start % PAGE, end, PAGE))
    return found


def _read_core(path: Path) -> Any:
    from pycriu.images import core_pb2

    raw = path.read_bytes()
    size = int.from_bytes(raw[8:12], "little")
    return core_pb2.core_entry.FromString(raw[12 : 12 + size])
