"""/proc/PID/smaps of a frozen process, as far as CRIU reads it, without counting its pages.

CRIU takes two kinds of lines from it (criu/proc_parse.c, parse_smaps): those of maps, and VmFlags.
What VmFlags says depends on a mapping's vm_flags alone (Linux, fs/proc/task_mmu.c,
show_smap_vma_flags). So the text for each value of vm_flags is learned from smaps while the
container runs; when it is frozen, maps and the values (`migrate.kernel.vmaflags`) are read, and the
lines put together. Where one value was not learned, CRIU has to read smaps itself.

A process may change its flags while they are learned. So a text counts only for a mapping that had
the same place and value before and after, and only if it says the same as the value about each flag
that CRIU goes by. Their bits are known; should a kernel number them otherwise, nothing is learned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from migrate.kernel.vmaflags import VmaFlags

# include/linux/mm.h; the names are those of proc_pid_smaps(5).
_BITS = {
    b"sh": 0x8, b"mw": 0x20, b"gd": 0x100, b"pf": 0x400, b"lo": 0x2000, b"io": 0x4000,
    b"sr": 0x8000, b"rr": 0x1_0000, b"dc": 0x2_0000, b"ac": 0x10_0000, b"nr": 0x20_0000,
    b"ht": 0x40_0000, b"wf": 0x200_0000, b"dd": 0x400_0000, b"hg": 0x2000_0000,
    b"nh": 0x4000_0000, b"mg": 0x8000_0000,
}  # fmt: skip
_MASK = sum(_BITS.values())
_FLAGS = b"VmFlags:"
_VSYSCALL = b"[vsyscall]"  # at the end of maps; it is no mapping (Linux, get_gate_vma)


class KnownFlags:
    """What VmFlags says, by vm_flags."""

    def __init__(self) -> None:
        """Raises OSError where the flags can't be read (VmaFlags)."""
        self._flags = VmaFlags()
        self._texts: dict[int, bytes] = {}
        self._vsyscall = b""

    def learn(self, pid: int) -> None:
        """Read the smaps of a running process: 10 ms a GiB. One that ends teaches nothing."""
        with contextlib.suppress(OSError):
            before = self._flags.read(pid)
            told = dict(_told(Path(f"/proc/{pid}/smaps").read_bytes()))
            for row in set(before).intersection(self._flags.read(pid)):
                start, end, flags = row
                text = told.get(b"%08x-%08x" % (start, end), b"")
                if text and _value(text) == flags & _MASK:
                    self._texts[flags] = text
            self._vsyscall = told.get(_VSYSCALL, self._vsyscall)

    def smaps(self, pid: int) -> bytes | None:
        """The smaps of a process, all of whose tasks are frozen; None if something is not known."""
        try:
            lines = Path(f"/proc/{pid}/maps").read_bytes().splitlines()
            rows = self._flags.read(pid)
        except OSError:
            return None
        parts = []
        if lines and lines[-1].endswith(_VSYSCALL):
            parts = [lines.pop(), self._vsyscall]
        if len(lines) != len(rows) or not rows or b"" in parts:
            return None
        made = []
        for line, (start, end, flags) in zip(lines, rows, strict=True):
            text = self._texts.get(flags)
            if text is None or not line.startswith(b"%08x-%08x " % (start, end)):
                return None
            made += [line, text]
        return b"\n".join([*made, *parts, b""])

    def close(self) -> None:
        """Give the program back."""
        self._flags.close()


def _told(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The line of flags by the place of its mapping ("start-end")."""
    place = b""
    for line in text.splitlines():
        if line.startswith(_FLAGS):
            yield place, line
        elif not line.split(None, 1)[0].endswith(b":"):
            place = _VSYSCALL if line.endswith(_VSYSCALL) else line.split(None, 1)[0]


def _value(text: bytes) -> int:
    """The bits that a line of flags names, of those that are known."""
    return sum(_BITS.get(name, 0) for name in text.split()[1:])
