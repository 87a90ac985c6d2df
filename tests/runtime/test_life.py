"""What two looks at a container say of the time between."""

from __future__ import annotations

from typing import Any

import msgspec

from migrate.runtime.life import Portrait, changes, remembered
from migrate.runtime.records import Process, Record, Resources

RECORD = Record(identifier="0123456789ab", name="c", created=100.0, image="box")
RUNS = Process(pid=7, start_time=70, boot="b", started=True)


def look(**given: Any) -> Portrait:
    """A container that runs, but for what is given; what is in the record may be, too."""
    record = {k: given.pop(k) for k in list(given) if k in Record.__struct_fields__}
    values = {"process": RUNS, "alive": True, "started": 101.0, "ended": 0.0, "status": None,
              "frozen": False, "oom_kills": 0} | given  # fmt: skip
    return Portrait(msgspec.structs.replace(RECORD, **record), **values)


def kinds(before: Portrait | None, after: Portrait | None) -> list[str]:
    return [event.kind for event in changes(before, after)]


OVER = look(alive=False, ended=102.0, status=3)
WAITS = look(process=msgspec.structs.replace(RUNS, started=False), started=0.0)


def test_nothing_happens_between_two_like_looks():
    for found in (look(), OVER, WAITS, look(frozen=True), look(process=None, alive=False)):
        assert kinds(found, found) == []


def test_a_whole_life_in_one_look():
    told = list(changes(None, OVER))
    assert [event.kind for event in told] == ["created", "started", "exited"]
    assert [event.at for event in told] == [100.0, 101.0, 102.0]
    assert told[2].told == {"status": 3}
    assert kinds(None, WAITS) == ["created"]
    assert kinds(WAITS, look()) == ["started"]


def test_an_end_is_never_before_its_start():
    early = look(alive=False, ended=100.5, status=0)
    assert [event.at for event in changes(WAITS, early)] == [101.0, 101.0]
    assert [e.at for e in remembered(early, 0.0)] == [100.0, 101.0, 101.0]


def test_a_new_run_of_the_same_container():
    again = look(process=msgspec.structs.replace(RUNS, pid=8, start_time=80), started=103.0)
    assert kinds(OVER, again) == ["started"]
    assert kinds(look(), again) == ["started"]
    restored = look(process=msgspec.structs.replace(RUNS, pid=9, restored_from="x"))
    assert kinds(OVER, restored) == ["restored"]


def test_what_is_seen_of_a_run():
    assert kinds(look(), look(frozen=True)) == ["paused"]
    assert kinds(look(frozen=True), look()) == ["resumed"]
    assert kinds(look(frozen=True), OVER) == ["exited"]
    assert kinds(look(oom_kills=1), look(oom_kills=3)) == ["oom"]
    killed = look(alive=False, ended=102.0, status=137, oom_kills=1)
    assert kinds(look(), killed) == ["oom", "exited"]
    assert kinds(look(), look(alive=False)) == ["exited"]  # nobody wrote its status down
    assert kinds(look(), None) == ["exited", "removed"]
    assert kinds(OVER, None) == ["removed"]


def test_what_is_seen_of_a_record():
    assert kinds(look(), look(name="d")) == ["renamed"]
    assert kinds(look(), look(resources=Resources(pids=5))) == ["updated"]
    assert kinds(look(), look(held="m")) == ["held"]
    assert kinds(look(held="m"), look()) == ["released"]
    gone = look(moved_to="beta", process=None, alive=False)
    assert kinds(look(held="m"), gone) == ["moved"]


def test_since_leaves_out_what_was_before():
    assert [e.kind for e in remembered(OVER, 101.0)] == ["started", "exited"]
    assert remembered(OVER, 200.0) == []
