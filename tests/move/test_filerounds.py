"""Moves of large files that change meanwhile, and when a file counts as unchanged."""

from __future__ import annotations

import json
import mmap
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.checkpoint.mapped import Mapped, shared_files
from migrate.move.filerounds import LEAST_BYTES, RACY_NS, Stop, _large_files
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
        assert rounds[0]["files"] >= 14
        assert rounds[0]["bytes"] > 10 << 20
        wait_for(target, "files", len(output(target, "files")) + 6)
        assert [line for line in output(target, "files") if "WRONG" in line] == []


def wait_for(host: Host, name: str, lines: int) -> None:
    deadline = time.monotonic() + 30
    while len(output(host, name)) < lines:
        assert time.monotonic() < deadline, output(host, name)[-5:]
        time.sleep(0.1)


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
    assert Stop(later, none).vouches(status)
    assert not Stop(later - 1, none).vouches(status)
    assert not Stop(later, Mapped()).vouches(status)
    own = Mapped(frozenset({(status.st_dev, status.st_ino)}), complete=True)
    assert not Stop(later, own).vouches(status)
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
