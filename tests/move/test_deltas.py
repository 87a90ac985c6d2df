"""Moves over a slow link of a program that changes a few bytes in each of many pages."""

from __future__ import annotations

import json

import pytest

from tests.hosts import Host
from tests.hosts.redis import MIGRATE
from tests.move.test_precopy import clean, goes_on, output, pair, real, start

__all__ = ["clean", "pair"]
HOT = 8 << 20


@real
@pytest.mark.timeout(180)
def test_counters_in_many_pages(clean: tuple[Host, Host]) -> None:
    start(clean[0], "stress", "counters.py", "16", str(HOT >> 20))
    goes_on(clean[0], "stress")
    for turn in range(2):
        source, target = clean[turn % 2], clean[(turn + 1) % 2]
        command = [MIGRATE, "move", "--mode", "pre-copy", "stress", target.ssh_target, "--json"]
        lines = source.run([*command, "--bandwidth", "80", "--max-downtime", "1"]).stdout
        told = [json.loads(line) for line in lines.splitlines()]
        rounds = [event for event in told if event.get("event") == "round"]
        busy = [each for each in rounds[1:] if each["bytes"] > HOT / 2]
        assert len(busy) >= 2
        # 10 MB/s: the first of them as it is, the next ones as what differs.
        assert busy[0]["seconds"] > 0.4
        assert min(each["seconds"] for each in busy[1:]) < busy[0]["seconds"] / 2
        everything = sum(each["bytes"] for each in rounds)
        assert told[-1]["result"]["bytes_sent"] < everything - HOT / 2
        goes_on(target, "stress")
    assert [line for line in output(clean[0], "stress") if "WRONG" in line] == []
