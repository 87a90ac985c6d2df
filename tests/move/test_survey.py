"""The agent's methods about its host: survey, cordon, uncordon; and moves that a cordon refuses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from migrate.checkpoint.state import State
from migrate.errors import from_wire
from migrate.move import survey
from migrate.move.methods import methods
from migrate.runtime import cordon, records
from migrate.runtime.errors import HostCordoned
from migrate.runtime.paths import Paths
from migrate.runtime.records import Bind, Network, Port, Record, Resources
from migrate.runtime.spec import Options, build
from migrate.transfer.client import AgentClient
from migrate.transfer.errors import ArgumentsInvalid

pytestmark = pytest.mark.root
WEB = Record(
    "0123456789ab", "web", created=1.0, layers=("sha256:" + "0" * 64,),
    network=Network("bridge", "migrate0", "10.88.0.7/16", "02:00:00:00:00:01",
                    ports=(Port(8080, 80),)),
    binds=(Bind("/srv/www", "/www"), Bind("things", "/things", volume=True)),
    resources=Resources(memory=1 << 28), labels={"b": "x" * 5000, "a": "1", "migrate.apart": "w"},
    held="ab" * 16,
)  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path / "state", tmp_path / "run")
    made.make()
    return made


@pytest.fixture
def agent(paths: Paths) -> Iterator[AgentClient]:
    client = AgentClient.local(methods(paths))
    yield client
    client.close()


def test_a_survey_is_of_builtins_only(paths, agent):
    records.save(paths, WEB)
    records.save(paths, msgspec.structs.replace(WEB, identifier="gone", name="g", moved_to="b"))
    (paths.volumes / "things").mkdir()
    (paths.volumes / "things" / "file").write_bytes(b"x" * (1 << 20))
    told = agent.call("host.survey", timeout=60)
    assert told.keys() == {
        "host_id", "machine", "kernel", "criu", "cpu_flags", "memory_free", "disk_free",
        "cordoned", "bridges", "networks", "guests",
    }  # fmt: skip
    assert told["cordoned"] is False
    (guest,) = told["guests"]
    assert guest["disk"] >= 0
    assert guest | {"disk": 0} == {
        "identifier": "0123456789ab", "name": "web", "status": "stopped", "memory": 0,
        "limit": 1 << 28, "disk": 0, "disk_counted": True,
        "labels": {"migrate.apart": "w", "a": "1"}, "network": "bridge", "bridge": "migrate0",
        "address": "10.88.0.7/16", "address6": "", "network_name": "", "network_like": "",
        "ports": ["8080:80/tcp"], "held": "ab" * 16, "host_paths": ["/srv/www"],
    }  # fmt: skip


def test_labels_that_a_plan_heeds_are_told_first():
    labels = {f"a{n:03}": "" for n in range(200)} | {"migrate.evacuate": "keep"}
    told = survey._labels(labels)
    assert len(told) == survey.LABELS_LIMIT
    assert next(iter(told)) == "migrate.evacuate"


def test_cordon_and_uncordon(paths, agent):
    begun = time.time()
    told = agent.call("host.cordon", why="disks", by="root@admin", of_a_newer_version=1)
    assert (told["why"], told["by"]) == ("disks", "root@admin")
    assert begun <= told["since"] <= time.time()
    assert cordon.read(paths) == msgspec.convert(told, cordon.Cordon)
    assert agent.call("host.survey", timeout=60)["cordoned"] is True
    with pytest.raises(ArgumentsInvalid):
        agent.call("host.cordon", why=1)
    assert agent.call("host.uncordon") is True
    assert agent.call("host.uncordon") is False
    assert cordon.read(paths) is None


def test_a_move_is_refused_by_check_and_by_prepare(paths, agent):
    spec = build(Options(arguments=["true"]))
    record = msgspec.structs.replace(WEB, network=Network(), binds=(), held="")
    state = State(record, spec, {}, ()).encode()
    wish = {"move": "ab" * 16, "generation": 1, "mode": "cold", "was_running": True, "sender": "x"}
    assert agent.call("move.check", state=state)["obstacles"] == []
    cordon.cordon(paths, why="disks")
    (obstacle,) = agent.call("move.check", state=state)["obstacles"]
    assert isinstance(from_wire(obstacle), HostCordoned)
    # It may come between the two.
    with pytest.raises(HostCordoned, match="the target is cordoned"):
        agent.call("move.prepare", **wish, state=state)
    assert list(paths.moves.iterdir()) == []
    cordon.uncordon(paths)
    agent.call("move.prepare", **wish, state=state)
    assert agent.call("move.settle", move="ab" * 16) == "aborted"
    cordon.cordon(paths)
    agent.call("move.forget", move="ab" * 16)
