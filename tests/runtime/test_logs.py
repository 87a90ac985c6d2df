"""The log: its files when it turns, and what is read of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from migrate.cli.logtext import LogPrinter
from migrate.runtime.logreading import read
from migrate.runtime.logs import LogFile, LogWriter
from tests.engine import Engine, eventually


def lines(writer: LogWriter, first: int, last: int) -> None:
    for number in range(first, last):
        writer.feed(f"line {number:04}\n".encode())


def shown(printer: LogPrinter, capfd: pytest.CaptureFixture[str]) -> list[int]:
    printer.show()
    return [int(line.split()[1]) for line in capfd.readouterr().out.splitlines()]


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_full_files_are_turned_and_the_oldest_dropped(tmp_path: Path, kept: int):
    path = tmp_path / "log"
    lines(LogWriter(LogFile(str(path), 1000, kept), "stdout"), 0, 200)
    files = sorted(tmp_path.iterdir())
    assert len(files) == kept + 1
    assert all(file.stat().st_size <= 1000 for file in files)
    assert b"line 0199" in path.read_bytes()


def test_without_a_limit_it_only_grows(tmp_path: Path):
    lines(LogWriter(LogFile(str(tmp_path / "log")), "stdout"), 0, 500)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_reader_follows_through_the_turns(tmp_path: Path, capfd):
    path = tmp_path / "log"
    writer = LogWriter(LogFile(str(path), 1000, 5), "stdout")
    with LogPrinter(path) as printer:
        assert shown(printer, capfd) == []
        lines(writer, 0, 5)
        assert shown(printer, capfd) == list(range(5))
        lines(writer, 5, 60)  # several turns
        assert shown(printer, capfd) == list(range(5, 60))
        lines(writer, 60, 61)
        assert shown(printer, capfd) == [60]
    with LogPrinter(path) as printer:
        assert shown(printer, capfd) == list(range(61))


def test_nothing_is_lost_or_there_twice_while_it_turns(tmp_path: Path, capfd):
    """Names change while the reader looks: each is another file's a moment later."""
    path, count = tmp_path / "log", 800
    child = os.fork()
    if child == 0:
        try:
            lines(LogWriter(LogFile(str(path), 300, count), "stdout"), 0, count)
        finally:
            os._exit(0)
    found: list[int] = []
    with LogPrinter(path) as printer:
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            found += shown(printer, capfd)
        found += shown(printer, capfd)
    assert found == list(range(count))


def test_who_is_too_slow_goes_on_with_the_oldest(tmp_path: Path, capfd):
    path = tmp_path / "log"
    writer = LogWriter(LogFile(str(path), 500, 1), "stdout")
    lines(writer, 0, 3)
    with LogPrinter(path) as printer:
        assert shown(printer, capfd) == [0, 1, 2]
        lines(writer, 3, 300)
        found = shown(printer, capfd)
    gap = next(i for i in range(1, len(found)) if found[i] != found[i - 1] + 1)
    assert found[:gap] == list(range(3, 3 + gap))  # the file that it had open
    assert found[gap:] == list(range(found[gap], 300))


@pytest.mark.root
def test_a_containers_log_turns(engine: Engine):
    engine.ok("run", "--name", "l", "--log-max-size", "4k", "--log-max-files", "2", "--rootfs",
              engine.rootfs, "seq", "1000")  # fmt: skip
    own = engine.paths.container(engine.status("l")["id"])
    files = sorted(path.name for path in own.state.glob("log*"))
    assert files == ["log", "log.1"]
    told = engine.ok("logs", "l").split()
    assert told == [str(n) for n in range(int(told[0]), 1001)]
    assert 1 < int(told[0]) < 1000
    engine.ok("start", "l")  # goes on in the same files
    engine.ok("wait", "l")
    assert engine.ok("logs", "--tail", "1", "l") == "1000"
    engine.ok("rm", "l")
    assert engine.leftovers() == []


@pytest.mark.root
def test_who_follows_a_log_wakes_with_it_and_at_no_other_time(engine: Engine):
    text = "echo first; read x < /go; seq 2000; read x < /go"
    engine.detached("--name", "l", "--log-max-size", "4k", "--log-max-files", "99", "--rootfs",
                    str(engine.rootfs), "sh", "-c", f"mkfifo /go; {text}")  # fmt: skip
    follower = engine.start("logs", "-f", "l")
    assert follower.stdout
    assert follower.stdout.readline() == "first\n"
    assert eventually(lambda: _stays_asleep(follower.pid))  # it has begun to wait
    before = _switches(follower.pid)
    time.sleep(0.3)
    assert _switches(follower.pid) - before <= 1
    engine.ok("exec", "l", "sh", "-c", "echo > /go")
    for number in range(1, 2001):
        assert follower.stdout.readline() == f"{number}\n"
    engine.call("exec", "l", "sh", "-c", "echo > /go")  # init's end may end it, too
    assert follower.communicate(timeout=60) == ("", "")
    engine.ok("rm", "-f", "l")


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def _stays_asleep(pid: int) -> bool:
    before = _switches(pid)
    time.sleep(0.1)
    return _status(pid)["State"].startswith("S") and _switches(pid) == before


def _switches(pid: int) -> int:
    return int(_status(pid)["voluntary_ctxt_switches"])


def test_an_entry_that_was_not_written_to_its_end_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines(LogWriter(LogFile(str(path)), "stdout"), 0, 3)
    whole = path.read_bytes()
    for torn in (b"2026-11-27T19:22:13.170631160Z stdout F 2", b"2", b"x" * 20000):
        path.write_bytes(whole + torn)
        lines(LogWriter(LogFile(str(path)), "stdout"), 3, 5)
        assert [entry.text for entry, _ in read(path)] == [f"line {n:04}" for n in range(5)]
    path.write_bytes(b"torn from the beginning")
    LogFile(str(path))
    assert path.read_bytes() == b""


def test_a_full_disk_tears_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    writer = LogWriter(LogFile(str(path)), "stdout")
    lines(writer, 0, 3)
    whole, real = path.read_bytes(), os.write
    monkeypatch.setattr("migrate.runtime.logs.os.write", lambda fd, data: real(fd, data[:7]))
    with pytest.raises(OSError, match="full"):
        lines(writer, 3, 4)
    monkeypatch.undo()
    assert path.read_bytes() == whole
    lines(writer, 4, 5)
    assert path.read_bytes().startswith(whole)
