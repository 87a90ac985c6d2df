"""A copy of the memory of tracked processes, kept as a target would, and compared in the end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from migrate.checkpoint.tracking.tracker import Final, Tracker, Written
from migrate.kernel import processes
from migrate.kernel.maps import mappings

PAGE = 4096
PROGRAMS = Path(__file__).parent / "programs"
ZEROS = bytes(PAGE)


def tree(root: int) -> list[int]:
    """A process and its descendants, as far as they live."""
    found, at = [root], 0
    while at < len(found):
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{found[at]}/task"):
                text = Path(f"/proc/{found[at]}/task/{task}/children").read_text()
                found.extend(int(word) for word in text.split())
        at += 1
    return found


def _stopped(pid: int) -> bool:
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            if processes.stat_fields(f"{pid}/task/{task}")[2] not in {"T", "Z", "X"}:
                return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def frozen(root: int) -> Iterator[None]:
    """All processes of a tree stopped, none left out."""
    deadline = time.monotonic() + 30
    while True:
        pids = tree(root)
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGSTOP)
        if all(_stopped(pid) for pid in pids) and tree(root) == pids:
            break
        assert time.monotonic() < deadline
    try:
        yield
    finally:
        for pid in reversed(tree(root)):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGCONT)


class Store:
    """Pages by process and address."""

    def __init__(self) -> None:
        self.pages: dict[int, dict[int, bytes]] = {}

    def take(self, written: list[Written]) -> int:
        """Read what a round told of; returns the number of pages."""
        count = 0
        for one in written:
            pages_of(one.runs)
            for runs in (one.runs, one.eager):
                with contextlib.suppress(OSError):
                    count += self._read(one.pid, runs)
        return count

    def _read(self, pid: int, runs: np.ndarray) -> int:
        kept, count = self.pages.setdefault(pid, {}), 0
        descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        try:
            for start, end in runs.tolist():
                for address in range(start, end, PAGE):
                    count += 1
                    with contextlib.suppress(OSError):  # unmapped meanwhile
                        page = os.pread(descriptor, PAGE, address)
                        if len(page) == PAGE:
                            kept[address] = page
        finally:
            os.close(descriptor)
        return count

    def differences(self, finals: list[Final]) -> list[tuple[int, int]]:
        """Every page of the regions that is not what a target would have: (pid, address)."""
        found = []
        for one in finals:
            for runs in (one.written, one.eager_written):
                self._read(one.pid, runs)
            kept = self.pages.get(one.pid, {})
            eager, present = pages_of(one.eager), pages_of(one.present) | pages_of(one.eager)
            assert pages_of(one.written) <= present - eager
            assert pages_of(one.eager_written) <= eager
            assert present <= pages_of(one.regions)
            files = _of_files(one.pid)
            assert eager <= files
            for address, real, is_own in _pages(one):
                if address in files and address not in eager:
                    assert not is_own
                    continue
                mine = kept.get(address) if address in present else ZEROS
                if real != mine:
                    found.append((one.pid, address))
        return found


def _of_files(pid: int) -> set[int]:
    """The pages of its private mappings of files."""
    found = [m for m in mappings(pid) if m.inode and m.perms.endswith("p")]
    return {page for m in found for page in range(m.start, m.end, PAGE)}


def _pages(one: Final) -> Iterator[tuple[int, bytes, bool]]:
    """Of its regions: address, content, and whether it is the process's own.

    That is: there, and neither the file's nor shared (pagemap.rst: bits 61-63).
    """
    with (
        open(f"/proc/{one.pid}/mem", "rb", buffering=0) as memory,
        open(f"/proc/{one.pid}/pagemap", "rb", buffering=0) as pagemap,
    ):
        for start, end in one.regions.tolist():
            count = (end - start) // PAGE
            entries = os.pread(pagemap.fileno(), count * 8, start // PAGE * 8)
            kinds = (np.frombuffer(entries, np.uint64) >> np.uint64(61)).tolist()
            data = _content(memory.fileno(), start, end)
            for index, kind in zip(range(count), kinds, strict=True):
                page = data[index * PAGE : (index + 1) * PAGE]
                yield start + index * PAGE, page, kind in (0b100, 0b010)


def _content(memory: int, start: int, end: int) -> bytes:
    """At once where that goes, else page by page; raises OSError."""
    with contextlib.suppress(OSError):
        data = os.pread(memory, end - start, start)
        if len(data) == end - start:
            return data
    return b"".join(os.pread(memory, PAGE, address) for address in range(start, end, PAGE))


def pages_of(runs: np.ndarray) -> set[int]:
    assert (runs[:, 0] < runs[:, 1]).all()
    assert (runs[1:, 0] > runs[:-1, 1]).all()  # ascending, and neighbours joined
    return {page for start, end in runs.tolist() for page in range(start, end, PAGE)}


class Steps:
    """A process that does one line of Python after another (programs/steps.py)."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "steps.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self.process.pid
        self._expect("ready")

    def _expect(self, word: str) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line == word, line

    def do(self, *lines: str) -> None:
        """Have lines executed, and wait for the last."""
        for line in lines:
            self.begin(line)
            self._expect("done")

    def begin(self, line: str) -> None:
        """Have a line executed, without waiting."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def tell(self, expression: str) -> int:
        """The value of an expression."""
        assert self.process.stdout is not None
        self.begin(f"m.say({expression})")
        value = int(self.process.stdout.readline())
        self._expect("done")
        return value

    hold = staticmethod(contextlib.nullcontext)
    """It does nothing while nobody tells it to."""

    def pids(self) -> list[int]:
        """This process and its descendants."""
        return tree(self.pid)

    def end(self) -> None:
        """Kill the whole tree."""
        for pid in reversed(self.pids()):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()


def check(tracker: Tracker, root: int, store: Store) -> list[Final]:
    """Freeze, compare every page, go on; returns what the tracker said."""
    with frozen(root):
        finals = tracker.final()
        assert store.differences(finals) == []
    return finals


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
