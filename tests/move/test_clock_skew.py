"""A host whose clock is an hour off: nothing of a move depends on what time it is.

The times of files stay the kernel's, so a command's clock and its files' are an hour apart, too.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from migrate.move.errors import TargetUnfit
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import containers, counts_on, make_counter_image

NAME, IMAGE = "careful", "counter"
HOUR = 3600
LIBRARY = "clock.so"
pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
WRAPPER = "/run/migrate-late"
# Its memory knows what its file holds: a block of an older round would be found out. The file is
# large enough to travel in rounds.
PROGRAM = """
dd if=/dev/urandom of=/data/large bs=4096 count=128 2>/dev/null
sum=$(sha256sum < /data/large); i=0
while :; do
  [ "$(sha256sum < /data/large)" = "$sum" ] || { echo lost; exit 1; }
  dd if=/dev/urandom of=/data/large bs=4096 count=1 seek=$((i % 128)) conv=notrunc 2>/dev/null
  sum=$(sha256sum < /data/large); i=$((i + 1)); echo $i; sleep 0.01
done
"""


def build(place: Path) -> Path:
    """The library that sets a program's clock, beneath a directory that all hosts see."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang", "tcc"))))
    source = Path(__file__).parent / "programs/clock.c"
    built = place / LIBRARY
    subprocess.run([compiler, "-shared", "-fPIC", "-o", built, source, "-ldl"], check=True)
    return built


@dataclass(frozen=True)
class Pair:
    """Where the container is, and where it goes; turned by each move."""

    hosts: list[Host]
    library: Path

    def skewed(self, seconds: int) -> list[str]:
        """What a program is started by whose wall clock is to be off."""
        return ["env", f"LD_PRELOAD={self.library}", f"CLOCK_OFFSET={seconds}"]

    def late_agent(self, seconds: int) -> None:
        """An agent of the target for `--remote-command`, with that clock."""
        line = shlex.join([*self.skewed(seconds), MIGRATE])
        script = f'#!/bin/sh\nexec {line} "$@"\n'
        self.hosts[1].run(["sh", "-c", f"cat > {WRAPPER} && chmod 755 {WRAPPER}"], input=script)


@pytest.fixture(scope="module")
def pair(lan: Lan) -> Iterator[Pair]:
    hosts = [lan.host("alpha"), lan.host("beta")]
    make_counter_image(lan.shared, *hosts)
    hosts[0].run([MIGRATE, "run", "-d", "--name", NAME, IMAGE, "/bin/sh", "-c", PROGRAM])
    assert counts_on(hosts[0], NAME)
    yield Pair(hosts, build(lan.shared))
    hosts[0].run([MIGRATE, "rm", "-f", NAME])


def test_the_clock_is_off(pair: Pair) -> None:
    """Else the others would prove nothing: preflight sees it, on either side."""
    here, there = pair.hosts
    move = [MIGRATE, "move", "--dry-run", NAME, there.ssh_target]
    for offset, word in ((HOUR, "slow"), (-HOUR, "fast")):
        told = here.run([*pair.skewed(offset), *move], check=False)
        assert told.returncode == TargetUnfit.code
        assert f"s {word}" in told.stderr
    pair.late_agent(HOUR)
    assert "s fast" in here.run([*move, "--remote-command", WRAPPER], check=False).stderr


@pytest.mark.parametrize(
    ("side", "offset", "mode"),
    [("command", HOUR, "pre-copy"), ("command", -HOUR, "hybrid"),
     ("agent", HOUR, "hybrid"), ("agent", -HOUR, "pre-copy")],
)  # fmt: skip
def test_nothing_is_lost(pair: Pair, side: str, offset: int, mode: str) -> None:
    here, there = pair.hosts
    move = [MIGRATE, "move", "--mode", mode, "--skip-check", "clock", NAME, there.ssh_target]
    if side == "command":
        here.run([*pair.skewed(offset), *move])
    else:
        pair.late_agent(offset)
        here.run([*move, "--remote-command", WRAPPER])
    pair.hosts.reverse()
    assert containers(there)[NAME] == "running"
    assert NAME not in containers(here)
    assert counts_on(there, NAME)
    lines = there.run([MIGRATE, "logs", NAME]).stdout.split()
    assert lines == [str(number) for number in range(1, len(lines) + 1)]
    for host in pair.hosts:
        assert "nothing is open" in host.run([MIGRATE, "recover"]).stdout
