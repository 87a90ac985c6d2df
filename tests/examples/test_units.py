"""The units of `examples/`: systemd has no objection, and what ExecStop= says empties the host."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evacuate.fleet import Fleet, is_cordoned
from tests.hosts import Lan
from tests.hosts.host import CHECKOUT
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import containers, counts_on, is_gapless, make_counter_image, start_counter

EXAMPLES = CHECKOUT / "examples"
EVACUATE = EXAMPLES / "systemd/migrate-evacuate.service"
UNITS = [EVACUATE, *sorted((EXAMPLES / "cron").glob("migrate-checkpoint.*"))]
INSTALLED = {
    "/opt/migrate/bin/migrate": MIGRATE,
    "/usr/local/bin/checkpoint-rotate": str(EXAMPLES / "cron/checkpoint-rotate"),
}
"""systemd-analyze looks whether commands are there; this machine has them elsewhere."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="there is no systemd-analyze: what systemd says of the units is not known",
)


def objections(units: list[Path], directory: Path, **edits: str) -> str:
    """What `systemd-analyze verify` says of copies, `edits` made to them."""
    names = []
    for unit in units:
        text = unit.read_text()
        for there, here in (INSTALLED | edits).items():
            text = text.replace(there, here)
        names.append(directory / unit.name)
        names[-1].write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names], check=False, capture_output=True,
        text=True, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{directory}:"}, timeout=60,
    )  # fmt: skip
    about = [line for line in done.stderr.splitlines() if "migrate-" in line]
    assert bool(done.returncode) <= bool(about), done.stderr
    return "\n".join(about)


@needs_systemd
def test_systemd_has_no_objection(tmp_path: Path) -> None:
    assert objections(UNITS, tmp_path) == ""


@needs_systemd
@pytest.mark.parametrize(
    ("right", "wrong"), [("TimeoutStopSec=", "TimeoutStop="), (MIGRATE, "/nowhere/migrate")]
)
def test_systemd_would_have(tmp_path: Path, right: str, wrong: str) -> None:
    """A misspelt key, a command that is not there."""
    assert wrong.strip("=") in objections([EVACUATE], tmp_path, **{right: wrong})


def exec_stop() -> list[str]:
    """The words of ExecStop=, as systemd gives them without an EnvironmentFile."""
    (line,) = [x for x in EVACUATE.read_text().splitlines() if x.startswith("ExecStop=")]
    words = line.removeprefix("ExecStop=").split()
    return [INSTALLED.get(word, word) for word in words if word != "$OPTIONS"]


def test_there_is_time_enough() -> None:
    """The deadline is before systemd's 90 s for sessions and units, the monitors' among them."""
    words = exec_stop()
    deadline = int(words[words.index("--deadline") + 1])
    limit = EVACUATE.read_text().partition("TimeoutStopSec=")[2].split()[0]
    assert deadline < 90 < int(limit)


@pytest.fixture(scope="module")
def fleet(lan: Lan) -> Iterator[Fleet]:
    made = Fleet(lan, "alpha", "beta")
    make_counter_image(lan.shared, *made.hosts.values())
    yield made
    made.clean()


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
def test_what_is_run_at_shutdown_empties_the_host(fleet: Fleet) -> None:
    alpha, beta = fleet.hosts.values()
    start_counter(alpha)
    inventory = {"MIGRATE_INVENTORY": str(fleet.inventory)}
    alpha.run(exec_stop(), env=inventory, timeout=150)
    assert containers(alpha) == {}
    assert containers(beta) == {"counter": "running"}
    alpha.reboot()
    assert is_cordoned(alpha)
    alpha.run([MIGRATE, "evacuate", "alpha", "--return"], env=inventory, timeout=150)
    assert containers(alpha) == {"counter": "running"}
    assert counts_on(alpha)
    assert is_gapless(alpha)
    assert not is_cordoned(alpha)
    alpha.run(["rm", "-rf", "/var/lib/migrate/evacuations"])
