"""Images that go while others are written; what the moves gain by it, the bench shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest

from migrate.move import earlyimages
from migrate.move.earlyimages import EarlyImages
from migrate.transfer.bulk import BulkSender
from migrate.transfer.errors import ConnectionLost
from tests.engine import eventually


class Sender:
    """Notes what it is to send, as it was then."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sent: dict[str, list[bytes]] = {}
        self._error = error
        self.has_failed = threading.Event()

    def send_files(self, base: Path, names: Iterable[str]) -> None:
        if self._error:
            self.has_failed.set()
            raise self._error
        for name in names:
            self.sent.setdefault(name, []).append((base / name).read_bytes())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "criu").mkdir()
    return tmp_path


def early(sender: Sender, root: Path) -> EarlyImages:
    return EarlyImages(cast(BulkSender, cast(Any, sender)), root, "criu")


def test_what_stays_goes_early_and_the_rest_at_the_end(root):
    sender = Sender()
    for name in ("core-1.img", "pages-3.img", "files.img", "pstree.img", "fs-2.img"):
        (root / "criu" / name).write_bytes(b"x")
    (root / "criu" / "mm-1.img").touch()
    with (root / "criu" / "pages-1.img").open("wb") as file:
        file.truncate(earlyimages.LARGEST + 1)
    (root / "criu" / "ids-1.img.tmp").write_bytes(b"x")
    with early(sender, root) as images:
        images.begin()
        assert eventually(lambda: len(sender.sent) == 3)
        time.sleep(5 * earlyimages._EVERY)
        names = [f"criu/{path.name}" for path in (root / "criu").iterdir()] + ["upper.tar"]
        rest = images.finish(names)
    gone = {"criu/core-1.img", "criu/pages-3.img", "criu/fs-2.img"}
    assert set(sender.sent) == gone
    assert set(rest) == set(names) - gone
    assert all(contents == [b"x"] for contents in sender.sent.values())


def test_what_has_grown_since_goes_again(root):
    sender = Sender()
    for name in ("core-1.img", "core-2.img"):
        (root / "criu" / name).write_bytes(b"a part")
    with early(sender, root) as images:
        images.begin()
        assert eventually(lambda: len(sender.sent) == 2)
        with (root / "criu" / "core-2.img").open("ab") as file:
            file.write(b", and more")
        assert images.finish(["criu/core-1.img", "criu/core-2.img"]) == ["criu/core-2.img"]


def test_what_is_being_written_waits(root):
    sender = Sender()
    stop = threading.Event()

    def write() -> None:
        with (root / "criu" / "pages-1.img").open("ab", buffering=0) as file:
            while not stop.wait(earlyimages._EVERY / 20):
                file.write(b"x")

    writer = threading.Thread(target=write)
    writer.start()
    with early(sender, root) as images:
        images.begin()
        time.sleep(0.3)
        stop.set()
        writer.join()
        images.finish([])
    assert len(sender.sent.get("criu/pages-1.img", [])) <= 1


def test_what_sending_raises_is_told_at_the_end(root):
    (root / "criu" / "core-1.img").write_bytes(b"x")
    sender = Sender(ConnectionLost("it broke"))
    with early(sender, root) as images:
        images.begin()
        assert sender.has_failed.wait(20)
        with pytest.raises(ConnectionLost):
            images.finish(["criu/core-1.img"])


def test_nothing_goes_before_it_is_to_begin(root):
    sender = Sender()
    (root / "criu" / "core-1.img").write_bytes(b"x")
    with early(sender, root) as images:
        time.sleep(5 * earlyimages._EVERY)
        assert images.finish(["criu/core-1.img"]) == ["criu/core-1.img"]
    assert not sender.sent
