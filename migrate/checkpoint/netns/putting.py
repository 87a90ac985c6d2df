"""Making a new namespace like one that was read elsewhere: what differs is changed, no more.

Everything but nftables rules is put in before CRIU restores: sockets are bound to addresses. The
rules come when all sockets are there: they could drop packets by which CRIU brings these to their
state. Before the freeze they are tried, and taken out again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from migrate.checkpoint.errors import NetworkNotRestored
from migrate.checkpoint.netns.contents import MADE, Contents
from migrate.checkpoint.netns.reading import FALLBACKS
from migrate.kernel import conntrack, links, netobjects, netsysctls, ruleset
from migrate.kernel.links import Link
from migrate.kernel.netlinkwire import Channel
from migrate.kernel.netobjects import Kind, Object

_NETFILTER = 12  # NETLINK_NETFILTER


class Namespace:
    """One that belongs to a container that is about to be restored."""

    def __init__(self, netns: Path) -> None:
        self._netns = netns
        self._has = Contents()

    def prepare(self, wanted: Contents) -> None:
        """As it was when the place was made; raises NetworkNotRestored."""
        self.update(wanted)
        if wanted.ruleset:
            self.put_rules(msgspec.structs.replace(wanted, connections=()))
            with Channel(self._netns, _NETFILTER) as channel:
                ruleset.remove(channel, wanted.ruleset)

    def update(self, wanted: Contents) -> None:
        """All but the rules, as far as it has changed since; raises NetworkNotRestored."""
        had, self._has = self._has, wanted
        if (had.settings, had.links, had.objects) == (
            wanted.settings,
            wanted.links,
            wanted.objects,
        ):
            return
        try:
            with Channel(self._netns, socket.NETLINK_ROUTE) as channel:
                self._make_like(channel, wanted, had)
        except OSError as error:
            raise NetworkNotRestored(
                "the container's network can't be made as it was", cause=str(error)
            ) from error

    def _make_like(self, channel: Channel, wanted: Contents, had: Contents) -> None:
        numbers: Mapping[int, int] = {}
        if wanted.places:
            numbers = _make_links(channel, wanted.links)
        settings = dict(wanted.settings)
        if back := set(had.settings) - set(settings):  # they were set back meanwhile
            settings |= netsysctls.initial(back)
        if failed := netsysctls.write(self._netns, settings):
            raise NetworkNotRestored(
                f"this host can't set net.{failed[0].replace('/', '.')}",
                cause="its kernel does not know it, or not that value",
            )
        if wanted.places:
            _change_links(channel, wanted.links, numbers)
            for kind in netobjects.KINDS:
                _make_objects(channel, kind, wanted.objects.get(kind.name, ()), numbers)

    def put_rules(self, wanted: Contents) -> None:
        """The nftables rules, and the connections that they know; raises NetworkNotRestored."""
        if not wanted.ruleset:
            return
        try:
            with Channel(self._netns, _NETFILTER) as channel:
                ruleset.put(channel, wanted.ruleset)
                conntrack.put(channel, wanted.connections)
        except OSError as error:
            raise NetworkNotRestored(
                f"this host's kernel does not take {error.filename or 'the nftables rules'}",
                cause=error.strerror or "",
            ) from error


def _make_links(channel: Channel, wanted: tuple[Link, ...]) -> dict[int, int]:
    """Make those that are not there, remove what is too much; numbers here by those there."""
    here = {link.name: link for link in links.look(channel)}
    names = {link.name for link in wanted}
    for name, link in here.items():
        if name not in names and name not in MADE and name not in FALLBACKS:
            with _unless_gone():  # with the other end of its pair
                links.remove(channel, link.index)
    missing = [link for link in wanted if link.name not in here]
    by_number = {link.index: link for link in wanted}
    known = {there.index: here[there.name].index for there in wanted if there.name in here}
    while missing:
        ready = next((link for link in missing if not link.lower or link.lower in known), None)
        if ready is None:
            raise NetworkNotRestored(f"the interface below {missing[0].name} is missing")
        peer = by_number.get(ready.peer)
        links.make(channel, dataclasses.replace(ready, lower=known.get(ready.lower, 0)), peer)
        for made in (ready, peer):
            if made:
                known[made.index] = made.index
                missing.remove(made)
    return known


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def _change_links(
    channel: Channel, wanted: tuple[Link, ...], numbers: Mapping[int, int]
) -> None:  # fmt: skip
    """Masters first up, and what lies below others."""
    here = {link.name: link for link in links.look(channel)}
    for link in sorted(wanted, key=lambda each: (each.lower != 0, each.index)):
        if link.name in here:
            goal = dataclasses.replace(link, master=numbers.get(link.master, 0))
            links.change(channel, here[link.name].index, here[link.name], goal)


def _make_objects(
    channel: Channel, kind: Kind, wanted: tuple[Object, ...], numbers: Mapping[int, int]
) -> None:  # fmt: skip
    """What is too much goes first; what another one must be there for is tried once more."""
    try:
        goal = [kind.renumbered(each, numbers) for each in wanted]
    except ValueError as error:
        raise NetworkNotRestored(f"a {kind.name} can't be made: {error}") from error
    here = kind.look(channel)
    for each in here:
        if each not in goal and not kind.is_of_old_kernels(each):
            kind.remove(channel, each)
    waiting = []
    has = set(here)
    for each in goal:
        if each not in has:
            try:
                kind.put(channel, each)
            except OSError:
                waiting.append(each)
    for each in waiting:
        kind.put(channel, each)
