"""Full log files on their way, ahead of the rest or with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migrate.checkpoint import oldlogs


@pytest.fixture
def log(tmp_path: Path) -> Path:
    for name in ("log", "log.1", "log.2"):
        (tmp_path / name).write_text(name)
    return tmp_path / "log"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "place"
    made.mkdir()
    return made


def test_all_of_them_there_and_back(log: Path, place: Path) -> None:
    names = oldlogs.write(log, place, set())
    assert names[-1] == oldlogs.LIST
    assert len(names) == 3
    target = place / "log"
    oldlogs.put(place, target, take=False)
    assert [(place / f"log.{n}").read_text() for n in (1, 2)] == ["log.1", "log.2"]
    assert not (place / "log.3").exists()


def test_what_went_ahead_is_not_written_and_keeps_its_key_when_renamed(
    log: Path, place: Path
) -> None:
    there = oldlogs.found(log)
    (place / oldlogs.DIRECTORY).mkdir()
    for key, path in there.values():
        (place / oldlogs.DIRECTORY / key).write_bytes(path.read_bytes())
    for number in (2, 1):  # the log was full once more
        log.with_name(f"log.{number}").rename(log.with_name(f"log.{number + 1}"))
    log.rename(log.with_name("log.1"))
    names = oldlogs.write(log, place, {key for key, _path in there.values()})
    assert len(names) == 2
    oldlogs.put(place, place / "log", take=True)
    assert [(place / f"log.{n}").read_text() for n in (1, 2, 3)] == ["log", "log.1", "log.2"]
    assert list((place / oldlogs.DIRECTORY).iterdir()) == []


def test_without_full_files_nothing_is_written(tmp_path: Path, place: Path) -> None:
    assert oldlogs.write(tmp_path / "log", place, set()) == []
    oldlogs.put(place, place / "log", take=True)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    "told",
    [
        [], "x", {"1": 7}, {"1": "../../secret"}, {"0": "1-2-3"}, {"-1": "1-2-3"}, {"²": "1-2-3"},
        {"x": "1-2-3"}, {"99999": "1-2-3"}, {"1": "4-4-4"},
    ],
)  # fmt: skip
def test_a_list_that_is_not_understood_is_passed_over(place: Path, told: object) -> None:
    (place.parent / "secret").write_text("secret")
    (place / oldlogs.DIRECTORY).mkdir()
    (place / oldlogs.DIRECTORY / "1-2-3").write_text("x")
    (place / oldlogs.LIST).write_text(json.dumps(told))
    oldlogs.put(place, place / "log", take=True)
    assert not list(place.glob("log*"))
