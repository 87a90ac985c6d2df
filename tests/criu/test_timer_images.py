"""Timers that expired unread, in an image of open files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pycriu.images
import pytest

from migrate.criu.errors import ImageBad
from migrate.criu.timer_images import revive


def timer(number: int, **fields: int) -> dict[str, Any]:
    plain = {"id": number, "flags": "0x0", "clockid": 1, "ticks": 0, "settime_flags": "0x0",
             "vsec": 0, "vnsec": 0, "isec": 0, "insec": 0}  # fmt: skip
    owner = {"uid": 0, "euid": 0, "signum": 0, "pid_type": 0, "pid": 0}
    return {"type": "TIMERFD", "id": number, "tfd": {**plain, "fown": owner, **fields}}


def written(directory: Path, *entries: dict[str, Any]) -> Path:
    with (directory / "files.img").open("wb") as file:
        pycriu.images.dump({"magic": "FILES", "entries": list(entries)}, file)
    return directory


def read(directory: Path) -> list[dict[str, Any]]:
    with (directory / "files.img").open("rb") as file:
        entries: list[dict[str, Any]] = pycriu.images.load(file)["entries"]
        return entries


def test_only_a_periodic_one_that_waits_to_be_read_is_changed(tmp_path: Path) -> None:
    kept = [
        timer(1, ticks=0, insec=5),  # disarmed, its interval left
        timer(2, ticks=1),  # once, and it has been
        timer(3, ticks=2, vsec=1, isec=3),  # set anew already
    ]
    written(tmp_path, *kept, timer(4, ticks=7, insec=20_000_000))
    before = read(tmp_path)
    revive(tmp_path)
    after = read(tmp_path)
    assert after[:3] == before[:3]
    assert after[3]["tfd"] == before[3]["tfd"] | {"vnsec": 1}


def test_an_image_without_is_left_as_it_is(tmp_path: Path) -> None:
    file = written(tmp_path) / "files.img"
    os.utime(file, ns=(0, 5))  # when it was written, and no clock's tick later
    content, inode = file.read_bytes(), file.stat().st_ino
    revive(tmp_path)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (inode, 5)
    assert file.read_bytes() == content


@pytest.mark.parametrize("cut", [1, 5])
def test_an_image_that_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path, timer(1, ticks=1, isec=1)) / "files.img"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ImageBad, match="cut off"):
        revive(tmp_path)


def test_an_entry_that_is_none_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, timer(1, ticks=1, isec=1)) / "files.img"
    raw = path.read_bytes()
    path.write_bytes(raw[:14] + b"\xff" * (len(raw) - 14))
    with pytest.raises(ImageBad):
        revive(tmp_path)
