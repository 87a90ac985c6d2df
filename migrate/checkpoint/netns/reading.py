"""Reading the namespace of a container: prepared before the freeze, quick within it."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Collection
from pathlib import Path

from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.netns.contents import MADE, Contents
from migrate.kernel import conntrack, links, netobjects, netsysctls, ruleset
from migrate.kernel.conntrack import Connection
from migrate.kernel.links import Link
from migrate.kernel.netlinkwire import Channel
from migrate.kernel.netobjects import NotKnown, Object
from migrate.kernel.ruleset import Entry
from migrate.runtime.networks import driver_of
from migrate.runtime.records import Record

_NETFILTER = 12  # NETLINK_NETFILTER
_AGAIN = 3
"""Looks: the kernel says when something changed meanwhile."""
FALLBACKS = frozenset({
    "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0",
})  # fmt: skip
"""Interfaces that some kernels make in every new namespace (networking/ip-sysctl,
fb_tunnels_only_for_init_net)."""
CHECK = "own-network"
"""The preflight check that says what can't go along; skipped, it is left behind."""


def unfit(complaint: str) -> NotDumpable:
    """The error for what can't go along."""
    return NotDumpable(
        f"what was set in the container's network can't go along: {complaint}",
        cause="it is of a kind that is not carried to another host or into a checkpoint",
        mend=f"remove it, or leave it behind with --skip-check {CHECK}",
    )


class Reader:
    """The open files of a namespace; a context manager."""

    def __init__(self, netns: Path, *, places: bool = True) -> None:
        """`places`: as `Contents` has it. Raises OSError."""
        self._netns, self._places = netns, places
        self._stack = contextlib.ExitStack()
        self.complaints: list[str] = []
        """What was seen at the last reading and can't go along."""
        try:
            self._new = netsysctls.of_a_new_namespace()
            self._routes = self._stack.enter_context(Channel(netns, socket.NETLINK_ROUTE))
            self._rules: Channel | None = None
            with contextlib.suppress(OSError):  # a kernel without nf_tables
                self._rules = self._stack.enter_context(Channel(netns, _NETFILTER))
            self._count: conntrack.Count | None = None
            with contextlib.suppress(OSError):  # a kernel that tracks no connections
                self._count = self._stack.enter_context(conntrack.Count(netns))
            self._names: set[str] = set()
            self._seen: dict[str, str] = {}
            self._changed: dict[str, str] = {}
            self._settings = contextlib.ExitStack()
            self._stack.callback(self._settings.close)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def read(self) -> Contents:
        """All of it as it is now; raises OSError."""
        for _ in range(_AGAIN):
            with contextlib.suppress(InterruptedError):
                return self._read()
        return self._read()

    def _read(self) -> Contents:
        self.complaints = []
        found = links.look(self._routes)
        kept = [link for link in found if self._can_go(link)]
        values = self._values({link.name for link in found})
        gone = {link.name for link in found} - {link.name for link in kept}
        if values is not self._seen:
            self._seen, self._changed = values, netsysctls.changed(values, self._new)
        settings = dict(self._changed)
        for name in gone:
            for setting in netsysctls.of_interface(settings, name):
                del settings[setting]
        objects: dict[str, tuple[Object, ...]] = {}
        if self._places:
            objects = {kind.name: tuple(self._objects(kind)) for kind in netobjects.KINDS}
        else:
            for name in {link.name for link in kept} - set(MADE):
                for setting in netsysctls.of_interface(settings, name):
                    del settings[setting]
            kept = []
        rules = self._ruleset()
        self.complaints += dict.fromkeys(ruleset.complaints(rules))
        tracked = self._tracked() if rules else ()
        return Contents(settings, tuple(kept), objects, tuple(rules), tracked, self._places)

    def _tracked(self) -> tuple[Connection, ...]:
        if self._rules is None or self._count is None or not self._count.read():
            return ()
        return tuple(conntrack.look(self._rules))

    def _values(self, names: set[str]) -> dict[str, str]:
        """Opened anew where the interfaces are others than before."""
        if names != self._names:
            self._settings.close()
            self._open = self._settings.enter_context(netsysctls.OpenSettings(self._netns))
            self._names = names
        return self._open.read()

    def _can_go(self, link: Link) -> bool:
        """Without a word of what each kernel makes by itself."""
        if link.name in FALLBACKS and not link.up:
            return False
        words = link.complaint
        if link.name in MADE:
            pass
        elif link.outside:
            words = "leads into another namespace"
        elif link.kind not in links.OPTIONS:
            words = f"is of the kind '{link.kind or 'device'}'"
        if words:
            self.complaints.append(f"the interface {link.name} {words}")
        return not words

    def _objects(self, kind: netobjects.Kind) -> list[Object]:
        try:
            return kind.look(self._routes)
        except NotKnown as error:
            self.complaints.append(f"a {kind.name} has {error}")
            return []

    def _ruleset(self) -> list[Entry]:
        if self._rules is None:
            return []
        try:
            return ruleset.look(self._rules)
        except OSError as error:
            # Linux without this subsystem of netlink.
            if error.errno in {errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT}:
                return []
            raise

    def read_all(self, skip: Collection[str] = ()) -> Contents:
        """As `read`; raises NotDumpable for what can't go along, unless `skip` names CHECK."""
        found = self.read()
        if self.complaints and CHECK not in skip:
            raise unfit(self.complaints[0])
        return found


def open_reader(record: Record, pid: int, *, places: bool = True) -> Reader | None:
    """Of the namespace of a container's process; None where it has none of its own.

    Raises OSError.
    """
    if not driver_of(record.network.driver).own_namespace:
        return None
    return Reader(Path(f"/proc/{pid}/ns/net"), places=places)
