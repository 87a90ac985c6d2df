"""Plans as a whole: order, modes, notes, predictions, warnings."""

from __future__ import annotations

import random

import pytest

from migrate.errors import UsageError
from migrate.evacuate.model import EVACUATE_LABEL, PRIORITY_LABEL, Plan, Stays
from migrate.evacuate.planning.holding import check
from migrate.evacuate.planning.plan import make_plan
from migrate.evacuate.planning.prediction import AROUND, PAUSE, RESENT
from migrate.evacuate.planning.wish import Wish, parse_selector
from tests.evacuate.planning.examples import GIB, MIB, guest, host
from tests.evacuate.planning.test_placement import small_case


def modes(plan: Plan) -> dict[str, str]:
    return {step.name: step.mode for step in plan.steps}


def test_order_is_by_priority_then_by_size() -> None:
    source = host(
        "alpha",
        guest("small", memory=10 * MIB),
        guest("large", memory=2 * GIB),
        guest("files", memory=0, disk=GIB, status="stopped"),
        guest("first", memory=MIB, labels={PRIORITY_LABEL: "5"}),
        guest("last", memory=3 * GIB, labels={PRIORITY_LABEL: "-1"}),
    )
    plan = make_plan(source, [host("beta")], Wish())
    assert [step.name for step in plan.steps] == ["first", "large", "files", "small", "last"]
    assert plan.source_id == "host-alpha"
    assert plan.addresses == {"beta": "root@beta"}
    assert plan.stay == ()
    assert plan.warnings == ()
    assert plan.bytes == sum(step.bytes for step in plan.steps)


def test_modes_and_their_notes() -> None:
    source = host(
        "alpha",
        guest("run"), guest("paused", status="paused"), guest("made", status="created"),
        guest("off", status="stopped"), guest("cold", labels={EVACUATE_LABEL: "cold-only"}),
        guest("net", network="host", host_paths=("/srv",)),
    )  # fmt: skip
    plan = make_plan(source, [host("beta")], Wish())
    assert modes(plan) == {
        "run": "auto", "net": "auto", "made": "cold", "off": "cold",
        "cold": "cold",
    }  # fmt: skip
    assert [(stays.name, stays.why) for stays in plan.stay] == [
        ("paused", {"": "it is paused: resume or stop it first"})
    ]
    notes = {step.name: step.note for step in plan.steps}
    assert notes["run"] == ""
    assert notes["off"] == "cold: it is stopped"
    assert "cold-only says so; its memory is lost" in notes["cold"]
    assert "can't follow" in notes["net"]
    assert "beta must have /srv" in notes["net"]
    assert {step.name: step.downtime for step in plan.steps}["off"] == 0


def test_where_only_cold_is_possible_the_plan_says_so() -> None:
    source = host("alpha", guest("web"), guest("off", status="stopped"))
    plan = make_plan(source, [host("beta", machine="aarch64")], Wish(max_downtime=0.3))
    assert modes(plan) == {"web": "cold", "off": "cold"}
    note = next(step.note for step in plan.steps if step.name == "web")
    assert note == "cold: beta is aarch64, alpha x86_64; its memory is lost"
    assert plan.warnings == (
        "these can only go cold, without their memory: web",
        "these will be down for longer than 0.3 s: web",
    )


def test_who_is_not_selected_is_not_mentioned() -> None:
    source = host(
        "alpha", guest("web", labels={"tier": "web"}), guest("db", labels={"tier": "db"}),
        guest("gone", status="moved"),
        guest("kept", labels={"tier": "web", EVACUATE_LABEL: "keep"}),
    )  # fmt: skip
    plan = make_plan(source, [host("beta")], Wish(selector=parse_selector("tier=web")))
    assert [step.name for step in plan.steps] == ["web"]
    assert [stays.name for stays in plan.stay] == ["kept"]
    assert plan.stay[0].why == {"": "its label migrate.evacuate=keep keeps it here"}
    everything = make_plan(source, [host("beta")], Wish())
    assert {step.name for step in everything.steps} == {"web", "db"}
    assert [stays.name for stays in everything.stay] == ["kept"]


def test_what_hosts_have_refused_goes_elsewhere_or_stays() -> None:
    source = host("alpha", guest("web"), guest("db"))
    refused = {
        "beta": {"id-web": "no such layer", "id-db": "/srv is missing"},
        "gamma": {"id-db": "the disk is read-only"},
    }
    plan = make_plan(source, [host("beta"), host("gamma")], Wish(), refused=refused)
    assert [(step.name, step.target) for step in plan.steps] == [("web", "gamma")]
    assert plan.stay[0].why == {"beta": "/srv is missing", "gamma": "the disk is read-only"}


def test_who_stays_and_why_by_host() -> None:
    source = host("alpha", guest("huge", memory=50 * GIB), guest("web"))
    plan = make_plan(source, [host("beta"), host("gamma", cordoned=True)], Wish(parallel=1))
    assert [step.name for step in plan.steps] == ["web"]
    assert plan.stay == (
        Stays("id-huge", "huge", {
            "beta": "too little memory: 50.0 GiB needed, 7.7 GiB to give",
            "gamma": "it is cordoned",
        }),
    )  # fmt: skip


def test_seconds_of_one_and_of_all() -> None:
    one = guest("a", memory=1000 * MIB)
    source = host("alpha", one, guest("b", memory=1000 * MIB))
    rate = 100.0 * MIB
    alone = AROUND + 10 * RESENT
    serial = make_plan(source, [host("beta")], Wish(parallel=1, rate=rate))
    assert [step.seconds for step in serial.steps] == [alone, alone]
    assert serial.seconds == 2 * alone
    both = make_plan(source, [host("beta")], Wish(parallel=2, rate=rate))
    assert both.seconds == both.steps[0].seconds == AROUND + 20 * RESENT
    assert both.steps[0].downtime == PAUSE
    slow = make_plan(
        source, [host("beta")], Wish(parallel=1, rate=rate), measured={"beta": 50.0 * MIB}
    )
    assert slow.seconds == 2 * (AROUND + 20 * RESENT)


def test_a_deadline_that_does_not_hold() -> None:
    source = host("alpha", guest("a", memory=1000 * MIB))
    early = make_plan(source, [host("beta")], Wish(deadline=5))
    assert "longer than the deadline of 5 s" in early.warnings[0]
    assert make_plan(source, [host("beta")], Wish(deadline=60)).warnings == ()


def test_a_priority_that_is_no_number_is_told() -> None:
    source = host("alpha", *(guest(f"c{i}", labels={PRIORITY_LABEL: "high"}) for i in range(7)))
    warnings = make_plan(source, [host("beta")], Wish()).warnings
    assert warnings == (
        "the label migrate.priority is no whole number, so 0: c0, c1, c2, c3, c4 and 2 more",
    )


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_measured_rate_that_is_none(rate: float) -> None:
    with pytest.raises(UsageError):
        make_plan(host("alpha"), [host("beta")], Wish(), measured={"beta": rate})


def test_nothing_to_move() -> None:
    plan = make_plan(host("alpha"), [host("beta")], Wish())
    assert (plan.steps, plan.stay, plan.seconds, plan.bytes) == ((), (), 0.0, 0)


def test_what_is_planned_holds() -> None:
    """Planner and check have the same rules, and the plan is the same whatever the order."""
    chance = random.Random(5)
    for _ in range(100):
        guests, targets = small_case(chance)
        source = host("alpha", *guests)
        plan = make_plan(source, targets, Wish())
        assert check(plan, source, targets, Wish()) == []
        chance.shuffle(guests)
        assert make_plan(host("alpha", *guests), targets, Wish()) == plan
