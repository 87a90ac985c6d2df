"""A host whose clock is an hour off: nothing of a move depends on what time it is (libfaketime)."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import containers, counts_on, make_counter_image

NAME, IMAGE = "careful", "counter"
HOUR = 3600
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
pytestmark = [
    pytest.mark.root, pytest.mark.criu, pytest.mark.hosts,
    pytest.mark.skipif(LIBRARY is None, reason="there is no libfaketime: run 'make setup'"),
]  # fmt: skip
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


def skewed(seconds: int) -> list[str]:
    """What a program is started by whose wall clock is to be off; CRIU itself sets no clock."""
    return [
        "env", f"LD_PRELOAD={LIBRARY}", f"FAKETIME={seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "DONT_FAKE_MONOTONIC=1", "FAKETIME_SKIP_CMDS=criu",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def pair(lan: Lan) -> Iterator[list[Host]]:
    """Where it is, and where it goes; turned by each move."""
    hosts = [lan.host("alpha"), lan.host("beta")]
    make_counter_image(lan.shared, *hosts)
    hosts[0].run([MIGRATE, "run", "-d", "--name", NAME, IMAGE, "/bin/sh", "-c", PROGRAM])
    assert counts_on(hosts[0], NAME)
    yield hosts
    hosts[0].run([MIGRATE, "rm", "-f", NAME])


def test_the_clock_is_off(pair: list[Host]) -> None:
    """Else the others would prove nothing: preflight sees it, on either side."""
    here, there = pair
    move = [MIGRATE, "move", "--dry-run", NAME, there.ssh_target]
    for offset, word in ((HOUR, "slow"), (-HOUR, "fast")):
        told = here.run([*skewed(offset), *move], check=False)
        assert told.returncode != 0
        assert f"s {word}" in told.stderr
    late(there, HOUR)
    assert "s fast" in here.run([*move, "--remote-command", WRAPPER], check=False).stderr


def late(host: Host, seconds: int) -> None:
    """An agent of the host for `--remote-command`, with that clock."""
    line = shlex.join([*skewed(seconds), MIGRATE])
    script = f'#!/bin/sh\nexec {line} "$@"\n'
    host.run(["sh", "-c", f"cat > {WRAPPER} && chmod 755 {WRAPPER}"], input=script)


@pytest.mark.parametrize("mode", ["pre-copy", "hybrid"])
@pytest.mark.parametrize("offset", [HOUR, -HOUR])
@pytest.mark.parametrize("side", ["command", "agent"])
def test_nothing_is_lost(pair: list[Host], side: str, offset: int, mode: str) -> None:
    here, there = pair
    move = [MIGRATE, "move", "--mode", mode, "--skip-check", "clock", NAME, there.ssh_target]
    if side == "command":
        here.run([*skewed(offset), *move])
    else:
        late(there, offset)
        here.run([*move, "--remote-command", WRAPPER])
    pair.reverse()
    assert containers(pair[0])[NAME] == "running"
    assert NAME not in containers(pair[1])
    assert counts_on(pair[0], NAME)
    lines = pair[0].run([MIGRATE, "logs", NAME]).stdout.split()
    assert lines == [str(number) for number in range(1, len(lines) + 1)]
    for host in pair:
        assert "nothing is open" in host.run([MIGRATE, "recover"]).stdout
