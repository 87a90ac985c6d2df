"""The programs in a container of the tests' own place, and whether they find all as it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from migrate.runtime.lifecycle.stop import kill
from migrate.runtime.records import Bind, Record
from tests.states.building import CAPABILITIES, verdicts

if TYPE_CHECKING:
    from tests.checkpoint.conftest import Place

PATIENCE = 30.0  # seconds


def run(place: Place, programs: Path, kinds: list[str]) -> Record:
    """All of them in one container; each has made its state and found it right."""
    record = place.make(
        "states", ["/states/runner", *kinds], capabilities=CAPABILITIES,
        binds=(Bind(str(programs), "/states", read_only=True),),
    )  # fmt: skip
    place.wait_for(lambda: "all ready" in place.log(record), "not ready", PATIENCE)
    assert verdicts(place.log(record), "ready") == dict.fromkeys(kinds, "ready"), complaints(
        place.log(record)
    )
    return record


def check(place: Place, record: Record, kinds: list[str]) -> None:
    """Each looks again."""
    before = place.log(record).count("all checked")
    kill(place.paths, record, "USR1")
    place.wait_for(lambda: place.log(record).count("all checked") > before, "no answer", PATIENCE)
    assert verdicts(place.log(record), "checked") == dict.fromkeys(kinds, "intact"), complaints(
        place.log(record)
    )


def complaints(log: list[str]) -> list[str]:
    """What the programs have said of themselves."""
    return [line.partition("programs/")[2] for line in log if ".c:" in line]
