"""The log: its files when it turns, and what is read of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrate.cli.logtext import LogPrinter
from migrate.runtime.logs import LogFile, LogWriter
from tests.engine import Engine


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
