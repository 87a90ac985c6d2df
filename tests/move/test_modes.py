from __future__ import annotations

from migrate.move.facts import Facts
from migrate.move.modes import LATE, MODES, RISK, WORTH_ROUNDS, choose, lacking_for_late
from migrate.move.sharing import Apart
from migrate.runtime.status import Status

RUNNING, MUCH = Status("running"), 1 << 30


def facts(**changes: object) -> Facts:
    fields = {
        "host_id": "", "name": "", "version": "", "machine": "x86_64", "kernel": "",
        "criu": "4.2.1", "cpu_flags": (), "memory_free": 0, "disk_free": 0,
        "tracking": "wp-async", "skeleton": True, "lazy": True, "awaits_pages": True,
    }  # fmt: skip
    return Facts(**(fields | changes))


def test_auto_takes_the_shortest_pause_that_both_can() -> None:
    taken = choose("auto", RUNNING, facts(), facts(), MUCH, Apart())
    assert taken.mode == "pre-copy"
    others = dict(taken.others)
    assert (others["stop-copy"], others["cold"]) == ("it stops for longer", "memory would be lost")
    assert RISK in others["hybrid"]
    assert RISK in others["post-copy"]


def test_auto_falls_back_and_says_why() -> None:
    for here, there, word in (
        (facts(tracking="", no_tracking="no PAGEMAP_SCAN"), facts(), "PAGEMAP_SCAN"),
        (facts(skeleton=False), facts(), "filter"),
        (facts(), facts(lazy=False), "userfaultfd"),
        (facts(), facts(lazy_criu=False), "lazy pages"),
        (facts(), facts(criu=""), "CRIU"),
    ):
        taken = choose("auto", RUNNING, here, there, MUCH, Apart())
        assert taken.mode == "stop-copy"
        assert word in taken.reason
        assert word in dict(taken.others)["pre-copy"]
    stopped = choose("auto", Status("stopped"), facts(), facts(), MUCH, Apart())
    assert (stopped.mode, stopped.reason) == ("cold", "the container has no running processes")


def test_little_memory_takes_no_rounds_unless_nobody_knows_how_little() -> None:
    def taken(memory: int) -> str:
        return choose("auto", RUNNING, facts(), facts(), memory, Apart()).mode

    assert [taken(memory) for memory in (1, WORTH_ROUNDS)] == ["stop-copy"] * 2
    assert [taken(memory) for memory in (WORTH_ROUNDS + 1, 0)] == ["pre-copy"] * 2


def test_processes_that_share_much_keep_it_shared() -> None:
    taken = choose("auto", RUNNING, facts(), facts(), MUCH, Apart(3 * MUCH, 2 * MUCH))
    assert taken.mode == "stop-copy"
    assert "2048 MiB" in taken.reason
    assert (
        choose("auto", RUNNING, facts(), facts(), MUCH, Apart(2 * MUCH, MUCH // 5)).mode
        == "pre-copy"
    )
    assert (
        choose("pre-copy", RUNNING, facts(), facts(), MUCH, Apart(3 * MUCH, 2 * MUCH)).mode
        == "pre-copy"
    )


def test_a_limit_that_only_shared_memory_keeps() -> None:
    """Page cache is no part of it: what is in use may stand at the limit."""
    beyond = Apart(needed=300, more=1, limit=200)
    assert choose("auto", RUNNING, facts(), facts(), MUCH, beyond).mode == "stop-copy"
    assert "limit" in dict(choose("auto", RUNNING, facts(), facts(), MUCH, beyond).others)["hybrid"]
    for fits in (Apart(300, 0, 200), Apart(200, 1, 200), Apart(300, 1, 0)):
        assert choose("auto", RUNNING, facts(), facts(), MUCH, fits).mode == "pre-copy"


def test_what_was_asked_for_is_taken() -> None:
    taken = choose("pre-copy", RUNNING, facts(tracking=""), facts(), 1, Apart())
    assert (taken.mode, taken.reason) == ("pre-copy", "asked for")
    taken = choose("cold", RUNNING, facts(), facts(skeleton=False), MUCH, Apart())
    assert dict(taken.others) == dict.fromkeys(set(MODES) - {"auto", "cold"}, "not asked for")


def test_what_the_late_modes_lack_is_told() -> None:
    for mode in LATE:
        for here, there, word in (
            (facts(tracking="", no_tracking="no PAGEMAP_SCAN"), facts(), "PAGEMAP_SCAN"),
            (facts(), facts(lazy=False), "userfaultfd"),
            (facts(), facts(awaits_pages=False), "too old"),
        ):
            assert word in dict(choose("auto", RUNNING, here, there, MUCH, Apart()).others)[mode]
            assert word in lacking_for_late(here, there)
