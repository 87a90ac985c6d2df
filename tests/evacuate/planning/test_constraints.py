"""Why a container can't go to a host, in words."""

from __future__ import annotations

import pytest

from migrate.evacuate.model import APART_LABEL, EVACUATE_LABEL, PRIORITY_LABEL, Guest, HostState
from migrate.evacuate.planning.constraints import (
    Prospect,
    has_bad_priority,
    priority_of,
    remarks,
    why_not,
)
from tests.evacuate.planning.examples import GIB, MIB, guest, host

SOURCE = host("alpha")
BRIDGED = guest("web", network="bridge", bridge="br0", address="10.0.0.5/24")
LIKE = "driver bridge, subnet 10.89.0.0/24"
NAMED = guest("web", network="bridge", network_name="inner", network_like=LIKE,
              address="10.89.0.5/24", address6="fd00:89::5/64",
              ports=("127.0.0.1:8080:80/tcp",))  # fmt: skip
APART = guest("db-1", labels={APART_LABEL: "db"})


def test_nothing_against_a_plain_one() -> None:
    assert why_not(guest("web"), SOURCE, host("beta")) == ""


@pytest.mark.parametrize(
    ("one", "target", "word"),
    [
        (guest("web"), host("beta", cordoned=True), "cordoned"),
        (guest("web"), host("beta", host_id="host-alpha"), "host that is to be emptied"),
        (guest("web"), host("beta", guest("web", identifier="else")), "'web' is taken there"),
        (guest("web"), host("beta", guest("other", identifier="web")), "'web' is taken there"),
        (guest("web"), host("beta", guest("other", identifier="id-web")), "'id-web' is taken"),
        (BRIDGED, host("beta"), "no bridge 'br0'"),
        (
            BRIDGED,
            host("beta", guest("db", network="bridge", bridge="br0", address="10.0.0.5/16"),
                 bridges=("br0",)),
            "'db' there has the address 10.0.0.5",
        ),
        (NAMED, host("beta"), "no network 'inner'"),
        (NAMED, host("beta", networks={"inner": "driver overlay"}), "is another one: driver over"),
        (
            NAMED,
            host("beta", guest("db", address6="fd00:89::5/64"), networks={"inner": LIKE}),
            "'db' there has the address fd00:89::5",
        ),
        (
            NAMED,
            host("beta", guest("db", ports=("8080:8081/tcp",)), networks={"inner": LIKE}),
            "'db' there publishes the port",
        ),
        (guest("web", labels={EVACUATE_LABEL: "keep"}), host("beta"), "keeps it here"),
        (guest("web", labels={EVACUATE_LABEL: "Keep"}), host("beta"), "not understood"),
        (guest("web", labels={EVACUATE_LABEL: ""}), host("beta"), "not understood"),
        (guest("web", held="move-7"), host("beta"), "'migrate recover'"),
        (guest("web", status="checkpointed"), host("beta"), "it is checkpointed"),
        (guest("web", status="paused"), host("beta"), "resume or stop it first"),
        (APART, host("beta", guest("db-2", labels={APART_LABEL: "db"})), "'db-2' of the same"),
        (guest("web", memory=8 * GIB), host("beta"), "too little memory"),
        (guest("web", disk=100 * GIB), host("beta"), "too little disk"),
        (guest("web", status="stopped", disk=100 * GIB), host("beta"), "too little disk"),
    ],
)  # fmt: skip
def test_each_obstacle_is_told(one: Guest, target: HostState, word: str) -> None:
    assert word in why_not(one, SOURCE, target)


