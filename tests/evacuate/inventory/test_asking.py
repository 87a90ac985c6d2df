"""Asking many at once, and what an answer may be."""

from __future__ import annotations

import threading

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import InternalError, MigrateError
from migrate.evacuate.errors import InventoryBad
from migrate.evacuate.inventory import asking
from migrate.evacuate.inventory.asking import ask_all
from migrate.evacuate.inventory.hosts import Host, this_host
from migrate.evacuate.model import Guest, HostState
from migrate.runtime.paths import Paths
from migrate.transfer.errors import HostUnreachable, ProtocolError

HOST = Host("web1", "root@10.0.0.3", {"zone": "a"})
ANSWER = {
    "host_id": "ab12", "machine": "x86_64", "kernel": "6.18", "criu": "4.2.1",
    "cpu_flags": ["sse", "avx"], "memory_free": 1 << 30, "disk_free": 2 << 30, "cordoned": True,
    "bridges": ["br0"], "of_a_newer_version": 1,
    "guests": [
        {"identifier": "c1", "name": "web", "status": "running", "memory": 5, "limit": 6,
         "disk": 7, "disk_counted": False, "labels": {"migrate.apart": "w", "x": "a\x1b[2J\nb"},
         "network": "bridge", "bridge": "br0", "address": "10.0.0.9/24",
         "host_paths": ["/srv/\x07"], "held": "", "new": [1]},
        {"identifier": "c2", "name": "db", "status": "stopped"},
    ],
}  # fmt: skip


def state_of(answer: object) -> HostState:
    return asking._state(HOST, answer, HOST.address)


def test_an_answer_becomes_a_state():
    assert state_of(ANSWER) == HostState(
        name="web1", address="root@10.0.0.3", host_id="ab12", machine="x86_64", kernel="6.18",
        criu="4.2.1", cpu_flags=("sse", "avx"), memory_free=1 << 30, disk_free=2 << 30,
        cordoned=True, labels={"zone": "a"}, bridges=("br0",),
        guests=(
            Guest("c1", "web", memory=5, limit=6, disk=7, disk_counted=False,
                  labels={"migrate.apart": "w", "x": "a\ufffd[2J\ufffdb"}, network="bridge",
                  bridge="br0", address="10.0.0.9/24", host_paths=("/srv/\ufffd",)),
            Guest("c2", "db", "stopped"),
        ),
    )  # fmt: skip


def _with(**changes: object) -> dict[str, object]:
    return ANSWER | changes


def _guest(**changes: object) -> dict[str, object]:
    return _with(guests=[{"identifier": "c", "name": "c", "status": "running"} | changes])


@pytest.mark.parametrize(
    "answer",
    [
        None, [], "ready", {}, _with(host_id=""), _with(host_id="../x"), _with(host_id=1),
        _with(memory_free="1"), _with(memory_free=-1), _with(memory_free=1.5),
        _with(disk_free=1 << 63), _with(kernel="x" * 257), _with(cordoned="no"),
        _with(bridges=["b"] * 2001), _with(cpu_flags="sse"), _with(guests={}),
        _with(guests=[{"identifier": "c", "name": "c", "status": "running"}] * 5001),
        _guest(name="a b"), _guest(name="-x"), _guest(name="a\n"), _guest(identifier="../x"),
        _guest(identifier=""), _guest(status="\x1b"), _guest(status=3), _guest(memory=None),
        _guest(labels={"a": 1}), _guest(labels={"a": "x" * 4097}), _guest(host_paths=[1]),
        _guest(labels={str(n): "" for n in range(1001)}), _guest(held=True),
    ],
)  # fmt: skip
def test_an_answer_that_is_none(answer):
    with pytest.raises(ProtocolError, match="web1"):
        state_of(answer)


_KEYS = st.sampled_from([*ANSWER, *ANSWER["guests"][0]])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_KEYS, below, max_size=5),
    max_leaves=20,
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(_KEYS, _VALUES, max_size=5))
def test_any_answer_is_taken_or_refused(changes):
    try:
        state = state_of(ANSWER | changes)
    except ProtocolError:
        return
    assert isinstance(msgspec.json.encode(state), bytes)
    assert state.kernel.isprintable()


def test_all_are_asked_at_once_but_no_more_than_that():
    running, most, lock = 0, 0, threading.Lock()
    all_at_once = threading.Barrier(4)

    def ask_one(host: Host) -> HostState:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        all_at_once.wait(60)
        with lock:
            running -= 1
        return HostState(host.name, host.address, host.name)

    hosts = [Host(f"h{n}", f"root@h{n}") for n in range(12)]
    found = ask_all(hosts, 4, ask_one)
    assert list(found) == [host.name for host in hosts]
    assert most == 4
    assert ask_all([], 4, ask_one) == {}


def test_one_failure_hides_no_other_host():
    def ask_one(host: Host) -> HostState:
        if host.name == "down":
            raise HostUnreachable("down")
        if host.name == "odd":
            raise RuntimeError("odd")
        if host.name == "system":
            raise PermissionError("not yours")
        return HostState(host.name, host.address, "ab")

    found = ask_all([Host(name, name) for name in ("down", "odd", "system", "up")], 2, ask_one)
    assert {name: type(answer) for name, answer in found.items()} == {
        "down": HostUnreachable, "odd": InternalError, "system": HostUnreachable, "up": HostState,
    }  # fmt: skip
    assert all(isinstance(found[n], MigrateError) for n in ("down", "odd", "system"))


def test_the_second_name_of_a_host_is_an_error():
    def ask_one(host: Host) -> HostState:
        return HostState(host.name, host.address, {"c": "02"}.get(host.name, "01"))

    found = ask_all([Host(name, name) for name in "abc"], 2, ask_one)
    assert {n: type(a) for n, a in found.items()} == {
        "a": HostState, "b": InventoryBad, "c": HostState,
    }  # fmt: skip
    assert "'b' is the same host as 'a'" in str(found["b"])


def test_a_host_that_does_not_exist_is_an_error_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "config").touch()
    monkeypatch.setenv("MIGRATE_SSH_CONFIG", str(tmp_path / "config"))
    found = ask_all([Host("a", "root@127.0.0.1:1")])
    assert isinstance(found["a"], HostUnreachable)


@pytest.mark.root
def test_this_very_host_is_asked_without_ssh(tmp_path):
    state = asking.ask(this_host(), Paths(tmp_path / "state", tmp_path / "run"))
    assert state.address == ""
    assert state.guests == ()
    assert state.memory_free > 0
    assert state.disk_free > 0
    assert len(state.host_id) == 32
