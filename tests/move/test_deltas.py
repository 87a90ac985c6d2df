"""Moves over a slow link of a program that changes a few bytes in each of many pages."""

from __future__ import annotations

import json

import pytest

from tests.hosts import Host
from tests.hosts.redis import MIGRATE
from tests.move.test_precopy import clean, goes_on, output, pair, real, start

__all__ = ["clean", "pair"]
HOT, MUCH = 8 << 20, 1 << 20
MEGABITS, LINK = "80", 10_000_000  # bytes a second


@real
@pytest.mark.timeout(180)
def test_counters_in_many_pages(clean: tuple[Host, Host]) -> None:
    start(clean[0], "stress", "counters.py", "16", str(HOT >> 20))
    goes_on(clean[0], "stress")
    ahead = beyond = 0.0
    for turn in range(2):
        source, target = clean[turn % 2], clean[(turn + 1) % 2]
        command = [MIGRATE, "move", "--mode", "pre-copy", "stress", target.ssh_target, "--json"]
        lines = source.run([*command, "--bandwidth", MEGABITS, "--max-downtime", "1"]).stdout
        told = [json.loads(line) for line in lines.splitlines()]
        rounds = [event for event in told if event.get("event") == "round"]
        assert rounds[1]["bytes"] > HOT / 4
        assert rounds[1]["bytes"] / rounds[1]["seconds"] < 1.5 * LINK, "it goes as it is"
        speeds = [each["bytes"] / each["seconds"] for each in rounds[2:] if each["bytes"] > MUCH]
        ahead = max([ahead, *speeds])
        beyond += sum(each["bytes"] for each in rounds) - told[-1]["result"]["bytes_sent"]
        goes_on(target, "stress")
    assert ahead > 2 * LINK, "the next ones go as what differs"
    assert beyond > HOT / 2
    assert [line for line in output(clean[0], "stress") if "WRONG" in line] == []
