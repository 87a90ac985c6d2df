"""Two hosts' facts compared: each check refuses what it is for, and nothing else."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from migrate.checkpoint.preflight import Verdict, joined, obstacles
from migrate.checkpoint.state import State
from migrate.checkpoint.subgroups import Subgroup
from migrate.move.errors import TargetUnfit
from migrate.move.facts import Facts
from migrate.move.preflight import hosts, target
from migrate.move.preflight.source import SKIPPABLE, Case, verdicts_of
from migrate.move.sharing import Apart
from migrate.runtime.records import Network, Port, Record

HERE = Facts(
    host_id="a" * 32, name="here", version="1", machine="x86_64", kernel="6.1", criu="4.2.1",
    cpu_flags=("avx", "sse2"), memory_free=8 << 30, disk_free=8 << 30, clock=1000.0,
)  # fmt: skip
THERE = replace(HERE, host_id="b" * 32, name="there", clock=1000.4)


def found(there: Facts, here: Facts = HERE, skip: tuple[str, ...] = ()) -> list[str]:
    verdicts = [hosts.same_host(here, there), *hosts.with_memory(here, there, skip)]
    verdicts += hosts.room(there, memory=1 << 30, disk=1 << 30, skip=skip)
    told = obstacles(verdicts)
    assert all(error.what and (error.cause or error.mend) for error in told)
    return [v.check for v in verdicts if not v.passed and not v.skipped]


def test_nothing_stands_against_what_fits() -> None:
    assert found(THERE) == []
    assert found(replace(THERE, cpu_flags=("avx", "avx2", "sse2"), criu="4.10")) == []
    assert found(replace(THERE, clock=0.0)) == []  # an older migrate


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"host_id": HERE.host_id}, "hosts"), ({"machine": "aarch64"}, "architecture"),
        ({"criu": ""}, "criu"), ({"criu": "4.1.9"}, "criu"), ({"cpu_flags": ("sse2",)}, "cpu"),
        ({"clock": 1011.0}, "clock"), ({"clock": 900.0}, "clock"),
        ({"memory_free": 1 << 20}, "memory"), ({"disk_free": 1 << 20}, "disk"),
    ],
)  # fmt: skip
def test_each_check_refuses_what_it_is_for(change: dict[str, object], check: str) -> None:
    assert found(replace(THERE, **change)) == [check]
    assert found(replace(THERE, **change), skip=(check,)) == ([] if check in SKIPPABLE else [check])


def test_a_clock_is_told_in_words() -> None:
    (fast,) = hosts.with_memory(HERE, replace(THERE, clock=1030.0), ())[-1].obstacles
    assert fast.what == "the target's clock is 30 s fast"
    (slow,) = hosts.with_memory(HERE, replace(THERE, clock=940.0), ())[-1].obstacles
    assert slow.what == "the target's clock is 60 s slow"


@pytest.mark.parametrize(
    ("here", "there", "profiles", "told"),
    [
        ("apparmor", "apparmor", ("web",), []),
        ("apparmor", "apparmor", ("other",), ["has not loaded the AppArmor profile 'web'"]),
        ("apparmor", "none", (), ["AppArmor confines a process as 'web', and the target has no"]),
        ("apparmor", "selinux", (), ["and the target has SELinux"]),
        ("selinux", "selinux", (), []),
        ("selinux", "apparmor", ("web",), ["SELinux confines a process as 'web'"]),
        ("none", "apparmor", (), []),
        ("", "apparmor", (), []),
        ("apparmor", "", (), []),  # an older migrate
    ],
)
def test_a_label_needs_its_module_and_profile(
    here: str, there: str, profiles: tuple[str, ...], told: list[str]
) -> None:
    sides = replace(HERE, lsm=here), replace(THERE, lsm=there, lsm_profiles=profiles)
    found = hosts.labels(*sides, ("web",), ()).obstacles
    assert len(found) == len(told)
    assert all(words in str(error) for words, error in zip(told, found, strict=True))
    assert hosts.labels(*sides, (), ()).passed
    assert hosts.labels(*sides, ("web",), ("labels",)).skipped


def test_a_container_that_stands_still_needs_room_alone() -> None:
    there = replace(THERE, machine="aarch64", criu="", cpu_flags=())
    case = Case("cold", HERE, there, 0, Apart())
    checks = [v.check for v in verdicts_of(case, state(Network()), ())]
    assert checks == ["hosts", "network", "memory", "disk"]
    assert case.cpu() == b""


def state(network: Network, **more: bool) -> State:
    return State(Record("ab12", "web", created=1.0, network=network), {}, {}, (), **more)


@pytest.mark.parametrize(
    "described",
    [
        state(Network("bridge", name="web", address="10.0.0.2/24")),
        state(Network("bridge", "br0", "10.0.0.2/24", ports=(Port(80, 80),))),
        state(Network("bridge", "br0", "10.0.0.2/24", address6="fd00::2/64")),
        state(Network("bridge", "br0", "10.0.0.2/24", rate_in=10**6)),
        state(Network("bridge", "br0", "10.0.0.2/24"), close_connections=True),
    ],
)
def test_an_older_target_that_would_pass_over_it_is_refused(described: State) -> None:
    for there, words in ((THERE, ["too old"]), (replace(THERE, networks=True), [])):
        case = Case("cold", HERE, there, 0, Apart())
        told = [e.what for v in verdicts_of(case, described, ()) for e in v.obstacles]
        assert len(told) == len(words)
        assert all(word in text for word, text in zip(words, told, strict=True))


def test_an_older_target_that_knows_no_terminals_is_refused() -> None:
    described = state(Network())
    described = replace(described, record=replace(described.record, terminal=True))
    for there, count in ((THERE, 1), (replace(THERE, terminals=True), 0)):
        for mode in ("cold", "pre-copy"):
            case = Case(mode, HERE, there, 0, Apart())
            told = obstacles(verdicts_of(case, described, ()))
            assert len(told) == count
            assert all("terminal" in error.what for error in told)


def test_an_older_target_takes_what_it_knows() -> None:
    described = state(Network("bridge", "br0", "10.0.0.2/24", "02:00:00:00:00:01", "10.0.0.1"))
    case = Case("cold", HERE, THERE, 0, Apart())
    assert obstacles(verdicts_of(case, described, ())) == []


def test_both_words_on_one_check_become_one() -> None:
    one, other = TargetUnfit("one"), TargetUnfit("other")
    made = joined([
        Verdict("cpu", "s", (one,), skipped=True), Verdict("name", "n"),
        Verdict("cpu", "t", (other,), skipped=True),
    ])  # fmt: skip
    assert [(v.check, v.obstacles) for v in made] == [("cpu", (one, other)), ("name", ())]
    assert obstacles(made) == []
    assert obstacles(joined([made[0], Verdict("cpu", "t", (other,))])) == [one, other, other]


def test_what_the_target_says_is_read_with_care() -> None:
    error = TargetUnfit("no", cause="why").to_wire()
    told = {"check": "name", "subject": "x", "obstacles": [error], "skippable": True}
    (verdict,) = target.read_wire({"verdicts": [told]}, ("name",))
    assert verdict.skipped
    assert isinstance(verdict.obstacles[0], TargetUnfit)
    (verdict,) = target.read_wire({"verdicts": [told | {"skippable": 1}]}, ("name",))
    assert not verdict.skipped
    for strange in (None, 7, [], {}, {"obstacles": 7}, {"verdicts": [7]}):
        for verdict in target.read_wire(strange, ("target",)):
            assert not verdict.skipped
    (old,) = target.read_wire({"obstacles": [error]}, ())
    assert obstacles([old])[0].what == "no"
    (odd,) = target.read_wire({"verdicts": [{"check": 1, "obstacles": "?"}]}, ())
    assert len(odd.obstacles) == 1  # something that is not understood may be an obstacle
    many = {"verdicts": [told] * 1000}
    assert len(target.read_wire(many, ())) == target.MOST


def test_what_travels_is_what_was_found() -> None:
    made = [Verdict("name", "a name", (TargetUnfit("no"),), skippable=False), Verdict("cpu", "c")]
    back = target.read_wire({"verdicts": target.to_wire(made)}, ("cpu",))
    assert [(v.check, v.subject, v.passed, v.skippable) for v in back] == [
        ("name", "a name", False, False), ("cpu", "c", True, True),
    ]  # fmt: skip


def test_control_groups_inside_the_containers_own_need_the_same_hierarchies() -> None:
    groups = (Subgroup("pids", "inner"), Subgroup("", "scope"))
    there = replace(THERE, control_groups=("cpu", "pids", ""))
    assert hosts.own_groups(there, groups).passed
    assert hosts.own_groups(THERE, ()).passed  # an older migrate, and none to make
    for older in (THERE, replace(THERE, control_groups=("",))):
        (error,) = hosts.own_groups(older, groups).obstacles
        assert "'inner'" in error.what
