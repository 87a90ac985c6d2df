"""transfer: our data connections against plain TCP and `ssh cat` of the same bytes.

From one test host to another, on this machine: bytes that can't be compressed, and text-like ones.
Four ways take turns (sending.py): our data connections with a file, and with the same bytes as
pages of memory; one TCP connection by sendfile(2); `ssh HOST 'cat > FILE'` as OpenSSH has it.
Connections are open before the clock starts, and it stops when the other host has written all, to
memory; then every byte is compared. The figures: bytes a second; bytes on the wire, as the sender's
interface counts them (the heads of packets that the kernel cuts later are counted once); and CPU
seconds per GiB of all processes of both hosts.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.bench import hosts, usage
from migrate.bench.comparison import Comparison
from migrate.bench.errors import BenchImpossible, BenchMissed
from migrate.bench.rows import machine
from migrate.bench.sending import DIRECTORY, FILES, PAGES, TCP, WAYS
from migrate.bench.series import Series
from migrate.bench.workloads.memory import WORDS

KINDS = ("random", "text")
DATA = Path("/run/bench-data")
"""A tmpfs of the sender."""
DISTINCT = 16 << 20
"""Bytes after which text begins anew: further than any compressor of ours looks back."""
NAME = "data"
_LIMIT = 900.0  # seconds of one transfer
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """Three rows for each kind of bytes. `link`: Mbit/s of the links, None for no limit."""

    mib: int
    link: float | None
    rows: tuple[Comparison, ...]

    def as_json(self) -> dict[str, Any]:
        """The result with the machine it was taken on."""
        return {
            "benchmark": "transfer", "mib": self.mib, "link_mbit": self.link,
            "rows": [row.as_json() for row in self.rows], **machine(),
        }  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """One transfer."""

    seconds: float
    wire: float
    cpu: float
    """Seconds, of both hosts."""


def run(mib: int, link: float | None, runs: int, report: Callable[[str], None]) -> Outcome:
    """`runs` counted turns of each way; raises BenchMissed when other bytes arrive than were sent.

    `mib`: MiB that are sent each time. `link`: Mbit/s of the hosts' links.
    """
    rows: list[Comparison] = []
    with hosts.site(report, link) as site:
        source, target = site.pair
        source.run(["sh", "-c", f"mkdir {DATA} && mount -t tmpfs tmpfs {DATA}"])
        target.run(
            ["sh", "-c", f"mkdir -p {DIRECTORY} && mount -t tmpfs -o mode=700 tmpfs {DIRECTORY}"]
        )
        for kind in KINDS:
            _write(_outside(source, DATA / NAME), kind, mib)
            turns: dict[str, list[Sent]] = {way: [] for way in WAYS}
            for turn in range(runs + 1):
                for way in WAYS:
                    sent = _send(source, target, way)
                    words = f"{mib / sent.seconds:.0f} MiB/s, {sent.cpu:.2f} s of CPU"
                    report(f"{kind}, {way}{'' if turn else ' (not counted)'}: {words}")
                    if turn:
                        turns[way].append(sent)
            rows += _rows(f"{mib} MiB, {kind}", mib << 20, turns)
    return Outcome(mib, link, tuple(rows))


def _rows(what: str, size: int, turns: dict[str, list[Sent]]) -> Iterator[Comparison]:
    figures: dict[str, Callable[[Sent], float]] = {
        "bytes/s": lambda sent: size / sent.seconds,
        "bytes on the wire": lambda sent: sent.wire,
        "CPU s/GiB": lambda sent: sent.cpu / (size / (1 << 30)),
    }
    for unit, figure in figures.items():
        sides = tuple(Series(way, tuple(map(figure, sent))) for way, sent in turns.items())
        yield Comparison(what, unit, sides, (FILES, PAGES), more_is_better=unit == "bytes/s")


def _outside(host: Any, path: Path) -> Path:
    """A file of a host, as this process sees it."""
    return Path(f"/proc/{host.pid}/root") / path.relative_to("/")


def _write(path: Path, kind: str, mib: int) -> None:
    words = WORDS.split()
    text = b""
    if kind == "text":
        while len(text) < min(DISTINCT, mib << 20):
            text += b" ".join(random.choices(words, k=100_000)) + b"\n"  # noqa: S311
    with path.open("wb") as file:
        for number in range(mib):
            at = (number << 20) % DISTINCT
            file.write(text[at : at + _CHUNK] if text else os.urandom(_CHUNK))


def _send(source: Any, target: Any, way: str) -> Sent:
    with _receiver(target, way), _sender(source, target, way) as child:
        begun = (usage.sent_bytes(source), _cpu(source, target))
        told = _order(child, way)
        ended = (usage.sent_bytes(source), _cpu(source, target))
    _check(_outside(source, DATA / NAME), _outside(target, DIRECTORY), way)
    return Sent(float(told), ended[0] - begun[0], ended[1] - begun[1])


def _cpu(*both: Any) -> float:
    return sum(usage.cpu_seconds(host) for host in both)


@contextlib.contextmanager
def _sender(source: Any, target: Any, way: str) -> Iterator[Any]:
    child = source.popen(
        [sys.executable, "-m", "migrate.bench.sending", way, str(DATA / NAME), target.ssh_target,
         NAME],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _hear(child, "ready", way)
        yield child
    finally:
        try:
            child.communicate(timeout=_LIMIT)
        finally:
            child.kill()
    if child.returncode:
        raise BenchImpossible(f"{way} failed", cause=f"exit code {child.returncode}")


@contextlib.contextmanager
def _receiver(target: Any, way: str) -> Iterator[None]:
    """Whoever has to wait at the target beforehand: only plain TCP has no sshd."""
    if way != TCP:
        yield
        return
    child = target.popen(
        [sys.executable, "-m", "migrate.bench.plaintcp", str(DIRECTORY / NAME)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _hear(child, "listening", way)
        yield
    finally:
        child.kill()
        child.communicate()


def _hear(child: Any, word: str, way: str) -> None:
    if child.stdout.readline().strip() != word:
        child.kill()
        raise BenchImpossible(f"{way} can't begin", cause=child.stderr.read().strip())


def _order(child: Any, way: str) -> str:
    child.stdin.write("\n")
    child.stdin.flush()
    line: str = child.stdout.readline()
    if not line:
        raise BenchImpossible(f"{way} failed", cause=child.stderr.read().strip())
    return line


def _check(sent: Path, place: Path, way: str) -> None:
    """Compare, and remove what has arrived: pages stand at the address that is in their name."""
    deadline = time.monotonic() + 5
    while not (found := sorted(place.glob(f"{NAME}*"))):
        if time.monotonic() > deadline:
            raise BenchMissed(f"{way}: nothing has arrived", cause=f"{place} is empty")
        time.sleep(0.01)
    at = int(found[0].name.partition("@")[2] or 0)
    with sent.open("rb") as ours, found[0].open("rb") as theirs:
        theirs.seek(at)
        same = all(chunk == theirs.read(_CHUNK) for chunk in iter(lambda: ours.read(_CHUNK), b""))
    for path in found:
        path.unlink()
    if not same:
        raise BenchMissed(f"{way}: other bytes have arrived than were sent")
