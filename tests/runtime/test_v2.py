"""Containers on a host that has cgroup v2 alone, which here may lack the controllers of limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.runtime.errors import CgroupFailed
from tests.engine import eventually
from tests.hosts import Host, Lan, cgroups
from tests.hosts.redis import MIGRATE
from tests.oci.runtime import COMMAND
from tests.rootfs import busybox_rootfs

pytestmark = [pytest.mark.root, pytest.mark.hosts]
DEVICES = (  # userfaultfd's: who opens it needs no capability
    "mknod /dev/faults c 10 257; head -c 1 /dev/faults 2>&1; head -c 4 /dev/zero | wc -c"
)


@pytest.fixture(scope="module")
def host(lan: Lan) -> Host:
    """It has lost what it had of v1."""
    made = lan.host("alpha")
    older = [str(h.mount_point) for h in cgroups.hierarchies() if h.version == 1]
    if older:
        made.run(["umount", *older])
    if made.run(["grep", "-c", " cgroup2 ", "/proc/mounts"], check=False).returncode:
        pytest.skip("this machine has no cgroup v2 hierarchy")
    busybox_rootfs(lan.shared / "busybox")
    return made


@pytest.fixture
def rootfs(lan: Lan) -> Path:
    return lan.shared / "busybox"


def _group(host: Host, path: str) -> str:
    mount = host.run(["sh", "-c", "grep ' cgroup2 ' /proc/mounts | cut -d ' ' -f 2"]).stdout.split()
    return f"{mount[-1]}/{path}"


@pytest.fixture
def sleeper(host: Host, rootfs: Path) -> Iterator[str]:
    command = [MIGRATE, "run", "-d", "--name", "box", "--rootfs", str(rootfs), "sleep", "1000"]
    yield host.run(command).stdout.strip()
    host.run([MIGRATE, "rm", "-f", "box"])
    assert host.run(["ls", _group(host, "migrate")], check=False).returncode != 0


def test_freezer_exec_and_kill(host: Host, sleeper: str):
    group = _group(host, f"migrate/{sleeper}")
    host.run([MIGRATE, "pause", "box"])
    assert host.run(["cat", f"{group}/cgroup.freeze"]).stdout == "1\n"
    assert "frozen 1" in host.run(["cat", f"{group}/cgroup.events"]).stdout
    assert json.loads(host.run([MIGRATE, "ps", "--json"]).stdout)[0]["status"] == "paused"
    host.run([MIGRATE, "resume", "box"])
    shown = host.run([MIGRATE, "exec", "box", "cat", "/proc/self/cgroup"]).stdout
    assert "0::/\n" in shown
    host.run([MIGRATE, "stats", "--no-stream", "--json", "box"])
    host.run([MIGRATE, "kill", "box"])
    assert eventually(
        lambda: (
            json.loads(host.run([MIGRATE, "ps", "-a", "--json"]).stdout)[0]["exit_status"] == 137
        )
    )


@pytest.mark.parametrize("where", ["run", "exec"])
def test_devices_of_the_host_are_out_of_reach(host: Host, rootfs: Path, sleeper: str, where: str):
    """There is no devices controller: a BPF program keeps them apart."""
    words = ["sh", "-c", DEVICES]
    start = ["run", "--rm", "--rootfs", str(rootfs)] if where == "run" else ["exec", "box"]
    told = host.run([MIGRATE, *start, *words]).stdout
    assert "not permitted" in told
    assert told.split()[-1] == "4"


def test_limits_are_set_or_refused_by_name(host: Host, rootfs: Path):
    offered = host.run(["cat", _group(host, "cgroup.controllers")]).stdout.split()
    for option, value, file in (("--pids-limit", "50", "pids.max"), ("-m", "64m", "memory.max")):
        controller = file.partition(".")[0]
        command = [MIGRATE, "run", "-d", "--name", "limited", option, value, "--rootfs",
                   str(rootfs), "sleep", "100"]  # fmt: skip
        done = host.run(command, check=False)
        if controller not in offered:
            assert done.returncode == CgroupFailed.code
            assert f"no {controller} controller" in done.stderr
            continue
        group = _group(host, f"migrate/{done.stdout.strip()}")
        assert host.run(["cat", f"{group}/{file}"]).stdout.strip() in {"50", str(64 << 20)}
        host.run([MIGRATE, "rm", "-f", "limited"])


def test_the_oci_runtime(host: Host, lan: Lan, rootfs: Path):
    bundle = lan.shared / "bundle"
    bundle.mkdir()
    host.run([COMMAND, "spec", "--bundle", str(bundle)])
    spec = json.loads((bundle / "config.json").read_text())
    spec["root"]["path"] = str(rootfs)
    spec["process"] |= {"args": ["sleep", "1000"], "terminal": False}
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
    ]
    spec["linux"]["resources"] = {"devices": rules}
    (bundle / "config.json").write_text(json.dumps(spec))
    quiet = f"{COMMAND} run --detach --bundle {bundle} one >/dev/null 2>&1"
    host.run(["sh", "-c", quiet])
    try:
        state = json.loads(host.run([COMMAND, "state", "one"]).stdout)
        assert state["status"] == "running"
        host.run([COMMAND, "pause", "one"])
        assert json.loads(host.run([COMMAND, "state", "one"]).stdout)["status"] == "paused"
        host.run([COMMAND, "resume", "one"])
        told = host.run([COMMAND, "exec", "--cap", "CAP_MKNOD", "one", "sh", "-c", DEVICES]).stdout
        assert "not permitted" in told
        stats = json.loads(host.run([COMMAND, "events", "--stats", "one"]).stdout)
        assert stats["id"] == "one"
    finally:
        host.run([COMMAND, "delete", "--force", "one"])
