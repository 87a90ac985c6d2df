"""What another host tells of a network, taken or refused; no connection is made here."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from migrate.move import telling
from migrate.runtime import records
from migrate.runtime.errors import NetworkFailed, NetworkUnknown
from migrate.runtime.networks import definition, whereabouts
from migrate.runtime.networks.definition import Definition
from migrate.runtime.networks.whereabouts import Located, News
from migrate.runtime.paths import Paths
from migrate.runtime.records import Network, Record
from migrate.transfer.errors import ArgumentsInvalid

NET = Definition("blue", "overlay", "10.99.0.0/24", gateway="10.99.0.1", vni=7, mtu=1450,
                 peers=("192.0.2.2", "192.0.2.3"))  # fmt: skip
THERE = Located("abc", "02:00:00:00:00:01", ("10.99.0.5",), "192.0.2.2")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A host with the network, of which the kernel knows nothing."""
    made = Paths(tmp_path / "state", tmp_path / "run")
    made.make()
    definition.save(made, NET)
    return made


def test_news_are_kept(paths: Paths) -> None:
    telling.learn(paths, "blue", News((THERE,)))
    assert whereabouts.known(paths, "blue") == (THERE,)
    telling.learn(paths, "blue", News(gone=("abc",)))
    assert whereabouts.known(paths, "blue") == ()


def test_nobody_tells_of_our_own_containers(paths: Paths) -> None:
    own = Record("abc", "web", created=0.0, network=Network(driver="overlay", name="blue"))
    records.save(paths, own)
    telling.learn(paths, "blue", News((THERE,)))
    assert whereabouts.known(paths, "blue") == ()


def test_what_can_not_be_right_is_refused_and_not_kept(paths: Paths) -> None:
    stranger = msgspec.structs.replace(THERE, host="192.0.2.9")
    with pytest.raises(NetworkFailed, match="can't be right"):
        telling.learn(paths, "blue", News((THERE, stranger)))
    assert whereabouts.known(paths, "blue") == ()
    with pytest.raises(NetworkUnknown):
        telling.learn(paths, "green", News((THERE,)))
    with pytest.raises(NetworkUnknown):
        telling.learn(paths, "../networks/blue", News((THERE,)))


@pytest.mark.parametrize(
    "data",
    [
        None, 7, b"", b"\xc1", msgspec.msgpack.encode({"here": 1}),
        msgspec.msgpack.encode({"here": [{"container": "x"}]}),
        msgspec.msgpack.encode({"gone": ["x" * 200]}),
        msgspec.msgpack.encode({"here": [msgspec.to_builtins(THERE) | {"generation": -1}]}),
    ],
)  # fmt: skip
def test_what_is_no_news_is_refused(data: object) -> None:
    with pytest.raises(ArgumentsInvalid):
        telling.decode_news(data)
