"""downtime: how long a container is away while it moves, by memory and how fast it writes.

Workload: one process that holds memory of a known content, writes random pages at a given rate,
and answers a client's pings over one TCP connection. It moves to and fro between two test hosts
on this machine, over SSH, in each mode in turn. Three clocks: the service gap (the client's longest
time without an answer), the tick (the workload's own longest time between two ticks), and the
freeze time that `migrate move` reports. At the end of each move every page is compared with what
it must hold.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from migrate.bench import hosts
from migrate.bench.errors import BenchMissed
from migrate.bench.series import Series

ADDRESS, PORT = "10.77.0.120", 7000
START_LIMIT = 120.0  # seconds
PROGRAMS = Path(__file__).parent / "workloads"


@dataclass(frozen=True)
class Load:
    """What moves: memory in MiB, random pages written a second, and what they hold."""

    mib: int
    rate: int = 1000
    kind: str = "random"


@dataclass(frozen=True)
class Row:
    """One mode with one load; times in seconds, bytes of the last move."""

    mode: str
    load: Load
    gap: Series
    tick: Series
    freeze: Series
    phases: dict[str, float]
    bytes_sent: int
    wrong_pages: int

    def as_json(self) -> dict[str, Any]:
        """The row as plain values."""
        clocks = {series.name: series.as_json() for series in (self.gap, self.tick, self.freeze)}
        return {
            "mode": self.mode, "load": asdict(self.load), "phases": self.phases,
            "bytes_sent": self.bytes_sent, "wrong_pages": self.wrong_pages, **clocks,
        }  # fmt: skip


@dataclass(frozen=True)
class Once:
    """One move, as the three clocks saw it."""

    gap: float
    tick: float
    result: dict[str, Any]


def run(
    loads: list[Load], modes: list[str], runs: int, report: Callable[[str], None]
) -> Iterator[Row]:
    """A row for each load and mode; the modes take turns."""
    library = hosts.load()
    with library.Lan() as lan:
        report("making two hosts")
        pair = [lan.host("alpha"), lan.host("beta")]
        client = lan.client("client")
        migrate = hosts.load("redis").MIGRATE
        make_image(lan.shared / "bench.tar", pair, migrate)
        for load in loads:
            with _started(pair[0], client, migrate, load) as pinger:
                yield from _take_turns(pair, pinger, migrate, load, modes, runs, report)
            for host in pair:
                host.run([migrate, "rm", "-f", "load"], check=False)


def make_image(archive: Path, pair: list[Any], migrate: str) -> None:
    """Empty directories for what is bound, and links as on every Debian."""
    with tarfile.open(archive, "w") as tar:
        for name in ("usr", "bench", "etc", "tmp", "proc", "sys", "dev"):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for name in ("bin", "lib", "lib64"):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(member)
    for host in pair:
        host.run([migrate, "image", "import", str(archive), "bench"])


@contextmanager
def _started(host: Any, client: Any, migrate: str, load: Load) -> Iterator[Any]:
    """The workload runs on `host`, and a client pings it."""
    host.run([
        migrate, "run", "-d", "--name", "load", "--network", "bridge", "--bridge", "br-lan",
        "--ip", f"{ADDRESS}/24", "-v", "/usr:/usr:ro", "-v", f"{PROGRAMS}:/bench:ro", "bench",
        "/usr/bin/python3", "-I", "-S", "/bench/memory.py",
        str(load.mib), str(load.rate), load.kind, str(PORT),
    ])  # fmt: skip
    deadline = time.monotonic() + START_LIMIT
    while "ready" not in host.run([migrate, "logs", "load"]).stdout:
        if time.monotonic() > deadline:
            raise BenchMissed("the workload did not start", cause=f"tried for {START_LIMIT:g} s")
        time.sleep(0.1)
    process = client.popen(
        [sys.executable, "-I", "-S", str(PROGRAMS / "pinger.py"), ADDRESS, str(PORT)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        if process.stdout.readline().strip() != "connected":
            raise BenchMissed("the client did not reach the workload")
        yield process
    finally:
        process.stdin.close()
        process.wait()


def _ask(pinger: Any, word: str) -> dict[str, Any]:
    pinger.stdin.write(f"{word}\n")
    pinger.stdin.flush()
    line = pinger.stdout.readline()
    if not line:
        raise BenchMissed("the client lost its connection", cause="see its standard error")
    told: dict[str, Any] = json.loads(line)
    return told


def _take_turns(
    pair: list[Any], pinger: Any, migrate: str, load: Load, modes: list[str], runs: int,
    report: Callable[[str], None],
) -> Iterator[Row]:  # fmt: skip
    done: dict[str, list[Once]] = {mode: [] for mode in modes}
    wrong = dict.fromkeys(modes, 0)
    here = 0
    for turn in range(runs + 1):
        for mode in modes:
            once = _move(pair[here], pair[1 - here], pinger, migrate, mode)
            here = 1 - here
            wrong[mode] += _ask(pinger, "verify")["wrong"]
            report(
                f"{load.mib} MiB, {load.rate} pages/s, {mode}"
                f"{' (not counted)' if not turn else ''}: gap {once.gap * 1000:.0f} ms, "
                f"frozen {once.result['freeze_seconds'] * 1000:.0f} ms, {wrong[mode]} pages wrong"
            )
            if turn:
                done[mode].append(once)
    for mode in modes:
        yield _row(mode, load, done[mode], wrong[mode])
    if here:
        _move(pair[1], pair[0], pinger, migrate, modes[0])


def _move(source: Any, target: Any, pinger: Any, migrate: str, mode: str) -> Once:
    _ask(pinger, "mark")
    told = source.run([migrate, "move", "--mode", mode, "load", target.ssh_target, "--json"]).stdout
    time.sleep(0.5)  # what comes after the thaw belongs to it, too
    seen = _ask(pinger, "mark")
    return Once(seen["gap"], seen["inside"], json.loads(told.splitlines()[-1])["result"])


def _row(mode: str, load: Load, done: list[Once], wrong: int) -> Row:
    import statistics

    phases = [once.result["freeze_phases"] for once in done]
    return Row(
        mode, load,
        Series("service gap", tuple(once.gap for once in done)),
        Series("tick", tuple(once.tick for once in done)),
        Series("freeze", tuple(once.result["freeze_seconds"] for once in done)),
        {name: statistics.median(p[name] for p in phases) for name in phases[0]},
        done[-1].result["bytes_sent"], wrong,
    )  # fmt: skip


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    return {"kernel": platform.release(), "machine": platform.machine(),
            "python": platform.python_version()}  # fmt: skip
