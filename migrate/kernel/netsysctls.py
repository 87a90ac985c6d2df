"""Settings of a network namespace beneath /proc/sys/net, which shows those of who opens a file.

Each is a file that can be written; what is of the whole machine is read-only, or not there, in a
namespace that is not the first one (Linux, net/sysctl_net.c, net_ctl_permissions).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from migrate.kernel.namespaces import CLONE_NEWNET, unshare
from migrate.kernel.netlink import inside

_ROOT = "/proc/sys/net"
_LIMIT = 4096  # bytes of a value
_USUAL = 64  # what is longer is asked for twice
_NAME = re.compile(r"(core|ipv4|ipv6|unix|netfilter|mptcp|bridge|mpls|sctp)(/[\w.:@+-]+){1,4}")
_NOT_SETTINGS = re.compile(r"ipv[46]/route/flush|ipv6/conf/[^/]+/mtu|netfilter/nf_log.*")
"""An order, what an interface itself has, and what no namespace but the first can set."""
_INTERFACE = re.compile(r"/(conf|neigh)/[^/]+/")


class OpenSettings:
    """Opened once, read often: some 0.5 ms for 600 of them; a context manager."""

    def __init__(self, netns: Path | None) -> None:
        """Those of `netns`, or of the calling thread's namespace; raises OSError."""
        self._files: list[tuple[str, int]] = []
        self._raw: list[bytes | None] = []
        self._values: dict[str, str] = {}
        with inside(netns):
            for directory, _inner, names in os.walk(_ROOT):
                for name in names:
                    self._open(f"{directory}/{name}")

    def _open(self, path: str) -> None:
        name = path.removeprefix(f"{_ROOT}/")
        if _NOT_SETTINGS.fullmatch(name):
            return
        # An interface may go meanwhile; an order can't be read.
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if os.fstat(descriptor).st_mode & 0o200:
                self._files.append((name, descriptor))
            else:
                os.close(descriptor)

    def read(self) -> dict[str, str]:
        """The values by their paths beneath /proc/sys/net."""
        raw = [_raw(descriptor) for _name, descriptor in self._files]
        if raw != self._raw:
            self._raw = raw
            self._values = {
                name: value.decode(errors="replace").rstrip("\n")
                for (name, _), value in zip(self._files, raw, strict=True)
                if value is not None
            }
        return self._values

    def __enter__(self) -> OpenSettings:
        return self

    def __exit__(self, *_error: object) -> None:
        for _name, descriptor in self._files:
            os.close(descriptor)
        self._files.clear()


def _raw(descriptor: int) -> bytes | None:
    """None for one that was never set, as stable_secret."""
    try:
        found = os.pread(descriptor, _USUAL, 0)
        return found if len(found) < _USUAL else os.pread(descriptor, _LIMIT, 0)
    except OSError:
        return None


def of_a_new_namespace() -> dict[str, str]:
    """What a namespace has that was just made; raises OSError."""
    import threading

    found: dict[str, str] = {}

    def look() -> None:
        unshare(CLONE_NEWNET)
        with OpenSettings(None) as settings:
            found.update(settings.read())

    thread = threading.Thread(target=look, name="new-netns")
    thread.start()
    thread.join()
    if not found:
        raise OSError("a new network namespace can't be made")
    return found


def changed(values: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Those of `values` that are not as in a new namespace, interfaces compared with its default.

    Where one of "all" has changed, all interfaces': setting it sets theirs (networking/ip-sysctl).
    """
    found = {name: value for name, value in values.items() if value != new.get(_like(name, new))}
    spread = {name for name in found if "/conf/all/" in name}
    if "ipv4/ip_forward" in found:
        spread |= {"ipv4/conf/all/forwarding", "ipv4/conf/all/accept_redirects"}
    for name in spread:
        before, _, after = name.partition("/all/")
        wanted = re.compile(f"{re.escape(before)}/[^/]+/{re.escape(after)}")
        found |= {other: value for other, value in values.items() if wanted.fullmatch(other)}
    return found


def initial(names: Iterable[str]) -> dict[str, str]:
    """What these are in a new namespace, without those that it has not; raises OSError."""
    new = of_a_new_namespace()
    return {name: new[_like(name, new)] for name in names if _like(name, new) in new}


def _like(name: str, new: Mapping[str, str]) -> str:
    """Where a new namespace has what an interface of that name would begin with.

    Defaults of neighbours are read-only outside the first namespace; its lo has them.
    """
    for like in (name, *(_INTERFACE.sub(rf"/\1/{other}/", name) for other in ("default", "lo"))):
        if like in new:
            return like
    return name


def check(values: Mapping[str, str]) -> None:
    """Raise ValueError for what can't be a setting, whoever has told it."""
    for name, value in values.items():
        parts = name.split("/")
        if not _NAME.fullmatch(name) or ".." in parts or "." in parts:
            raise ValueError(f"there is no setting net/{name[:80]}")
        if _NOT_SETTINGS.fullmatch(name):
            raise ValueError(f"net/{name} is no setting")
        if len(value) > _LIMIT or not value.isascii() or "\0" in value or "\n" in value:
            raise ValueError(f"the setting net/{name} has no possible value")


def write(netns: Path, values: Mapping[str, str]) -> list[str]:
    """Set those of `netns` that are otherwise; which could not be set."""
    failed = []
    with inside(netns):
        for name in sorted(values, key=_order):
            wanted = values[name].encode()
            try:
                descriptor = os.open(f"{_ROOT}/{name}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError:
                failed.append(name)
                continue
            try:
                if _raw(descriptor) not in {wanted, wanted + b"\n"}:
                    os.write(descriptor, wanted)
            except OSError:
                failed.append(name)
            finally:
                os.close(descriptor)
    return failed


def _order(name: str) -> tuple[int, str]:
    """What sets others first."""
    if name == "ipv4/ip_forward":
        return 0, name
    return (1 if "/all/" in name else 2 if "/default/" in name else 3), name


def of_interface(names: Iterable[str], interface: str) -> list[str]:
    """Those of the names that belong to that interface."""
    return [name for name in names if re.search(rf"/(conf|neigh)/{re.escape(interface)}/", name)]
