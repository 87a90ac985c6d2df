"""Interfaces by netlink in a network namespace that is not ours: a thread enters it and works."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyroute2 import NetlinkError

from migrate.kernel import namespaces

BRIDGE = "br0"
HOST_BRIDGE = "br-lan"
PREFIX_LENGTH = 24
_ROOT = 0xFFFF_FFFF  # TC_H_ROOT
_UP_LIMIT = 20.0  # seconds


def _in_thread(work: Callable[[], Any]) -> Any:
    """A network namespace belongs to a thread, and so do pyroute2's sockets."""
    result: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def new_namespace() -> int:
    """A descriptor of a fresh network namespace that lives as long as something holds it."""

    def make() -> int:
        namespaces.unshare(namespaces.CLONE_NEWNET)
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    return int(_in_thread(make))


def within(descriptor: int, work: Callable[[Any], Any]) -> Any:
    """Call `work` with a netlink handle of the namespace."""
    from pyroute2 import IPRoute

    def enter() -> Any:
        namespaces.setns(descriptor, namespaces.CLONE_NEWNET)
        with IPRoute() as handle:
            return work(handle)

    return _in_thread(enter)


def index_of(handle: Any, name: str) -> int:
    found = handle.link_lookup(ifname=name)
    if not found:
        raise LookupError(f"no interface {name}")
    return int(found[0])


def _up(handle: Any, name: str) -> int:
    index = index_of(handle, name)
    handle.link("set", index=index, state="up")
    return index


def _add_bridge(handle: Any, name: str, **fields: Any) -> int:
    handle.link("add", ifname=name, kind="bridge", br_forward_delay=0, br_stp_state=0, **fields)
    return _up(handle, name)


def make_lan() -> int:
    """The namespace with the bridge that all hosts hang on; returns its descriptor."""
    lan = new_namespace()

    def work(handle: Any) -> None:
        # It carries the hosts' IPv6 all the same, and is no neighbour of theirs itself.
        for scope in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")
        _up(handle, "lo")
        _add_bridge(handle, BRIDGE)

    within(lan, work)
    return lan


def plug(lan: int, port: str, host: int) -> None:
    """A veth pair: `port` on the lan's bridge, `eth0` in the host's namespace."""

    def work(handle: Any) -> None:
        handle.link(
            "add", ifname=port, kind="veth", peer={"ifname": "eth0", "net_ns_fd": host}
        )  # fmt: skip
        index = index_of(handle, port)
        handle.link("set", index=index, master=index_of(handle, BRIDGE), state="up")

    within(lan, work)


def unplug(lan: int, port: str) -> None:
    """Remove the pair, if it is still there (it ends with the host's namespace)."""

    def work(handle: Any) -> None:
        for index in handle.link_lookup(ifname=port):
            # The kernel may end the pair with the host's namespace between the two calls.
            with contextlib.suppress(NetlinkError):
                handle.link("del", index=index)

    within(lan, work)


def splice(lan: int, port: str, ends: tuple[str, str]) -> None:
    """Put a bad cable (`cable.py`) between a port and the bridge: the port has one of its own."""

    def work(handle: Any) -> None:
        first, second = (index_of(handle, name) for name in ends)
        between = _add_bridge(handle, _own_bridge(port))
        for index, master in (
            (index_of(handle, port), between), (first, between), (second, index_of(handle, BRIDGE)),
        ):  # fmt: skip
            handle.link("set", index=index, master=master)

    within(lan, work)


def unsplice(lan: int, port: str) -> None:
    """The port on the bridge again, if it is there; no error when nothing was spliced."""

    def work(handle: Any) -> None:
        for index in handle.link_lookup(ifname=port):
            handle.link("set", index=index, master=index_of(handle, BRIDGE))
        for index in handle.link_lookup(ifname=_own_bridge(port)):
            handle.link("del", index=index)

    within(lan, work)


def _own_bridge(port: str) -> str:
    return f"b{port}"[:15]


def address_host(host: int, address: str, mac: str, *, bridged: bool) -> None:
    """Give the namespace its address: on `br-lan` with eth0 as a port, or on eth0 itself."""

    def work(handle: Any) -> None:
        _up(handle, "lo")
        eth0 = index_of(handle, "eth0")
        holder = eth0
        if bridged:
            holder = _add_bridge(handle, HOST_BRIDGE, address=mac)
            handle.link("set", index=eth0, master=holder)
        # A bridge whose address was set does not change it when containers are plugged in.
        handle.link("set", index=holder, address=mac)
        handle.link("set", index=eth0, state="up")
        handle.addr("add", index=holder, address=address, prefixlen=PREFIX_LENGTH)

    within(host, work)


def set_port_state(lan: int, port: str, up: bool) -> None:
    state = "up" if up else "down"
    within(lan, lambda handle: handle.link("set", index=index_of(handle, port), state=state))


def await_up(namespace: int, *names: str) -> None:
    """Until the interfaces are up for the kernel (RFC 2863, ifOperStatus); raises TimeoutError."""

    def work(handle: Any) -> None:
        deadline = time.monotonic() + _UP_LIMIT
        for index in [index_of(handle, name) for name in names]:
            while handle.get_links(index)[0].get_attr("IFLA_OPERSTATE") != "UP":
                if time.monotonic() > deadline:
                    raise TimeoutError(f"of {', '.join(names)}, one does not come up")
                time.sleep(0.002)

    within(namespace, work)


def set_rate(namespace: int, interface: str, megabits: float | None) -> None:
    """Limit what leaves by the interface to `megabits` Mbit/s (TBF); None lifts the limit."""

    def work(handle: Any) -> None:
        index = index_of(handle, interface)
        for message in handle.get_qdiscs(index):
            if message.get_attr("TCA_KIND") == "tbf":
                handle.tc("del", index=index, parent=_ROOT)
        if megabits is not None:
            rate = int(megabits * 1e6 / 8)
            # A veth carries segments of up to 64 KiB; the queue holds 20 ms and one of those.
            handle.tc(
                "add", "tbf", index, rate=rate, burst=max(rate // 250, 128 * 1024),
                limit=max(rate // 50, 256 * 1024), parent=_ROOT,
            )  # fmt: skip

    within(namespace, work)
