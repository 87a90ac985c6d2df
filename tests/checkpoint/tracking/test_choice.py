from __future__ import annotations

from functools import partial
from types import ModuleType

import pytest

from migrate.checkpoint.errors import TrackerUnfit
from migrate.checkpoint.tracking import choice, soft_dirty, wp_async


def test_the_first_that_works_is_taken() -> None:
    for able, taken in (
        ({"wp-async", "soft-dirty"}, "wp-async"), ({"soft-dirty"}, "soft-dirty"), (set(), ""),
    ):  # fmt: skip
        answers = [(n, "" if n in able else f"no {n} here") for n in choice.TRACKERS]
        found = choice.first_able({n: partial(str, answer) for n, answer in answers})
        told = "" if taken else "wp-async: no wp-async here; soft-dirty: no soft-dirty here"
        assert found == (taken, told)


@pytest.mark.parametrize("tracker", [soft_dirty, wp_async])
def test_what_is_asked_for_works_or_is_refused(tracker: ModuleType) -> None:
    """By this machine's own kernel, whichever it is."""
    name, complaint = tracker.NAME, tracker.why_not()
    if not complaint:
        assert choice.choose(name) == (name, "")
        return
    with pytest.raises(TrackerUnfit, match=name) as raised:
        choice.choose(name)
    assert complaint in raised.value.cause