def test_what_is_no_obstacle() -> None:
    apart = {APART_LABEL: "db"}
    for one, target in [
        (BRIDGED, host("beta", bridges=("br0",))),
        (guest("web", network="bridge", bridge="migrate0", address="10.88.0.2/16"), host("beta")),
        (guest("web", network="host"), host("beta")),
        (NAMED, host("beta", guest("db", ports=("8080:80/udp",)), networks={"inner": LIKE})),
        (guest("web", host_paths=("/srv",)), host("beta")),
        (APART, host("beta", guest("db-2", labels=apart, status="stopped"))),
        (guest("db-1", labels=apart, status="stopped"), host("beta", guest("db-2", labels=apart))),
        (APART, host("beta", guest("db-2", labels={APART_LABEL: "other"}))),
        (guest("web", status="stopped", memory=99 * GIB), host("beta")),
        (guest("web", limit=99 * GIB), host("beta")),
        (guest("web"), host("beta", machine="aarch64")),  # cold: why_cold says so
    ]:
        assert why_not(one, SOURCE, target) == ""


def test_those_that_are_placed_count() -> None:
    other = guest("db-2", labels={APART_LABEL: "db"})
    assert "'db-2' of the same group" in why_not(APART, SOURCE, host("beta"), [other])
    large = guest("large", memory=7 * GIB)
    assert "7.0 GiB are given to others" in why_not(
        guest("web", memory=GIB), SOURCE, host("beta"), [large]
    )
    assert "is taken there" in why_not(guest("web"), SOURCE, host("beta"), [guest("web")])


@pytest.mark.parametrize(
    ("source", "target", "word"),
    [
        (SOURCE, host("beta", machine="aarch64"), "beta is aarch64, alpha x86_64"),
        (host("alpha", criu=""), host("beta"), "alpha has no CRIU"),
        (SOURCE, host("beta", criu=""), "beta has no CRIU"),
        (SOURCE, host("beta", criu="4.1.10"), "CRIU 4.1.10 of beta is older than 4.2.1"),
        (SOURCE, host("beta", cpu_flags=("sse2",)), "the CPU of beta lacks avx2"),
        (
            host("alpha", cpu_flags=tuple("abcdefgh")), host("beta", cpu_flags=()),
            "lacks a b c d e f and 2 more",
        ),
        (SOURCE, host("beta", criu="4.10"), ""),
        (SOURCE, host("beta", cpu_flags=("avx2", "avx512f", "sse2")), ""),
    ],
)  # fmt: skip
def test_where_only_cold_is_possible(source: HostState, target: HostState, word: str) -> None:
    why = Prospect(source, target).why_cold(guest("web"))
    assert word in why
    assert bool(why) == bool(word)
    assert why_not(guest("web"), source, target) == ""


def test_what_goes_cold_by_itself() -> None:
    prospect = Prospect(SOURCE, host("beta"))
    assert prospect.why_cold(guest("a", status="stopped")) == "it is stopped"
    assert prospect.why_cold(guest("a", status="created")) == "it is created"
    assert "says so" in prospect.why_cold(guest("a", labels={EVACUATE_LABEL: "cold-only"}))


def test_remarks() -> None:
    assert remarks(guest("a"), host("beta")) == []
    assert "can't follow" in remarks(guest("a", network="host"), host("beta"))[0]
    assert remarks(guest("a", network="host", status="stopped"), host("beta")) == []
    assert "too many to count" in remarks(guest("a", disk_counted=False), host("beta"))[0]
    many = guest("a", host_paths=tuple(f"/srv/{i}" for i in range(5)))
    assert remarks(many, host("beta")) == ["beta must have /srv/0, /srv/1, /srv/2 and 2 more"]


@pytest.mark.parametrize(
    ("text", "priority"),
    [("7", 7), ("-3", -3), ("+2", 2), ("1e3", None), ("", None), ("٣", None), ("9" * 5000, None)],
)
def test_priority(text: str, priority: int | None) -> None:
    one = guest("a", labels={PRIORITY_LABEL: text})
    assert priority_of(one) == (priority or 0)
    assert has_bad_priority(one) == (priority is None)
    assert not has_bad_priority(guest("a"))


def test_reasons_are_of_one_short_line() -> None:
    nasty = guest("a", labels={EVACUATE_LABEL: "\x1b[2J\n" + "x" * 4096})
    why = why_not(nasty, SOURCE, host("beta", memory_free=100 * MIB))
    assert why.isprintable()
    assert len(why) < 200
