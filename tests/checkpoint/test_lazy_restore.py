"""Containers that run before their memory is there: every page is right, whoever is killed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.criu.errors import ImageBad
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.control import ask
from migrate.runtime.errors import StillFilling, WrongState
from migrate.runtime.filling import await_filled, is_filling, progress
from migrate.runtime.lifecycle.start import start
from migrate.runtime.lifecycle.stop import kill, stop
from migrate.runtime.paths import ContainerPaths
from tests.checkpoint.conftest import Place
from tests.checkpoint.lazystore import Dumped, page_servers
from tests.engine import eventually

pytestmark = [pytest.mark.root, pytest.mark.criu]

MIB, PROCESSES = 48, 3
LINES = PROCESSES * 4  # of the check: one a process, one a child
SLOW = 8 << 20  # bytes a second


class Checked:
    """A container that runs `programs/pages.py`, was dumped, and is to be restored lazily."""

    def __init__(self, place: Place, directory: Path) -> None:
        self.place = place
        program = ["/usr/bin/python3", "/programs/pages.py", str(MIB), str(PROCESSES)]
        self.record = place.make("pages", program)
        self.own: ContainerPaths = place.paths.container(self.record.identifier)
        self.lines = 0
        self.said(PROCESSES)
        self.dumped = Dumped(place, self.record, directory)
        assert self.dumped.bytes > MIB << 20

    def said(self, number: int) -> None:
        """So many lines more, all of them good."""
        self.lines += number
        said = self.own.rootfs / "said"
        self.place.wait_for(
            lambda: said.exists() and said.read_text().count("\n") >= self.lines, "silence", 60
        )
        lines = said.read_text().splitlines()
        assert [line for line in lines if not line.endswith("intact")] == []

    def go(self) -> None:
        """Begin to fork, unmap, remap and empty."""
        (self.own.rootfs / "go").touch()

    def check_all(self) -> None:
        """What was begun by `go` has ended well; then all is looked at once more."""
        self.said(LINES)
        await_filled(self.own, 60)
        (self.own.rootfs / "again").touch()
        self.said(PROCESSES)

    def nothing_left(self) -> None:
        assert eventually(lambda: page_servers(self.own) == [])
        assert not self.own.pages_socket.exists()
        assert list(self.dumped.store.iterdir()) == []


@pytest.fixture
def checked(place: Place) -> Iterator[Checked]:
    directory = Path(tempfile.mkdtemp(prefix="mglazy", dir="/dev/shm"))
    yield Checked(place, directory)
    shutil.rmtree(directory)


def descriptors(pid: int) -> set[str]:
    """What a process holds."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(os.readlink(f"/proc/{pid}/fd/{name}").removesuffix(" (deleted)"))
    return found


@pytest.mark.parametrize("rate", [0, 60 << 20])
def test_it_runs_and_changes_its_memory_while_it_is_filled(checked, rate):
    checked.dumped.restore(fill_rate=rate)
    checked.go()
    checked.check_all()
    checked.nothing_left()
    process = records.load_process(checked.own)
    served = {"anon_inode:[userfaultfd]", "/memfd:pages", str(checked.own.filling)}
    checked.place.wait_for(lambda: not descriptors(process.monitor) & served)
    assert len(os.listdir(f"/proc/{process.monitor}/fd")) < 12


def test_a_page_server_that_is_killed_again_and_again(checked):
    """SIGKILL at random moments. What it had read, its successors know."""
    checked.dumped.restore(fill_rate=24 << 20)
    checked.go()
    random.seed(4)
    kills = 0
    while is_filling(checked.own) and kills < 20:
        for pid in page_servers(checked.own):
            with contextlib.suppress(ProcessLookupError):  # it has come to its end
                os.kill(pid, signal.SIGKILL)
                kills += 1
        time.sleep(random.uniform(0.001, 0.2))
    checked.check_all()
    checked.nothing_left()
    assert kills > 3
    assert checked.own.run.joinpath("monitor.log").read_text() == ""


def test_a_monitor_that_is_killed(checked):
    """The server holds all descriptors as well, and ends its work alone."""
    checked.dumped.restore(fill_rate=SLOW)
    checked.go()
    process = records.load_process(checked.own)
    (server,) = page_servers(checked.own)
    os.kill(process.monitor, signal.SIGKILL)
    checked.check_all()
    checked.place.wait_for(lambda: not Path(f"/proc/{server}").exists())


def test_monitor_and_server_killed_at_once(checked):
    """The kernel has put zeros: no dump may take them for memory, until it is started afresh."""
    checked.dumped.restore(fill_rate=SLOW)
    process = records.load_process(checked.own)
    (server,) = page_servers(checked.own)
    os.kill(process.monitor, signal.SIGSTOP)
    os.kill(server, signal.SIGKILL)
    os.kill(process.monitor, signal.SIGKILL)
    with pytest.raises(StillFilling):
        await_filled(checked.own, 0.3)
    with contextlib.suppress(WrongState):  # it may have met a zero that mattered
        stop(checked.place.paths, checked.record, 0)
    start(checked.place.paths, records.find(checked.place.paths, "pages"))
    await_filled(checked.own, 0)


def test_a_container_that_is_killed_while_it_is_filled(checked):
    checked.dumped.restore(fill_rate=SLOW)
    process = records.load_process(checked.own)
    (server,) = page_servers(checked.own)
    kill(checked.place.paths, checked.record, "KILL")
    checked.place.wait_for(lambda: not process.monitored)
    assert not Path(f"/proc/{server}").exists()
    assert not is_filling(checked.own)
    assert checked.place.status(checked.record) == "stopped"


def test_a_checkpoint_waits_until_all_is_there(checked):
    checked.dumped.restore(fill_rate=16 << 20)
    checked.go()
    assert is_filling(checked.own)
    checked.place.migrate("checkpoint", "pages", "-o", "second.tar.zst")
    checked.place.migrate("restore", "second.tar.zst")
    checked.check_all()


def test_who_can_not_wait_is_told(checked):
    checked.dumped.restore(fill_rate=1 << 20)
    with pytest.raises(StillFilling, match="not complete") as caught:
        await_filled(checked.own, 0.3)
    assert "MiB" in caught.value.cause
    assert eventually(lambda: progress(checked.own).filled > 0)
    seen = progress(checked.own)
    assert seen.filled < seen.total
    assert '"filling": {' in checked.place.migrate("inspect", "pages").stdout


@pytest.mark.parametrize("which", range(PROCESSES))
def test_a_store_without_a_process_is_refused(checked, which):
    """Zeros in place of what is missing would be worse than no container."""
    sorted(checked.dumped.store.glob("*.present"))[which].unlink()
    with pytest.raises(ImageBad, match="can't be restored"):
        checked.dumped.restore()
    assert not ControlGroup.of(checked.record.identifier).pids()
    assert page_servers(checked.own) == []


def test_a_monitor_without_a_page_server_says_so(place):
    own = place.paths.container(place.counter().identifier)
    assert ask(own, {"do": "pages"})["pid"] == 0
    assert ask(own, {"do": "fill"})["ok"]
    assert progress(own) is None
    await_filled(own, 0)
