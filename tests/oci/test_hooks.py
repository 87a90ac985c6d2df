"""config.md, "POSIX-platform Hooks", and runtime.md, "Lifecycle": all six kinds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from migrate.oci.hooks import KINDS
from tests.engine import eventually
from tests.oci.runtime import Runtime, Spec

pytestmark = pytest.mark.root

SCRIPT = """#!/bin/sh
{ echo "$1"; readlink /proc/self/ns/mnt; cat; echo; } >> "$LOG"
"""


class Log:
    """What the hooks have written: (kind, mount namespace, state)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[tuple[str, str, dict[str, Any]]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        rows = zip(lines[::3], lines[1::3], lines[2::3], strict=True)
        return [(kind, namespace, json.loads(state)) for kind, namespace, state in rows]

    def kinds(self) -> list[str]:
        return [kind for kind, _namespace, _state in self.entries()]


@pytest.fixture
def log(oci: Runtime) -> Log:
    place = oci.directory / "hooks"
    place.mkdir()
    (place / "hook").write_text(SCRIPT)
    (place / "hook").chmod(0o755)
    return Log(place / "log")


def _hooked(oci: Runtime, log: Log, *kinds: str) -> Spec:
    spec = oci.spec("sleep", "1000") | {"annotations": {"a": "b"}}
    place = str(log.path.parent)
    spec["mounts"].append({"destination": "/tmp", "source": place, "options": ["rbind"]})
    spec["hooks"] = {}
    for kind in kinds:
        where = "/tmp" if kind == "startContainer" else place
        environment = [f"LOG={where}/log", "PATH=/bin:/usr/bin"]
        hook = {"path": f"{where}/hook", "args": ["hook", kind], "env": environment}
        spec["hooks"][kind] = [hook]
    return spec


def test_hooks_of_all_kinds_run_in_their_order_and_place(oci: Runtime, log: Log):
    identifier = oci.create(_hooked(oci, log, *KINDS))
    pid = oci.state(identifier)["pid"]
    inside = os.readlink(f"/proc/{pid}/ns/mnt")
    assert log.kinds() == ["prestart", "createRuntime", "createContainer"]
    oci.ok("start", identifier)
    assert log.kinds()[3:] == ["startContainer", "poststart"]
    oci.ok("delete", "--force", identifier)
    assert log.kinds() == list(KINDS)
    namespaces = [namespace == inside for _kind, namespace, _state in log.entries()]
    assert namespaces == [False, False, True, True, False, False]
    for kind, _namespace, state in log.entries():
        assert (state["id"], state["annotations"]) == (identifier, {"a": "b"}), kind
        assert state["ociVersion"] == "1.2.0"
    words = [(state["status"], state["pid"]) for _kind, _namespace, state in log.entries()]
    assert words[0] == words[1] == ("creating", pid)
    assert [word for word, _pid in words[3:]] == ["created", "running", "stopped"]
    assert words[3][1] == 1
    assert words[4][1] == pid


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_hook_that_fails_at_create_unmakes_the_container(oci: Runtime, log: Log, kind: str):
    spec = _hooked(oci, log, "poststop")
    spec["hooks"][kind] = [{"path": "/bin/sh", "args": ["sh", "-c", "echo because; exit 3"]}]
    text = oci.refused(spec)
    assert kind in text
    assert "because" in text
    assert log.kinds() == ["poststop"]


def test_hook_startcontainer_that_fails_is_an_error_of_start(oci: Runtime):
    spec = oci.spec("sleep", "1000")
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo because; exit 3"]}
    identifier = oci.create(spec | {"hooks": {"startContainer": [hook]}})
    text = oci.fails("start", identifier)
    assert "startContainer" in text
    assert "because" in text
    assert eventually(lambda: oci.state(identifier)["status"] == "stopped")


def test_hook_poststart_that_fails_stops_the_container(oci: Runtime):
    hook = {"path": "/bin/false", "args": ["false"]}
    identifier = oci.create(oci.spec("sleep", "1000") | {"hooks": {"poststart": [hook]}})
    assert "poststart" in oci.fails("start", identifier)
    assert eventually(lambda: oci.state(identifier)["status"] == "stopped")


def test_hook_poststop_that_fails_is_a_warning_and_the_rest_goes_on(oci: Runtime, log: Log):
    spec = _hooked(oci, log, "poststop")
    spec["hooks"]["poststop"].insert(0, {"path": "/bin/false"})
    identifier = oci.create(spec)
    done = oci.call("delete", "--force", identifier)
    assert done.returncode == 0
    assert "warning" in done.stderr
    assert log.kinds() == ["poststop"]


def test_hook_timeout(oci: Runtime):
    hook = {"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}
    spec = oci.spec("true") | {"hooks": {"createRuntime": [hook]}}
    assert "longer than 1 s" in oci.refused(spec)


@pytest.mark.parametrize(
    "hook", [{"path": "relative"}, {"path": "/bin/true", "timeout": 0}, {"path": "/nowhere"}]
)
def test_hook_that_is_not_valid_is_refused(oci: Runtime, hook: dict[str, Any]):
    assert "hook" in oci.refused(oci.spec("true") | {"hooks": {"prestart": [hook]}})
