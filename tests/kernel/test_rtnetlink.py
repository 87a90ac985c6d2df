"""Messages to the kernel that routes, neighbours and forwarding entries obey."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from migrate.kernel import rtnetlink
from migrate.kernel.namespaces import CLONE_NEWNET, unshare

pytestmark = pytest.mark.root
MAC, HERE, THERE = "02:00:00:00:00:07", "10.9.0.2", "10.9.0.3"


def _ip(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def within() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Calls something in a namespace with an interface, and a bridge with a VXLAN port."""

    def call(work: Callable[[], Any]) -> Any:
        found: list[Any] = []

        def run() -> None:
            unshare(CLONE_NEWNET)
            for line in (
                "ip link add u0 type veth peer u1", "ip addr add 10.9.0.1/24 dev u0",
                "ip link set u1 up", "ip link set u0 up",
                "ip link add name brx type bridge",
                "ip link add vx type vxlan id 42 local 10.9.0.1 dstport 4789",
                "ip link set vx master brx", "ip link set vx up", "ip link set brx up",
            ):  # fmt: skip
                _ip(*line.split())
            try:
                found.append(work())
            except BaseException as error:  # noqa: BLE001 -- raised again in the test's thread
                found.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

    return call


@pytest.mark.parametrize(("address", "gateway"), [("10.8.0.9", HERE), ("fd00::9", "fe80::77")])
def test_a_route_is_replaced_in_one_step(within, address: str, gateway: str) -> None:
    version = "-6" if ":" in address else "-4"

    def route() -> str:
        return _ip("ip", version, "route", "show", address)

    def work() -> None:
        rtnetlink.replace_route(address, interface="u0", protocol=109)
        assert "dev u0 proto 109" in route()
        rtnetlink.replace_route(address, interface="u0", gateway=gateway, protocol=110)
        assert f"via {gateway} dev u0 proto 110" in route()
        rtnetlink.replace_route(address, protocol=109)
        assert "blackhole" in route()
        rtnetlink.replace_route(address, interface="u0", protocol=109)
        assert len(route().splitlines()) == 1
        with pytest.raises(ProcessLookupError):
            rtnetlink.remove_route(address, protocol=110)
        rtnetlink.remove_route(address, protocol=109)
        assert route() == ""

    within(work)


def test_neighbours_come_and_go(within) -> None:
    def work() -> None:
        for address in ("10.8.0.7", "fd00::7"):
            rtnetlink.replace_neighbour("brx", address, MAC)
            assert f"{address} dev brx lladdr {MAC} PERMANENT" in _ip("ip", "neigh")
            rtnetlink.remove_neighbour("brx", address)
            assert address not in _ip("ip", "neigh")

    within(work)


def test_where_frames_go(within) -> None:
    def entries() -> str:
        return _ip("bridge", "fdb", "show", "dev", "vx")

    def work() -> None:
        for host in (HERE, THERE):
            rtnetlink.send_to_all_by("vx", host)
            assert f"00:00:00:00:00:00 dst {host} self permanent" in entries()
        rtnetlink.send_to_all_by("vx", HERE)
        assert entries().count(f"00:00:00:00:00:00 dst {HERE} ") == 1
        for host in (HERE, THERE):
            rtnetlink.send_by("vx", MAC, host)
            assert f"{MAC} dst {host} self" in entries()
        assert f"{MAC} dst {HERE}" not in entries()
        rtnetlink.expect_behind("vx", MAC)
        assert f"{MAC} extern_learn master brx" in entries()
        rtnetlink.expect_no_more_behind("vx", MAC)
        rtnetlink.send_no_more_by("vx", MAC)
        assert MAC not in entries()

    within(work)


def test_what_the_kernel_refuses_is_an_error(within) -> None:
    def work() -> None:
        with pytest.raises(OSError, match="no interface"):
            rtnetlink.replace_route("10.8.0.9", interface="absent", protocol=109)
        with pytest.raises(OSError, match="Invalid"):
            rtnetlink.replace_route("10.8.0.9", interface="u0", gateway="10.9.0.1", protocol=110)

    within(work)
