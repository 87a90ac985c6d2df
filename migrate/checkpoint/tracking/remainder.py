"""How much memory a tracker leaves to CRIU, whose images then hold it.

That is what it does not vouch for (`trust`): shared and huge pages, locked memory, what `trust`
leaves out of mapped files, and all of a process that is not tracked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from migrate.kernel.processes import status_fields

_ANONYMOUS = ("RssAnon", "VmSwap")
_SHARED = ("RssShmem", "HugetlbPages")


def remainder(told: Mapping[int, int]) -> int:
    """Bytes, at most, for processes that do not grow: of shared memory each counts its own.

    `told`: by pid on this host, the bytes that a round has told of as all of the process. From
    proc_pid_status(5), where the kernel has them counted: nothing is walked. What a process has
    grown by since counts, too.
    """
    total = 0
    for pid, known in told.items():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = status_fields(pid)
            total += max(_bytes(fields, _ANONYMOUS) - known, 0) + _bytes(fields, _SHARED)
    return total


def _bytes(fields: dict[str, str], names: tuple[str, ...]) -> int:
    """A zombie has none of the fields."""
    return sum(int(fields.get(name, "0").split()[0]) << 10 for name in names)
