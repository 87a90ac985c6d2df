"""A cordoned host takes no containers, and goes on with those that it has."""

from __future__ import annotations

import json
import os
import stat

import pytest

from migrate.move.doctor import cordon as doctor
from migrate.runtime import cordon
from migrate.runtime.errors import HostCordoned
from migrate.runtime.paths import Paths
from tests.engine import Engine, eventually


@pytest.fixture
def paths(tmp_path) -> Paths:
    return Paths(tmp_path / "state", tmp_path / "run")


def test_it_says_who_when_and_why(paths):
    assert cordon.read(paths) is None
    cordon.refuse_if_cordoned(paths, "start 'web'")
    made = cordon.cordon(paths, by="root@admin", why="new disks\n\x1b[2Jon Friday")
    assert cordon.read(paths) == made
    assert made.why == "new disks  [2Jon Friday"
    assert stat.S_IMODE(paths.cordoned.stat().st_mode) == 0o600
    with pytest.raises(HostCordoned, match="start 'web'") as caught:
        cordon.refuse_if_cordoned(paths, "start 'web'")
    assert "by root@admin: new disks" in caught.value.cause
    assert "migrate host uncordon" in caught.value.mend
    assert cordon.uncordon(paths)
    assert not cordon.uncordon(paths)
    assert cordon.read(paths) is None


def test_it_lies_with_what_outlives_a_reboot(paths):
    cordon.cordon(paths)
    assert paths.cordoned.parent == paths.state


def test_a_second_one_has_its_own_reason(paths):
    cordon.cordon(paths, by="a", why="first")
    cordon.cordon(paths, by="b", why="second")
    found = cordon.read(paths)
    assert found
    assert (found.by, found.why) == ("b", "second")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"since": "x"}', b"\xff" * 10, b"x" * (1 << 20)]
)
def test_a_file_that_cannot_be_read_cordons_too(paths, data):
    paths.make()
    paths.cordoned.write_bytes(data)
    with pytest.raises(HostCordoned):
        cordon.refuse_if_cordoned(paths, "start 'web'")
    assert cordon.uncordon(paths)


@pytest.mark.parametrize("since", [0.0, -1e300, 1e300, 1e18])
def test_any_time_can_be_told(since):
    assert str(cordon.Cordon("me", since, "x")).endswith("by me: x")


def test_the_doctor_warns(paths):
    assert [f.status for f in doctor.check(paths)] == ["ok"]
    cordon.cordon(paths, why="disks")
    (found,) = doctor.check(paths)
    assert (found.status, found.needed_for_move) == ("warning", False)
    assert found.found.endswith(": disks")


@pytest.mark.root
class TestWithContainers:
    @pytest.fixture
    def cordoned(self, engine: Engine):
        engine.detached("--name", "runs", "sleep", "1000")
        engine.ok("create", "--name", "waits", "--rootfs", engine.rootfs, "sleep", "1000")
        engine.ok("host", "cordon", "--why", "for the test")
        yield engine
        engine.ok("host", "uncordon")
        engine.clear()

    def test_none_is_made_or_started(self, cordoned: Engine):
        before = sorted(os.listdir(cordoned.paths.state / "containers"))
        code = HostCordoned.code
        root = ("--rootfs", cordoned.rootfs)
        for words in (
            ("run", "-d", "--name", "new", *root, "true"), ("run", "--rm", *root, "true"),
            ("create", "--name", "new", *root, "true"), ("start", "waits"),
        ):  # fmt: skip
            error = cordoned.fails(*words, code=code)
            assert "for the test" in error
            assert "migrate host uncordon" in error
        cordoned.ok("stop", "-t", "0", "runs")
        assert "runs" in cordoned.fails("start", "runs", code=code)
        assert sorted(os.listdir(cordoned.paths.state / "containers")) == before
        assert cordoned.status("waits")["status"] == "created"
        cordoned.ok("host", "uncordon")
        cordoned.ok("start", "waits", "runs")
        assert cordoned.status("runs")["status"] == "running"

    def test_what_runs_goes_on_and_can_be_ended(self, cordoned: Engine):
        assert cordoned.ok("exec", "runs", "echo", "here") == "here"
        cordoned.ok("pause", "runs")
        cordoned.ok("resume", "runs")
        assert cordoned.status("runs")["status"] == "running"
        cordoned.ok("stop", "-t", "0", "runs")
        assert eventually(lambda: cordoned.status("runs")["status"] == "stopped")
        cordoned.ok("rm", "runs")
        cordoned.ok("rm", "-f", "waits")
        assert json.loads(cordoned.ok("ps", "-a", "--json")) == []

    def test_ps_says_so_beside_the_list(self, cordoned: Engine):
        listed = cordoned.call("ps")
        assert "cordoned" in listed.stderr
        assert "for the test" in listed.stderr
        assert "cordoned" not in listed.stdout
        assert cordoned.call("ps", "-q").stderr == ""
        cordoned.ok("host", "uncordon")
        assert cordoned.call("ps").stderr == ""

    def test_asked_by_json(self, cordoned: Engine):
        told = json.loads(cordoned.ok("host", "cordon", "--why", "again", "--json"))
        assert told["cordoned"] is True
        assert told["why"] == "again"
        assert "@" in told["by"]
        assert json.loads(cordoned.ok("host", "uncordon", "--json"))["was_cordoned"] is True
        assert json.loads(cordoned.ok("host", "uncordon", "--json"))["was_cordoned"] is False
