from __future__ import annotations

from migrate.move.facts import Facts
from migrate.move.modes import choose
from migrate.runtime.status import Status

RUNNING, MUCH = Status("running"), 1 << 30


def facts(**changes: object) -> Facts:
    fields = {
        "host_id": "", "name": "", "version": "", "machine": "x86_64", "kernel": "",
        "criu": "4.2.1", "cpu_flags": (), "memory_free": 0, "disk_free": 0,
        "tracking": "wp-async", "skeleton": True, "lazy": True,
    }  # fmt: skip
    return Facts(**(fields | changes))


def test_auto_takes_the_shortest_pause_that_both_can() -> None:
    taken = choose("auto", RUNNING, facts(), facts(), MUCH)
    assert taken.mode == "pre-copy"
    assert dict(taken.others) == {
        "stop-copy": "it stops for longer", "cold": "memory would be lost",
    }  # fmt: skip


def test_auto_falls_back_and_says_why() -> None:
    for here, there, word in (
        (facts(tracking="", no_tracking="no PAGEMAP_SCAN"), facts(), "PAGEMAP_SCAN"),
        (facts(skeleton=False), facts(), "filter"),
        (facts(), facts(lazy=False), "userfaultfd"),
        (facts(), facts(criu=""), "CRIU"),
    ):
        taken = choose("auto", RUNNING, here, there, MUCH)
        assert taken.mode == "stop-copy"
        assert word in taken.reason
        assert word in dict(taken.others)["pre-copy"]
    assert choose("auto", RUNNING, facts(), facts(), 1 << 20).mode == "stop-copy"
    stopped = choose("auto", Status("stopped"), facts(), facts(), MUCH)
    assert (stopped.mode, stopped.reason) == ("cold", "the container has no running processes")


def test_what_was_asked_for_is_taken() -> None:
    taken = choose("pre-copy", RUNNING, facts(tracking=""), facts(), 1)
    assert (taken.mode, taken.reason) == ("pre-copy", "asked for")
    taken = choose("cold", RUNNING, facts(), facts(skeleton=False), MUCH)
    assert dict(taken.others) == {"pre-copy": "not asked for", "stop-copy": "not asked for"}
