"""config-linux.md of specification 1.3, "Network Devices", and what else came after 1.2.0."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from migrate.runtime.cordon import cordon
from migrate.runtime.paths import Paths
from tests.oci.runtime import Runtime, Spec

pytestmark = pytest.mark.root

NAME = f"nd{os.getpid()}"


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def device() -> Iterator[str]:
    """An interface of this machine with addresses of both families."""
    _ip("link", "add", NAME, "type", "veth", "peer", "name", f"{NAME}p")
    _ip("addr", "add", "192.0.2.7/24", "dev", NAME)
    _ip("addr", "add", "2001:db8::7/64", "dev", NAME, "nodad")
    yield NAME
    subprocess.run(["ip", "link", "del", f"{NAME}p"], capture_output=True, check=False)


def _with(spec: Spec, **linux: Any) -> Spec:
    spec["linux"] |= linux
    return spec


def test_a_device_is_moved_with_its_addresses_renamed_and_set_up(oci: Runtime, device: str):
    spec = _with(oci.spec(), netDevices={device: {"name": "net1"}})
    told = oci.shell("ip -o addr show dev net1; ip -o link show dev net1", spec)
    assert "192.0.2.7/24" in told
    assert "2001:db8::7/64" in told
    assert ",UP" in told.splitlines()[-1]
    assert f" {device}@" not in _ip("-o", "link")


def test_a_device_without_a_name_keeps_its_own(oci: Runtime, device: str):
    spec = _with(oci.spec(), netDevices={device: {}})
    assert "192.0.2.7" in oci.shell(f"ip -o addr show dev {device}", spec)


def test_a_device_that_can_not_be_moved_is_an_error(oci: Runtime, device: str):
    assert "no such interface" in oci.refused(_with(oci.spec("true"), netDevices={"nope0": {}}))
    spec = _with(oci.spec("true"), netDevices={device: {"name": "lo"}})
    assert "already" in oci.refused(spec)
    assert device in _ip("-o", "link")


@pytest.mark.parametrize(
    "devices", [{"a/b": {}}, {"a": {"name": "x" * 16}}, {"a": {"name": "c"}, "b": {"name": "c"}}]
)
def test_names_that_are_not_valid_are_refused(oci: Runtime, devices: dict[str, Any]):
    assert "config.json" in oci.refused(_with(oci.spec("true"), netDevices=devices))


def test_devices_without_a_network_namespace_are_refused(oci: Runtime, device: str):
    spec = _with(oci.spec("true"), netDevices={device: {}})
    spec["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}]
    assert "network namespace" in oci.refused(spec)
    assert device in _ip("-o", "link")


def test_exec_cpu_affinity(oci: Runtime):
    """config.md 1.2.1, "Process": of a process of exec, not of the container's first."""
    both = sorted(os.sched_getaffinity(0))
    identifier = oci.running()
    look = ["grep", "Cpus_allowed_list", "/proc/self/status"]
    process = oci.spec(*look, execCPUAffinity={"initial": "0", "final": str(both[-1])})["process"]
    file = oci.directory / "process.json"
    file.write_text(json.dumps(process))
    assert oci.ok("exec", "--process", file, identifier).split()[1] == str(both[-1])
    spec = oci.spec(*look, execCPUAffinity={"initial": "0"})
    assert oci.run(spec).split()[1] != "0" or len(both) == 1
    assert "execCPUAffinity" in oci.refused(oci.spec("true", execCPUAffinity={"final": "x"}))


def test_memory_policy(oci: Runtime):
    """config-linux.md 1.3, "Memory policy"; proc_pid_numa_maps(5)."""
    spec = _with(oci.spec(), memoryPolicy={"mode": "MPOL_BIND", "nodes": "0",
                                           "flags": ["MPOL_F_STATIC_NODES"]})  # fmt: skip
    assert "bind=static:0" in oci.shell("head -1 /proc/self/numa_maps", spec)
    for change in ({"mode": "MPOL_X"}, {"mode": "MPOL_BIND", "nodes": "a"},
                   {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]}):  # fmt: skip
        assert "memoryPolicy" in oci.refused(_with(oci.spec("true"), memoryPolicy=change))
    nowhere = {"mode": "MPOL_BIND", "nodes": "900"}
    assert "set_mempolicy" in oci.refused(_with(oci.spec("true"), memoryPolicy=nowhere))


def test_a_cordoned_host_takes_no_container(oci: Runtime):
    host = Paths(oci.directory / "state", oci.directory / "run")
    cordon(host, by="test", why="new disks")
    environment = os.environ | {"MIGRATE_STATE": str(host.state), "MIGRATE_RUN": str(host.run)}
    bundle = oci.bundle(oci.spec("true"))
    for verb in ("create", "run"):
        text = oci.fails(verb, "-b", bundle, oci.identifier(), env=environment)
        assert "cordoned" in text
        assert "new disks" in text
    assert list(oci.root.glob("*")) == []
