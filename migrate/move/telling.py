"""The hosts of a network tell each other which of its containers they have, by SSH and the agent.

It is no part of a pause. In an overlay network the kernels have learned where a container is from
its own announcement, in a routed one the source's route leads on to the target; what is told here
comes in time to be there when the source is not any more, and is kept over a reboot.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from migrate.errors import MigrateError
from migrate.move import journal
from migrate.move.transaction import Target as Side
from migrate.runtime.networks import Spanning, definition, spanning, underlay, whereabouts
from migrate.runtime.networks.definition import Definition
from migrate.runtime.networks.whereabouts import Located, News
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record, load_all

CONNECT_LIMIT = 4.0  # seconds
CALL_LIMIT = 10.0
AT_ONCE = 16


def located_here(paths: Paths, network: Definition) -> tuple[Located, ...]:
    """The containers of a network that this host has; raises NetworkFailed."""
    if spanning(network.driver) is None:
        return ()
    place = underlay.find(network.peers, network.parent)
    return tuple(
        whereabouts.locate(record, place.address, place.address6)
        for record in _members(paths, network.name)
    )


def _members(paths: Paths, network: str) -> list[Record]:
    members = [r for r in load_all(paths) if r.network.name == network and not r.moved_to]
    return [record for record in members if not _is_arriving(paths, record)]


def _is_arriving(paths: Paths, record: Record) -> bool:
    """Whether it is the copy of a move that is not committed: it is still at the source."""
    entry = journal.read(paths, record.held, "target") if record.held else None
    return entry is not None and entry.target_state not in {Side.COMMITTED, Side.DONE}


def learn(paths: Paths, network: str, news: News) -> None:
    """Keep what another host has told, and enter it in the kernel.

    Raises NetworkUnknown, and NetworkFailed for news that can't be right.
    """
    found = definition.find(paths, network)
    driver = spanning(found.driver)
    if driver is None:
        return
    whereabouts.check(found, news)
    _enter(paths, found, driver, news)


def _enter(paths: Paths, found: Definition, driver: Spanning, news: News) -> None:
    here = [record.identifier for record in _members(paths, found.name)]
    change = whereabouts.update(paths, found.name, news, here)
    driver.enter(paths, found, change)


def arrived(paths: Paths, record: Record) -> None:
    """A container has come to this host: it is at no other one. Raises NetworkFailed, OSError."""
    if spanning(record.network.driver):
        whereabouts.update(paths, record.network.name, News(), [record.identifier])


def come(paths: Paths, record: Record) -> list[str]:
    """Tell the peers that a container is here; what could not be told, a sentence for each."""
    found = _network_of(paths, record)
    if found is None:
        return []
    try:
        arrived(paths, record)
        place = underlay.find(found.peers, found.parent)
    except (MigrateError, OSError) as error:
        return [f"no host of '{found.name}' could be told of '{record.name}': {error}"]
    here = whereabouts.locate(record, place.address, place.address6)
    return tell(found.name, place.peers, News(here=(here,)))


def gone(paths: Paths, record: Record) -> list[str]:
    """Tell the peers that a container is no more; what could not be told."""
    found = _network_of(paths, record)
    if found is None:
        return []
    try:
        place = underlay.find(found.peers, found.parent)
    except (MigrateError, OSError) as error:
        return [f"no host of '{found.name}' could be told of the end of '{record.name}': {error}"]
    return tell(found.name, place.peers, News(gone=(record.identifier,)))


def _network_of(paths: Paths, record: Record) -> Definition | None:
    if spanning(record.network.driver) is None:
        return None
    with contextlib.suppress(MigrateError):
        return definition.find(paths, record.network.name)
    return None


def moved(paths: Paths, network: str, located: Located) -> list[str]:
    """After a move, at its source: keep where the container is, and tell the other peers.

    Returns what could not be told.
    """
    news = News(here=(located,))
    found = definition.find(paths, network)
    with contextlib.suppress(MigrateError, OSError):
        learn(paths, network, news)
    place = underlay.find(found.peers, found.parent)
    return tell(network, [peer for peer in place.peers if peer != located.host], news)


def tell(network: str, peers: Iterable[str], news: News) -> list[str]:
    """Tell all peers at once; what could not be told, a sentence for each."""
    data = msgspec.msgpack.encode(news)

    def one(peer: str) -> str:
        try:
            _ask(peer, "network.learn", network=network, news=data)
        except MigrateError as error:
            return f"{peer} could not be told: {error.what}"
        return ""

    return _by_all(peers, one)


def _by_all(peers: Iterable[str], work: Callable[[str], str]) -> list[str]:
    """What they complain of, asked at once."""
    from concurrent.futures import ThreadPoolExecutor

    peers = list(peers)
    if not peers:
        return []
    with ThreadPoolExecutor(min(AT_ONCE, len(peers))) as pool:
        return [complaint for complaint in pool.map(work, peers) if complaint]


def sync(paths: Paths, network: str) -> list[str]:
    """Ask all peers what they have, and tell them what is here; what did not succeed.

    Raises NetworkUnknown, NetworkFailed.
    """
    found = definition.find(paths, network)
    driver = spanning(found.driver)
    if driver is None:
        return []
    driver.set_up(paths, found)
    place = underlay.find(found.peers, found.parent)
    ours = News(here=located_here(paths, found), all_of=place.address)
    return _by_all(place.peers, lambda peer: _exchange(paths, found, peer, ours))


def _exchange(paths: Paths, found: Definition, peer: str, ours: News) -> str:
    try:
        data = _ask(peer, "network.located", network=found.name)
        there = decode_located(data)
        learn(paths, found.name, News(here=there, all_of=peer))
        _ask(peer, "network.learn", network=found.name, news=msgspec.msgpack.encode(ours))
    except MigrateError as error:
        return f"{peer}: {error.what}" + (f" ({error.cause})" if error.cause else "")
    return ""


def decode_news(data: object) -> News:
    """What another host tells; raises ArgumentsInvalid."""
    news: News = _decoded(data, News)
    return news


def decode_located(data: object) -> tuple[Located, ...]:
    """What another host has told that it has; raises ArgumentsInvalid."""
    there: tuple[Located, ...] = _decoded(data, tuple[Located, ...])
    return there


def _decoded(data: object, kind: Any) -> Any:
    from migrate.transfer.errors import ArgumentsInvalid

    try:
        if not isinstance(data, bytes):
            raise msgspec.ValidationError("they are no bytes")
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, ValueError) as error:  # ValueError: a text is not UTF-8
        raise ArgumentsInvalid("the news of a network can't be read", cause=str(error)) from error


def _ask(peer: str, method: str, **arguments: Any) -> object:
    from migrate.transfer.ssh import connect
    from migrate.transfer.target import Target

    where = f"[{peer}]" if ":" in peer else peer
    with connect(Target.parse(where), timeout=CONNECT_LIMIT) as far:
        return far.client.call(method, timeout=CALL_LIMIT, **arguments)
