"""Watches of several things: told of changes, of ends, and made anew."""

from __future__ import annotations

import os
import select
from pathlib import Path

from migrate.kernel import inotify

MASK = inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_DELETE | inotify.IN_CLOSE_WRITE


def told(watches: inotify.Watches) -> bool:
    ready = bool(select.select([watches.descriptor], [], [], 0)[0])
    watches.clear()
    return ready


def test_changes_are_told_once(tmp_path: Path):
    with inotify.Watches() as watches:
        assert watches.add(str(tmp_path), MASK)
        assert not watches.add(str(tmp_path), MASK)  # it is watched already
        assert not watches.add(str(tmp_path / "missing"), MASK)
        assert not told(watches)
        (tmp_path / "a").write_text("x")
        assert told(watches)
        assert not told(watches)
        (tmp_path / "a").rename(tmp_path / "b")
        assert told(watches)


def test_what_was_removed_can_be_watched_anew(tmp_path: Path):
    place = tmp_path / "place"
    place.mkdir()
    with inotify.Watches() as watches:
        assert watches.add(str(place), MASK)
        place.rmdir()
        assert told(watches)
        place.mkdir()
        assert watches.add(str(place), MASK)
        (place / "a").write_text("x")
        assert told(watches)


def test_writes_to_several_files_are_told_apart(tmp_path: Path):
    queue = inotify.open_queue()
    files = [os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in "abc"]
    try:
        first, second = (inotify.watch_writes(queue, file) for file in files[:2])
        assert first != second
        assert inotify.written(queue) == set()
        os.write(files[1], b"x")
        os.write(files[2], b"x")
        os.write(files[1], b"y")
        assert inotify.written(queue) == {second}
        assert inotify.written(queue) == set()
    finally:
        for descriptor in (queue, *files):
            os.close(descriptor)
