"""`migrate evacuate` with real hosts: emptied under load, stopped, killed, brought back."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from migrate.errors import UsageError
from migrate.evacuate.execution.errors import EvacuationIncomplete, NothingToReturn
from migrate.evacuate.store.errors import ClaimTaken
from tests.evacuate.fleet import Fleet, events_until, is_cordoned, reports_in
from tests.hosts import Lan
from tests.hosts import redis as redis_in_container
from tests.hosts.redis import MIGRATE, Client
from tests.move.faults.holding import arm, kill, wait_until_held
from tests.move.fixtures import (
    containers,
    counts_on,
    is_gapless,
    make_counter_image,
    start_counter,
)
from tests.move.test_move import traces

SEED = 20261127
KILLS = 2  # of the conductor, at moments that the seed chooses


def real(test: Callable[..., None]) -> Callable[..., None]:
    """Needs root, CRIU and hosts."""
    return pytest.mark.root(pytest.mark.criu(pytest.mark.hosts(pytest.mark.timeout(600)(test))))


@pytest.fixture(scope="module")
def made(lan: Lan) -> Fleet:
    fleet = Fleet(lan, "alpha", "beta", "gamma")
    make_counter_image(lan.shared, *fleet.hosts.values())
    redis_in_container.make_image(lan.shared, fleet.hosts["alpha"])
    return fleet


@pytest.fixture
def fleet(made: Fleet) -> Iterator[Fleet]:
    """Afterwards nothing of a container or a move is on any host."""
    yield made
    made.clean()
    for host in made.hosts.values():
        assert traces(host) == []


def many(fleet: Fleet, count: int, host: str = "alpha", *options: str) -> list[str]:
    names = [f"{host}-{number}" for number in range(count)]
    for name in names:
        start_counter(fleet.hosts[host], name, *options)
    return names


def running_once(fleet: Fleet, names: list[str]) -> dict[str, str]:
    """The host of each; each runs on one and on no other, and its counter has lost nothing."""
    places = fleet.places()
    for name in names:
        assert [status for _host, status in places[name]] == ["running"], places
        host = fleet.hosts[places[name][0][0]]
        assert counts_on(host, name)
        assert is_gapless(host, name)
    return {name: places[name][0][0] for name in names}


@real
def test_emptied_under_load_and_filled_again(fleet: Fleet, lan: Lan, tmp_path: Path) -> None:
    alpha = fleet.hosts["alpha"]
    names = many(fleet, 1)
    redis_in_container.start(alpha, "redis", "10.77.0.141")
    redis_in_container.wait_for(fleet.desk, "10.77.0.141")
    start_counter(alpha, "cold", "--label", "migrate.evacuate=cold-only")
    start_counter(alpha, "kept", "--label", "migrate.evacuate=keep")
    start_counter(alpha, "stopped")
    alpha.run([MIGRATE, "stop", "-t", "0", "stopped"])
    client = Client(fleet.desk, "10.77.0.141")
    try:
        files = [tmp_path / f"report.{kind}" for kind in ("json", "md", "html")]
        lan_files = [lan.shared / path.name for path in files]
        report = fleet.evacuate(
            "alpha", "--stop-time", "1", *(w for path in lan_files for w in ("--report", str(path)))
        )
        assert report["complete"]
        assert {o["state"] for o in report["outcomes"]} == {"moved"}
        assert set(containers(alpha)) == {"kept"}
        assert fleet.where(*names, "redis", "cold", "stopped") <= {"beta", "gamma"}
        assert fleet.places()["stopped"][0][1] == "stopped"
        running_once(fleet, names)
        assert is_cordoned(alpha)
        assert json.loads(lan_files[0].read_text()) == report
        assert "redis" in lan_files[1].read_text()
        assert "<svg" in lan_files[2].read_text()
        told_of = {o["name"]: o for o in report["outcomes"]}
        redis = told_of["redis"]
        longest = 2.0 + 2 * redis["freeze_seconds"]  # all takes longer on a busy machine
        assert 0.5 * redis["freeze_seconds"] < redis["gap_seconds"] < longest
        assert "gap_seconds" not in told_of["stopped"]
        assert report["gap_longest_seconds"] >= redis["gap_seconds"]

        back = fleet.evacuate("alpha", "--return", "--stop-time", "1")
        assert back["complete"]
        assert not is_cordoned(alpha)
        assert set(running_once(fleet, names).values()) == {"alpha"}
        assert len(containers(alpha)) == 5
        for name in ("beta", "gamma"):
            assert containers(fleet.hosts[name]) == {}
        told = client.finish()
        assert (told.reconnects, told.errors, told.found) == (0, (), told.written)
        home = {o["name"]: o for o in back["outcomes"]}["redis"]
        assert told.longest_gap < longest + 2 * home["freeze_seconds"]
    finally:
        client.kill()
    _out, complaint = fleet.run("evacuate", "alpha", "--return", status=NothingToReturn.code)
    assert "nothing is to be brought back" in complaint


@real
def test_a_dry_run_and_a_plan_that_was_edited(fleet: Fleet, lan: Lan) -> None:
    names = many(fleet, 2)
    start_counter(fleet.hosts["beta"], "alpha-1")  # a name that is taken there
    out, _err = fleet.run("evacuate", "alpha", "--to", "beta", "--dry-run", status=120)
    assert "'alpha-1' is taken there" in out
    out, _err = fleet.run("evacuate", "alpha", "--dry-run")
    assert "alpha-0" in out
    assert not is_cordoned(fleet.hosts["alpha"])

    plan = lan.shared / "plan.toml"
    fleet.run("evacuate", "alpha", "--save-plan", str(plan))
    assert set(containers(fleet.hosts["alpha"])) == set(names)
    text = plan.read_text().replace('target = "beta"', 'target = "gamma"')
    plan.write_text(text)
    report = fleet.evacuate("alpha", "--plan", str(plan))
    assert report["complete"]
    assert set(containers(fleet.hosts["gamma"])) == set(names)
    plan.write_text(text.replace('target = "gamma"', 'target = "nowhere"'))
    _out, complaint = fleet.run("evacuate", "alpha", "--plan", str(plan), status=124)
    assert "nowhere" in complaint


@real
def test_what_the_hosts_refuse_is_planned_around(fleet: Fleet, lan: Lan) -> None:
    """Only beta has the directory: neither planner nor inventory knows that, the dry run does."""
    for name in ("alpha", "beta"):
        fleet.hosts[name].run(["mkdir", "-p", "/root/only-here"])
    names = many(fleet, 3, "alpha", "-v", "/root/only-here:/data")
    report = fleet.evacuate("alpha")
    assert report["complete"]
    assert set(running_once(fleet, names).values()) == {"beta"}


@real
def test_one_that_cannot_go(fleet: Fleet) -> None:
    alpha = fleet.hosts["alpha"]
    alpha.run(["mkdir", "-p", "/root/nowhere-else"])
    names = many(fleet, 2)
    start_counter(alpha, "bound", "-v", "/root/nowhere-else:/data")
    _out, complaint = fleet.run("evacuate", "alpha", "--on-failure", "stop", status=120)
    assert "nowhere-else" in complaint
    assert not is_cordoned(alpha)
    report = fleet.evacuate("alpha", status=EvacuationIncomplete.code)
    assert set(report["stay"]) == {"bound"}
    assert set(containers(alpha)) == {"bound"}
    running_once(fleet, [*names, "bound"])
    for other in ("beta", "gamma"):
        fleet.hosts[other].run(["mkdir", "-p", "/root/nowhere-else"])
    assert fleet.evacuate("alpha")["complete"]
    assert containers(alpha) == {}


@real
def test_ctrl_c(fleet: Fleet, lan: Lan) -> None:
    """One has moved, one is on its way, one is about to begin, and one waits."""
    names = many(fleet, 4)
    arm(fleet.hosts["alpha"], "prepared")
    place = lan.shared / "ctrl-c"
    place.mkdir()
    two_at_once = f"cd {place}; mkdir 1 || mkdir 2 || until [ -e go ]; do sleep 0.05; done"
    child = fleet.popen("evacuate", "alpha", "--json", "--no-check", "--before", two_at_once)
    events_until(child, {"state": "moved"})
    held = wait_until_held(fleet.hosts["alpha"], "move", child)
    child.send_signal(signal.SIGINT)
    (place / "go").touch()
    kill([held], signal.SIGCONT)
    assert child.stdout
    (report,) = reports_in(list(child.stdout))
    assert child.wait(60) == EvacuationIncomplete.code
    states = {o["name"]: o["state"] for o in report["outcomes"]}
    assert set(states.values()) == {"moved", "interrupted"}
    places = running_once(fleet, names)
    assert {n for n, s in states.items() if s == "moved"} == {
        n for n, host in places.items() if host != "alpha"
    }
    assert fleet.evacuate("alpha")["complete"]
    assert containers(fleet.hosts["alpha"]) == {}
    running_once(fleet, names)


@real
def test_the_conductor_is_killed_again_and_again(fleet: Fleet) -> None:
    """At any moment: the same command then goes on, and every container runs exactly once."""
    chosen = random.Random(SEED)
    names = many(fleet, 4)
    for _ in range(KILLS):
        child = fleet.popen("evacuate", "alpha", "--json", "--parallel", "3", "--no-check")
        events_until(child, {"state": "moving"})
        time.sleep(chosen.uniform(0, 1.5))
        child.kill()
        child.communicate()
    report = fleet.evacuate("alpha")
    assert report["complete"]
    assert containers(fleet.hosts["alpha"]) == {}
    running_once(fleet, names)
    back = fleet.evacuate("alpha", "--return")
    assert back["complete"]
    assert set(running_once(fleet, names).values()) == {"alpha"}


@real
def test_from_the_host_itself(fleet: Fleet) -> None:
    """As at a shutdown: '.' is in no inventory; to come back it is named as others know it."""
    alpha = fleet.hosts["alpha"]
    environment = {"MIGRATE_INVENTORY": str(fleet.inventory)}
    names = many(fleet, 2)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return alpha.run(
            [MIGRATE, "evacuate", *arguments], env=environment, check=False, timeout=150
        )

    done = run(".", "--to", "beta", "--deadline", "100", "--no-check")
    assert done.returncode == 0, done
    assert set(running_once(fleet, names).values()) == {"beta"}
    alpha.reboot()
    assert is_cordoned(alpha)
    refused = run(".", "--return")
    assert refused.returncode == UsageError.code
    assert "migrate host add" in refused.stderr
    done = run("alpha", "--return")
    assert done.returncode == 0, done
    assert set(running_once(fleet, names).values()) == {"alpha"}


@real
def test_a_target_that_dies(fleet: Fleet) -> None:
    """What was to go there stays or is settled; the same command then finds another place."""
    names = many(fleet, 2)
    alpha, gamma = fleet.hosts["alpha"], fleet.hosts["gamma"]
    arm(alpha, "prepared")
    child = fleet.popen(
        "evacuate", "alpha", "--to", "gamma", "--parallel", "1", "--json", "--no-check"
    )
    held = wait_until_held(alpha, "move", child)
    gamma.cut()
    kill([held], signal.SIGCONT)
    try:
        out, err = child.communicate(timeout=200)
        assert child.returncode == EvacuationIncomplete.code, (out, err)
    finally:
        gamma.mend()
    report = fleet.evacuate("alpha", "--to", "beta", "--to", "gamma", "--no-check")
    assert report["complete"]
    assert "alpha" not in set(running_once(fleet, names).values())


@real
def test_two_that_would_fill_each_other(fleet: Fleet) -> None:
    """No deadlock, and none is emptied into a host that is being emptied."""
    here, there = many(fleet, 2, "alpha"), many(fleet, 2, "beta")
    one = fleet.popen("evacuate", "alpha", "--json")
    two = fleet.popen("evacuate", "beta", "--json")
    for child in (one, two):
        out, err = child.communicate(timeout=250)
        assert child.returncode in {0, ClaimTaken.code, EvacuationIncomplete.code}, (out, err)
    assert 0 in {one.returncode, two.returncode}
    places = running_once(fleet, here + there)
    if one.returncode == 0:
        assert "alpha" not in {places[name] for name in here}
    if two.returncode == 0:
        assert "beta" not in {places[name] for name in there}
