"""runtime.md, "Operations", "State" and "Errors": each operation in each status; features.md."""

from __future__ import annotations

import calendar
import json
import os
import time
from pathlib import Path

import pytest

from migrate.kernel.capabilities import NAMES
from migrate.kernel.namespaces import FLAG_OF_NAME
from migrate.runtime import seccomp
from tests.engine import eventually
from tests.oci.runtime import Runtime

pytestmark = pytest.mark.root

# Operation -> the statuses in which it is allowed (of runc's for those that OCI does not know).
ALLOWED = {
    "start": {"created"}, "kill": {"created", "running", "paused"},
    "delete": {"created", "stopped"},
    "pause": {"created", "running"}, "resume": {"paused"}, "exec": {"created", "running"},
    "update": {"created", "running", "paused"}, "ps": {"created", "running", "paused"},
    "events": {"created", "running", "paused"}, "checkpoint": {"running", "paused"},
}  # fmt: skip


def _in_status(oci: Runtime, status: str) -> str:
    identifier = oci.create(oci.spec("sleep", "1000"))
    if status in {"running", "paused"}:
        oci.ok("start", identifier)
    if status == "paused":
        oci.ok("pause", identifier)
    if status == "stopped":
        oci.ok("kill", identifier, "KILL")
        assert eventually(lambda: oci.state(identifier)["status"] == "stopped")
    return identifier


@pytest.mark.parametrize("status", ["created", "running", "paused", "stopped"])
def test_operations_that_the_status_does_not_allow_change_nothing(oci: Runtime, status: str):
    """ "MUST generate an error and MUST NOT have any effect on the container"."""
    identifier = _in_status(oci, status)
    before = oci.state(identifier)
    assert before["status"] == status
    for operation, allowed in ALLOWED.items():
        if status in allowed:
            continue
        words = ["--stats"] if operation == "events" else []
        words += ["--pids-limit", "9"] if operation == "update" else []
        text = oci.fails(operation, *words, identifier, *(["true"] if operation == "exec" else []),
                         status=255 if operation == "exec" else 1)  # fmt: skip
        assert text.startswith("migrate-oci: "), operation
        assert oci.state(identifier) == before, operation


@pytest.mark.parametrize("operation", sorted(ALLOWED))
def test_operations_on_what_does_not_exist_are_errors(oci: Runtime, operation: str):
    words = ["true"] if operation == "exec" else []
    status = 255 if operation == "exec" else 1
    assert "does not exist" in oci.fails(operation, "nobody", *words, status=status)


@pytest.mark.parametrize("operation", [*sorted(ALLOWED), "state", "create", "run", "restore"])
def test_operations_without_an_id_are_errors(oci: Runtime, operation: str):
    assert "arguments" in oci.fails(operation)


def test_kill_of_a_paused_container_arrives_when_it_is_resumed(oci: Runtime):
    reader, writer = os.pipe()
    text = "trap 'echo got it; exit' TERM; echo ready; while true; do sleep 0.05; done"
    identifier = oci.create(oci.spec("sh", "-c", text), stdout=writer)
    os.close(writer)
    oci.ok("start", identifier)
    with os.fdopen(reader) as output:
        assert output.readline() == "ready\n"
        oci.ok("pause", identifier)
        oci.ok("kill", identifier)
        assert oci.state(identifier)["status"] == "paused"
        oci.ok("resume", identifier)
        assert output.readline() == "got it\n"


def test_kill_of_a_paused_container_with_sigkill_ends_it(oci: Runtime):
    identifier = _in_status(oci, "paused")
    oci.ok("kill", identifier, "KILL")
    assert eventually(lambda: oci.state(identifier)["status"] == "stopped")


def test_state_of_each_field(oci: Runtime):
    spec = oci.spec("sleep", "1000")
    spec["ociVersion"] = "1.0.2"
    bundle = oci.bundle(spec)
    (oci.directory / "link").symlink_to(bundle)
    identifier = oci.identifier()
    oci.detached("create", "-b", oci.directory / "link", identifier)
    state = oci.state(identifier)
    assert state["ociVersion"] == "1.0.2"
    assert state["bundle"] == str(bundle)  # absolute
    assert state["annotations"] == {}
    assert Path(f"/proc/{state['pid']}").exists()
    created = calendar.timegm(time.strptime(state["created"][:19], "%Y-%m-%dT%H:%M:%S"))
    assert abs(created - time.time()) < 60


