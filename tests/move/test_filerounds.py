"""Moves of large files that change meanwhile, and when a file counts as unchanged."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from migrate.checkpoint.mapped import Mapped, shared_files
from migrate.move import filerounds, vouching
from migrate.move.filerounds import (
    FEW_BYTES,
    LEAST_BYTES,
    LONG,
    FileRound,
    FileRounds,
    _large_files,
    is_worth_it,
    predicted_sending,
)
from migrate.move.progress import Phases
from migrate.move.vouching import RACY_NS, STEP_NS, Stop, Witness, clock_offset
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from tests.engine import eventually
from tests.hosts import Host
from tests.hosts.redis import MIGRATE
from tests.move.test_precopy import PROGRAMS, clean, output, pair, real

__all__ = ["clean", "pair"]


@real
@pytest.mark.timeout(120)
def test_a_program_that_does_everything_to_its_files(clean: tuple[Host, Host]) -> None:
    clean[0].run([
        MIGRATE, "run", "-d", "--name", "files", "-v", "/usr:/usr:ro", "-v",
        f"{PROGRAMS}:/bench:ro", "-v", "data:/data", "bench", "/usr/bin/python3", "-B",
        "/bench/files.py", "/own", "/data/below",
    ])  # fmt: skip
    wait_for(clean[0], "files", 5)
    for turn in range(4):
        source, target = clean[turn % 2], clean[(turn + 1) % 2]
        command = [MIGRATE, "move", "--mode", "pre-copy", "files", target.ssh_target, "--json"]
        told = [json.loads(line) for line in source.run(command).stdout.splitlines()]
        rounds = [event for event in told if event.get("name", "").endswith("of files")]
        assert rounds[0]["files"] >= 12  # two of each directory are small at times
        assert rounds[0]["bytes"] > 10 << 20
        wait_for(target, "files", len(output(target, "files")) + 6)
        assert [line for line in output(target, "files") if "WRONG" in line] == []


@real
@pytest.mark.timeout(240)
def test_a_database_that_writes_while_memory_is_sent(clean: tuple[Host, Host]) -> None:
    """Memory takes seconds; a few MiB of a large file are written all the time."""
    clean[0].run([
        MIGRATE, "run", "-d", "--name", "files", "-v", "/usr:/usr:ro", "-v",
        f"{PROGRAMS}:/bench:ro", "-v", "data:/data", "bench", "/usr/bin/python3", "-B",
        "/bench/database.py", "/data/file", "256", "4", "128", "200",
    ])  # fmt: skip
    wait_for(clean[0], "files", 3)
    freezes, beyond, between = [], [], []
    for turn in range(2):
        source, target = clean[turn % 2], clean[(turn + 1) % 2]
        command = [MIGRATE, "move", "--mode", "pre-copy", "files", target.ssh_target, "--json"]
        lines = source.run([*command, "--bandwidth", "300"]).stdout.splitlines()
        told = [json.loads(line) for line in lines]
        pages = [event for event in told if event.get("event") == "round"]
        names = [event["name"] for event in told if event.get("event") in {"round", "note"}]
        last_of_files = max(i for i, name in enumerate(names) if name.endswith("of files"))
        between.append(last_of_files > names.index("round 1"))
        assert pages[0]["files_pause"] > 0
        freezes.append(told[-1]["result"]["freeze_seconds"])
        beyond.append(freezes[-1] - pages[-1]["predicted_pause"])
        wait_for(target, "files", len(output(target, "files")) + 1)
    assert any(between), "no files between rounds of memory"
    assert min(freezes) < 3.0  # all blocks again would take 7 s
    assert min(abs(each) for each in beyond) < 1.5
    target.run(["sh", "-c", "touch /var/lib/migrate/volumes/data/file.check"])
    assert eventually(lambda: "checked" in output(target, "files"), 60)
    assert [line for line in output(target, "files") if "WRONG" in line] == []


def wait_for(host: Host, name: str, lines: int) -> None:
    assert eventually(lambda: len(output(host, name)) >= lines, 60), output(host, name)[-5:]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "shared"
    path.write_bytes(bytes(8192))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        yield path


@pytest.mark.root
def test_a_shared_mapping_is_found(shared: Path, tmp_path: Path) -> None:
    found = shared_files([os.getpid()], tmp_path)
    status = shared.stat()
    assert (status.st_dev, status.st_ino) in found.files
    assert found.complete
    (tmp_path / "second").hardlink_to(shared)
    shared.unlink()
    assert shared_files([os.getpid()], tmp_path).may_hold((status.st_dev, status.st_ino))


def test_when_a_file_is_vouched_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    status = path.stat()
    later = max(status.st_mtime_ns, status.st_ctime_ns) + RACY_NS + 1
    none = Mapped(complete=True)
    clock = clock_offset()
    assert Stop(later, none, clock).vouches(status)
    for step in (-1, 1):  # the wall clock was set meanwhile
        assert not Stop(later, none, clock + step * 2 * STEP_NS).vouches(status)
    assert not Stop(later - 1, none, clock).vouches(status)
    assert not Stop(later, Mapped(), clock).vouches(status)
    own = Mapped(frozenset({(status.st_dev, status.st_ino)}), complete=True)
    assert not Stop(later, own, clock).vouches(status)
    assert not Stop().vouches(status)


def test_what_counts_as_a_large_file(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/large").write_bytes(bytes(LEAST_BYTES))
    (tmp_path / "small").write_bytes(bytes(LEAST_BYTES - 1))
    (tmp_path / "link").symlink_to("a/b/large")
    (tmp_path / "a/out").symlink_to("..")
    os.mkfifo(tmp_path / "pipe")
    found = [status.st_ino for _, status in _large_files(tmp_path)]
    assert found == [(tmp_path / "a/b/large").stat().st_ino]


class Target:
    """In place of the data connections: the files as the other side has them."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.sent = 0

    def send_blocks(
        self, name: str, size: int, blocks: Iterable[tuple[int, memoryview]]
    ) -> None:  # fmt: skip
        held = self.files.setdefault(name, bytearray())
        held[:] = held[:size].ljust(size, b"\0")
        for offset, data in blocks:
            held[offset : offset + len(data)] = data
            self.sent += len(data)

    def flush(self) -> None:
        pass


