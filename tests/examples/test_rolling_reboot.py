"""`examples/rolling_reboot.py` over three hosts that really go down, cut off and repeated."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.evacuate.fleet import Fleet, is_cordoned
from tests.hosts import Lan
from tests.hosts.host import CHECKOUT
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import containers, counts_on, is_gapless, make_counter_image, start_counter
from tests.move.test_move import traces

pytestmark = [
    pytest.mark.root, pytest.mark.criu, pytest.mark.hosts, pytest.mark.timeout(600)
]  # fmt: skip

PROGRAM = CHECKOUT / "examples/rolling_reboot.py"
WANTED = "reboot-wanted"
"""A file on a host's disk: who watches from outside is to reboot it."""


@pytest.fixture(scope="module")
def made(lan: Lan) -> Fleet:
    fleet = Fleet(lan, "alpha", "beta", "gamma")
    make_counter_image(lan.shared, *fleet.hosts.values())
    return fleet


@pytest.fixture
def fleet(made: Fleet) -> Iterator[Fleet]:
    """Afterwards nothing of a container or a move is on any host."""
    yield made
    made.clean()
    made.desk.run(["rm", "-f", "/var/lib/migrate/rolling-reboot.json"])
    for host in made.hosts.values():
        (host.disk / WANTED).unlink(missing_ok=True)
        assert traces(host) == []


class Run:
    """The program at the desk. This thread plays the power button: hosts are its children."""

    def __init__(self, fleet: Fleet, *arguments: str, command: str | None = None) -> None:
        self._fleet = fleet
        self.rebooted: list[str] = []
        self._output = fleet.desk.directory / "rolling.log"
        with self._output.open("w") as output:
            self.child = fleet.desk.popen(
                [sys.executable, PROGRAM, "--inventory", fleet.inventory, "--reboot-command",
                 command or f"touch /var/lib/migrate/{WANTED}", *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    def end(self, status: int, *, kill_at_reboot: bool = False) -> str:
        """What it has said, once it has ended with that status."""
        deadline = time.monotonic() + 300
        while self.child.poll() is None:
            assert time.monotonic() < deadline, self._output.read_text()
            for name, host in self._fleet.hosts.items():
                if (host.disk / WANTED).exists():
                    self._power_button(name, kill_at_reboot)
            time.sleep(0.02)
        assert self.child.returncode == status, self._output.read_text()
        return self._output.read_text()

    def _power_button(self, name: str, kill: bool) -> None:
        host = self._fleet.hosts[name]
        assert set(containers(host)) <= {"kept"}, "a host with containers is never rebooted"
        (host.disk / WANTED).unlink()
        if kill:
            self.child.kill()
            self.child.wait()
        host.reboot()
        self.rebooted.append(name)


def filled(fleet: Fleet) -> None:
    """Counters on beta, one of them to stay."""
    for name in ("one", "two"):
        start_counter(fleet.hosts["beta"], name)
    start_counter(fleet.hosts["beta"], "kept", "--label", "migrate.evacuate=keep")


def assert_home(fleet: Fleet) -> None:
    for name in ("one", "two"):
        assert fleet.places()[name] == [("beta", "running")]
        assert counts_on(fleet.hosts["beta"], name)
        assert is_gapless(fleet.hosts["beta"], name)
    assert fleet.places()["kept"] == [("beta", "stopped")]
    assert not any(is_cordoned(host) for host in fleet.hosts.values())


def test_every_host_in_turn_whatever_comes_between(fleet: Fleet) -> None:
    """Refused, then killed while a host is down: each time it goes on."""
    filled(fleet)
    order = ("beta", "alpha", "gamma")
    said = Run(fleet, "--dry-run", *order).end(0)
    assert "one to " in said
    assert "kept stays, and ends with a reboot" in said
    assert fleet.where("one", "two") == {"beta"}

    refused = Run(fleet, *order, command="echo no power >&2; false")
    said = refused.end(1)
    assert "no power" in said
    assert "beta, cordoned: kept (running)" in said
    killed = Run(fleet, *order)
    killed.end(-9, kill_at_reboot=True)
    assert [run.rebooted for run in (refused, killed)] == [[], ["beta"]]
    assert not {"beta"} & fleet.where("one", "two")

    last = Run(fleet, *order)
    said = last.end(0)
    assert last.rebooted == ["alpha", "gamma"], said
    assert "beta: back; its containers return" in said
    assert_home(fleet)
    assert not (fleet.desk.disk / "rolling-reboot.json").exists()


def test_a_host_that_is_cordoned_is_somebodys(fleet: Fleet) -> None:
    fleet.hosts["beta"].run([MIGRATE, "host", "cordon"])
    said = Run(fleet).end(1)
    assert "beta is cordoned already" in said
    assert "alpha: no containers" in said
    assert is_cordoned(fleet.hosts["beta"])