def test_create_writes_the_pid_file_whole(oci: Runtime):
    file = oci.directory / "pid"
    file.write_text("of another time, and much longer")
    identifier = oci.create(oci.spec("sleep", "1000"), "--pid-file", file)
    assert file.read_text() == str(oci.state(identifier)["pid"])


def test_create_with_a_pid_file_that_can_not_be_written_leaves_nothing(oci: Runtime):
    identifier = oci.identifier()
    bundle = oci.bundle(oci.spec("true"))
    assert "/nowhere" in oci.fails("create", "-b", bundle, "--pid-file", "/nowhere/pid", identifier)
    assert "does not exist" in oci.fails("state", identifier)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"ociVersion": 1}', "\xff"])
def test_create_of_a_config_that_is_no_config_is_an_error(oci: Runtime, text: str):
    bundle = oci.bundle(oci.spec("true"))
    (bundle / "config.json").write_bytes(text.encode("latin-1"))
    assert oci.fails("create", "-b", bundle, oci.identifier()).startswith("migrate-oci: ")


@pytest.mark.parametrize("name", ["vm", "windows", "solaris", "zos"])
def test_create_for_another_platform_is_an_error(oci: Runtime, name: str):
    assert name in oci.refused(oci.spec("true") | {name: {"a": 1}})


def test_poststop_hooks_get_the_last_state(oci: Runtime):
    place = oci.directory / "state"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat > {place}"], "env": ["PATH=/bin"]}
    identifier = oci.create(oci.spec("sleep", "1") | {"hooks": {"poststop": [hook]}})
    oci.ok("delete", "--force", identifier)
    state = json.loads(place.read_text())
    assert (state["status"], state["id"]) == ("stopped", identifier)


def test_hooks_get_their_args_and_environment_and_no_more(oci: Runtime):
    place = oci.directory / "told"
    script = f'echo "$0 $1 [$A]" > {place}; env >> {place}'
    hook = {"path": "/bin/sh", "args": ["name", "-c", script, "zero", "one"], "env": ["A=b"]}
    oci.create(oci.spec("true") | {"hooks": {"createRuntime": [hook, hook]}})
    lines = place.read_text().splitlines()
    assert lines[0] == "zero one [b]"
    assert {line.partition("=")[0] for line in lines[1:]} <= {"A", "PWD", "SHLVL", "_", "OLDPWD"}


def test_hooks_without_an_environment_have_that_of_the_command(
    oci: Runtime, monkeypatch: pytest.MonkeyPatch
):
    """As with runc and crun; `env: []` is an environment, an empty one."""
    monkeypatch.setenv("MIGRATE_TEST_MARK", "here")
    places = [oci.directory / "inherited", oci.directory / "empty"]
    hooks = [
        {"path": "/bin/sh", "args": ["sh", "-c", f"echo [$MIGRATE_TEST_MARK] > {place}"], **more}
        for place, more in zip(places, ({}, {"env": []}), strict=True)
    ]
    oci.create(oci.spec("true") | {"hooks": {"createRuntime": hooks}})
    assert [place.read_text() for place in places] == ["[here]\n", "[]\n"]


def test_hooks_within_their_timeout_are_fine(oci: Runtime):
    hook = {"path": "/bin/true", "timeout": 20}
    oci.create(oci.spec("true") | {"hooks": {"createRuntime": [hook], "poststop": [hook]}})


def test_features_of_every_section(oci: Runtime):
    """features.md and features-linux.md: each property that they name."""
    told = json.loads(oci.ok("features"))
    assert set(told) == {
        "ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux", "annotations",
        "potentiallyUnsafeConfigAnnotations",
    }  # fmt: skip
    linux = told["linux"]
    assert set(linux["namespaces"]) == {
        {"net": "network", "mnt": "mount"}.get(name, name) for name in FLAG_OF_NAME
    }
    assert linux["capabilities"] == list(NAMES)
    assert linux["cgroup"] == {
        "v1": True, "v2": True, "systemd": True, "systemdUser": False, "rdma": False,
    }  # fmt: skip
    assert set(linux["seccomp"]) == {
        "enabled", "actions", "operators", "archs", "knownFlags", "supportedFlags",
    }  # fmt: skip
    assert set(linux["seccomp"]["actions"]) == set(seccomp.ACTIONS)
    assert set(linux["seccomp"]["archs"]) == set(seccomp.ARCHITECTURES)
    assert set(linux["seccomp"]["supportedFlags"]) <= set(linux["seccomp"]["knownFlags"])
    assert linux["mountExtensions"]["idmap"]["enabled"] is True
    for name in ("apparmor", "selinux", "intelRdt", "netDevices"):
        assert isinstance(linux[name]["enabled"], bool)