class Group:
    """The control group of a container whose only process is this one."""

    name = "c1"

    @contextlib.contextmanager
    def held(self, limit: float) -> Iterator[None]:
        yield

    def pids(self) -> list[int]:
        return [os.getpid()]


@pytest.fixture
def upper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(vouching.ControlGroup, "of", lambda _name: Group())
    made = paths_of(tmp_path).container("c1").upper
    made.mkdir(parents=True)
    return made


def paths_of(place: Path) -> Paths:
    return Paths(place / "state", place / "run")


def begin(place: Path) -> tuple[FileRounds, Target]:
    target = Target()
    record = Record("c1", "name", created=0.0)
    phases = Phases(lambda event: None)
    time.sleep(0.06)  # what is there is old enough
    witness = Witness(paths_of(place), record)
    return FileRounds(witness, target, phases), target  # type: ignore[arg-type]


def last(rounds: FileRounds, path: Path) -> int | None:
    rounds._witness.look()
    with path.open("rb") as file:
        return rounds.content(file.fileno(), os.fstat(file.fileno()))


@pytest.mark.root
def test_a_mapping_that_is_gone_before_the_freeze(upper: Path, tmp_path: Path) -> None:
    """Its page was writable all the time: what was written there has left no trace."""
    path = upper / "file"
    path.write_bytes(bytes(LEAST_BYTES))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[5] = 1
        rounds, target = begin(tmp_path)
        before = path.stat()
        mapping[5] = 2
    after = path.stat()
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
    assert last(rounds, path) == 0
    assert target.files["staged/0"] == path.read_bytes()


@pytest.mark.root
def test_what_has_not_changed_is_not_read_again(upper: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (upper / name).write_bytes(os.urandom(LEAST_BYTES))
    rounds, target = begin(tmp_path)
    assert target.sent == 2 * LEAST_BYTES
    with (upper / "a").open("r+b") as file:
        file.write(b"new")
    names = [f"staged/{last(rounds, upper / name)}" for name in ("a", "b")]
    assert target.sent == 2 * LEAST_BYTES + (64 << 10)
    assert [bytes(target.files[name]) for name in names] == [
        (upper / name).read_bytes() for name in ("a", "b")
    ]
    assert last(rounds, upper / "a") is None  # a number serves once
    (upper / "c").write_bytes(os.urandom(LEAST_BYTES))
    assert last(rounds, upper / "c") is None  # newer than the rounds: in the tar


@pytest.mark.root
def test_a_round_between_those_of_memory(
    upper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = upper / "file"
    path.write_bytes(os.urandom(FEW_BYTES))
    rounds, target = begin(tmp_path)
    rounds_before = len(rounds.done)
    rounds.again()
    assert len(rounds.done) == rounds_before  # it would be of no use so early
    with path.open("r+b") as file:
        file.write(os.urandom(LEAST_BYTES))
    (upper / "new").write_bytes(os.urandom(LEAST_BYTES))
    later = time.monotonic() + LONG
    monkeypatch.setattr(filerounds.time, "monotonic", lambda: later)
    rounds.again()
    monkeypatch.undo()
    assert target.sent == FEW_BYTES + 2 * LEAST_BYTES
    assert len(rounds.done) == rounds_before + 1
    assert last(rounds, path) == 0
    assert last(rounds, upper / "new") == 1
    assert target.files["staged/0"] == path.read_bytes()
    assert target.files["staged/1"] == (upper / "new").read_bytes()


def test_when_another_round_is_worth_it() -> None:
    first = FileRound(0.0, 0.001, 1 << 30, 10.0, 0.1, 0.0)  # 107 MB/s
    assert predicted_sending([first], 20.0) == 0.0  # nobody knows
    assert not is_worth_it([first], 19.0)
    assert is_worth_it([first], 21.0)
    busy = FileRound(10.0, 0.001, 10 << 20, 0.1, 0.01, 10.0)
    assert predicted_sending([first, busy], 20.0) == pytest.approx(0.1, rel=0.05)
    assert not is_worth_it([first, busy], 10.15)
    assert not is_worth_it([first, busy], 11.0)  # 10 ms would be saved
    assert is_worth_it([first, busy], 13.0)
    fast = FileRound(10.1, 0.001, 5 << 20, 0.05, 0.01, 0.1)  # the same blocks again and again
    assert predicted_sending([first, busy, fast], 20.1) == pytest.approx(5.0, rel=0.05)


@pytest.mark.root
@pytest.mark.parametrize("keeps_times", [False, True])
def test_another_file_in_its_place(upper: Path, tmp_path: Path, keeps_times: bool) -> None:
    path = upper / "file"
    path.write_bytes(os.urandom(LEAST_BYTES))
    status = path.stat()
    rounds, target = begin(tmp_path)
    path.write_bytes(os.urandom(LEAST_BYTES + 7))
    if keeps_times:
        path.write_bytes(os.urandom(LEAST_BYTES))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert last(rounds, path) == 0
    assert target.files["staged/0"] == path.read_bytes()
