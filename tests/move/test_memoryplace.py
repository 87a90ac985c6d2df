"""Directories in memory, by themselves and in a move."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.bench.hosts import make_image
from migrate.move import memoryplace
from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.faults import holding

PROGRAMS = Path(__file__).parent / "programs"


@pytest.mark.root
def test_it_is_in_memory_and_goes(tmp_path):
    made = memoryplace.make(tmp_path / "move" / "criu")
    assert made.is_mount()
    assert made.stat().st_mode & 0o777 == 0o700
    (made / "core-1.img").write_bytes(b"x")
    memoryplace.give_up(tmp_path / "move")
    assert list(made.iterdir()) == []
    memoryplace.give_up(tmp_path / "move")
    memoryplace.give_up(tmp_path / "none")


@pytest.mark.root
def test_all_of_several_at_one_place_go(tmp_path):
    """A sender may ask twice."""
    place = tmp_path / "criu"
    memoryplace.make(place)
    memoryplace.make(place)
    memoryplace.give_up(tmp_path)
    assert not place.is_mount()


@pytest.mark.root
def test_no_more_fits_in_than_is_allowed(tmp_path):
    made = memoryplace.make(tmp_path / "criu", 1 << 20)
    try:
        with pytest.raises(OSError, match="No space left") as caught:
            (made / "pages-1.img").write_bytes(bytes(2 << 20))
        assert caught.value.errno == errno.ENOSPC
    finally:
        memoryplace.give_up(tmp_path)


@pytest.fixture(scope="module")
def pair(lan: Lan) -> tuple[Host, Host]:
    hosts = lan.host("alpha"), lan.host("beta")
    make_image(lan.shared / "bench.tar", list(hosts), MIGRATE)
    return hosts


def seen_in_a_move(source: Host, target: Host) -> set[str]:
    """The hosts on which CRIU's images were in memory at some time of a move.

    It is held when all images are there: nobody has to be quick to see them.
    """
    holding.arm(source, "dumped")
    child = source.popen([MIGRATE, "move", "--mode", "pre-copy", "shared", target.ssh_target])
    held = holding.wait_until_held(source, "move", child)
    seen = in_memory(source, target)
    os.kill(held, signal.SIGCONT)
    while child.poll() is None:
        seen |= in_memory(source, target)
        time.sleep(0.002)
    assert child.returncode == 0
    return seen


def in_memory(*hosts: Host) -> set[str]:
    """Those that have images in memory now, by name."""
    return {
        host.name
        for host in hosts
        if "migrate-criu " in Path(f"/proc/{host.pid}/mounts").read_text()
    }


@pytest.fixture(params=[1, 320])
def shared(pair: tuple[Host, Host], request: pytest.FixtureRequest) -> Iterator[int]:
    """A container with as many MiB of shared memory."""
    mib = int(request.param)
    source = pair[0]
    source.run([
        MIGRATE, "run", "-d", "--name", "shared", "-v", "/usr:/usr:ro",
        "-v", f"{PROGRAMS}:/bench:ro", "bench", "/usr/bin/python3", "/bench/shared.py", str(mib),
    ])  # fmt: skip
    assert eventually(lambda: "ready" in source.run([MIGRATE, "logs", "shared"]).stdout, 60)
    yield mib
    for host in pair:
        host.run([MIGRATE, "rm", "-f", "shared"], check=False)  # it is on one of them


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
def test_images_are_in_memory_where_they_are_small(pair: tuple[Host, Host], shared: int) -> None:
    """CRIU dumps shared memory itself: with much of it both hosts would need it once more."""
    source, target = pair
    both = {source.name, target.name}
    assert seen_in_a_move(source, target) == (both if shared == 1 else set())
    assert eventually(lambda: not in_memory(*pair))
    time.sleep(0.3)
    assert "WRONG" not in target.run([MIGRATE, "logs", "shared"]).stdout
