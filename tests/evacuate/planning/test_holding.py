"""Old and edited plans against the hosts as they are now."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from migrate.evacuate.model import EVACUATE_LABEL, Plan, Step
from migrate.evacuate.planning.holding import check
from migrate.evacuate.planning.plan import make_plan
from migrate.evacuate.planning.planfile import dump, load
from migrate.evacuate.planning.wish import Wish, parse_selector
from tests.evacuate.planning.examples import GIB, MIB, guest, host

replace = msgspec.structs.replace
WEB, DB = guest("web", memory=300 * MIB), guest("db", memory=200 * MIB)
OFF = guest("off", status="stopped")
SOURCE = host("alpha", WEB, DB, OFF)
BETA, GAMMA = host("beta"), host("gamma", memory_free=GIB)
PLAN = make_plan(SOURCE, [BETA, GAMMA], Wish())


def step(plan: Plan, name: str) -> Step:
    return next(step for step in plan.steps if step.name == name)


def with_step(name: str, **fields: object) -> Plan:
    return replace(
        PLAN,
        steps=tuple(replace(one, **fields) if one.name == name else one for one in PLAN.steps),
    )


def test_a_fresh_plan_holds_also_by_way_of_a_file() -> None:
    assert len(PLAN.steps) == 3
    assert check(PLAN, SOURCE, [BETA, GAMMA], Wish()) == []
    assert check(load(dump(PLAN)), SOURCE, [GAMMA, BETA], Wish(deadline=600)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: check(PLAN, host("alpha", host_id="new"), [BETA, GAMMA], Wish()),
         ["the plan is for 'alpha', another host than 'alpha'"]),
        (lambda: check(PLAN, host("alpha", WEB, OFF), [BETA, GAMMA], Wish()),
         ["'db' to", "there is no such container any more"]),
        (lambda: check(PLAN, host("alpha", WEB, OFF), [BETA, host("gamma", DB)], Wish()),
         ["'db' to", "it is at gamma already"]),
        (lambda: check(PLAN, host("alpha", WEB, OFF, replace(DB, status="moved")), [BETA, GAMMA],
                       Wish()),
         ["'db' to", "there is no such container any more"]),
        (lambda: check(PLAN, host("alpha", WEB, OFF, replace(DB, name="sql")), [BETA, GAMMA],
                       Wish()),
         ["'db' to", "named 'sql' now"]),
        (lambda: check(PLAN, host("alpha", WEB, OFF, replace(DB, held="m1")), [BETA, GAMMA],
                       Wish()),
         ["'db' to", "'migrate recover'"]),
        (lambda: check(PLAN, host("alpha", WEB, OFF, replace(DB, labels={EVACUATE_LABEL: "keep"})),
                       [BETA, GAMMA], Wish()),
         ["'db' to", "keeps it here"]),
        (lambda: check(PLAN, SOURCE, [BETA, GAMMA], Wish(selector=parse_selector("!x,y"))),
         ["the selector does not take it"]),
        (lambda: check(with_step("db", target="delta"), SOURCE, [BETA, GAMMA], Wish()),
         ["'db' to delta: it is none of the hosts"]),
        (lambda: check(with_step("web", target="gamma"), SOURCE,
                       [BETA, host("gamma", cordoned=True)], Wish()),
         ["'web' to gamma: it is cordoned"]),
        (lambda: check(with_step("web", target="gamma"), SOURCE,
                       [BETA, host("gamma", guest("web", identifier="x"))], Wish()),
         ["'web' to gamma: 'web' is taken there"]),
        (lambda: check(with_step("web", target="beta"), SOURCE,
                       [host("beta", criu=""), GAMMA], Wish()),
         ["'web' to beta: only mode cold is possible: beta has no CRIU"]),
        (lambda: check(with_step("off", mode="pre-copy"), SOURCE, [BETA, GAMMA], Wish()),
         ["'off' to", "only mode cold is possible: it is stopped"]),
        (lambda: check(PLAN, SOURCE, [BETA, GAMMA], Wish(deadline=1)),
         ["longer than the deadline of 1 s"]),
        (lambda: check(with_step("web", target="beta"), SOURCE,
                       [host("beta", address="root@elsewhere"), GAMMA], Wish()),
         ["'beta' is at root@elsewhere now, not at root@beta"]),
    ],
)  # fmt: skip
def test_what_no_longer_holds(change: Callable[[], list[str]], words: list[str]) -> None:
    found = change()
    assert found
    assert all(any(word in line for line in found) for word in words), found


def test_only_what_does_not_hold_is_told() -> None:
    """One fault, one line; and the others are not blamed for it."""
    assert len(check(with_step("db", target="delta"), SOURCE, [BETA, GAMMA], Wish())) == 1


@pytest.mark.parametrize("mode", ["auto", "cold"])
def test_a_stopped_one_may_be_auto(mode: str) -> None:
    assert check(with_step("off", mode=mode), SOURCE, [BETA, GAMMA], Wish()) == []


def test_a_running_one_may_be_cold_where_memory_could_go() -> None:
    assert check(with_step("web", mode="cold"), SOURCE, [BETA, GAMMA], Wish()) == []


def test_room_is_counted_in_the_plans_order() -> None:
    """Both fit alone; edited to one host, the second has no room, whichever it is."""
    tight = host("gamma", memory_free=600 * MIB)
    for first, second in [("web", "db"), ("db", "web")]:
        plan = replace(
            PLAN, steps=tuple(replace(step(PLAN, n), target="gamma") for n in (first, second))
        )
        found = check(plan, SOURCE, [BETA, tight], Wish())
        assert len(found) == 1
        assert found[0].startswith(f"'{second}' to gamma: too little memory")


def test_a_container_twice_is_refused_even_without_a_file() -> None:
    plan = replace(PLAN, steps=(step(PLAN, "web"), replace(step(PLAN, "web"), target="beta")))
    both = replace(plan, steps=tuple(replace(one, target="beta") for one in plan.steps))
    assert any("is taken there" in line for line in check(both, SOURCE, [BETA, GAMMA], Wish()))
