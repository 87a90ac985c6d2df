"""Which address a container gets, and that nobody gets it twice."""

from __future__ import annotations

import ipaddress

import msgspec
import pytest

from migrate.runtime import records
from migrate.runtime.errors import AddressTaken, NetworkFailed
from migrate.runtime.networks import addresses, leases
from migrate.runtime.networks.definition import DEFAULT, Definition
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Network, Record, load_all

ANY = Network()
SMALL = Definition("small", "bridge", "10.89.7.0/29", "fd00:89::/125", "10.89.7.1", "fd00:89::1")


@pytest.fixture
def paths(tmp_path) -> Paths:
    made = Paths(tmp_path / "state", tmp_path / "run")
    made.make()
    return made


def container(paths: Paths, identifier: str, wanted: Network = ANY, of=SMALL) -> Network:
    """A container with its record, as `create` makes them."""
    own = paths.container(identifier)
    network = addresses.settle(own, wanted, of, load_all(paths))
    records.save(paths, Record(identifier, identifier, created=1.0, network=network))
    return network


def test_addresses_are_handed_out_until_none_is_left(paths):
    got = [container(paths, f"c{n}") for n in range(5)]
    assert [n.address for n in got] == [f"10.89.7.{n}/29" for n in range(2, 7)]
    assert [n.address6 for n in got] == [f"fd00:89::{n}/125" for n in range(2, 7)]
    assert {(n.gateway, n.gateway6) for n in got} == {("10.89.7.1", "fd00:89::1")}
    assert len({n.mac for n in got}) == 5
    with pytest.raises(AddressTaken, match="no address of"):
        container(paths, "c6")


def test_a_lease_outlives_what_is_known_of_the_record_and_ends_with_it(paths):
    network = container(paths, "first")
    own = paths.container("first")
    # The record forgets, the lease does not.
    record = Record("first", "first", created=1.0, network=Network())
    records.save(paths, record)
    assert container(paths, "second").address == "10.89.7.3/29"
    own.record.unlink()
    assert container(paths, "third").address == network.address


def test_a_command_that_is_killed_leaves_no_lease(paths):
    # Its lease is written, its record is not.
    addresses.settle(paths.container("killed"), Network(), SMALL, [])
    assert container(paths, "next").address == "10.89.7.2/29"
    assert set(leases.read(paths, "small").values()) == {"next"}


def test_who_comes_with_an_address_gets_it_or_is_refused(paths):
    network = container(paths, "here")
    coming = paths.container("coming")
    with pytest.raises(AddressTaken, match=r"10\.89\.7\.2"):
        addresses.claim(coming, network, SMALL)
    own = paths.container("here")
    addresses.claim(own, network, SMALL)  # its own, again
    leases.free(own, "small")
    own.record.unlink()
    addresses.claim(coming, network, SMALL)


def test_what_is_chosen_outside_the_range_is_still_taken(paths):
    ranged = msgspec.structs.replace(SMALL, options={"range": "10.89.7.4/31"})
    assert container(paths, "a", of=ranged).address == "10.89.7.4/29"
    assert container(paths, "b", Network(address="10.89.7.2"), ranged).address == "10.89.7.2/29"
    assert container(paths, "c", of=ranged).address == "10.89.7.5/29"
    with pytest.raises(AddressTaken):
        container(paths, "d", of=ranged)


def test_an_address_that_answers_is_not_given(paths):
    own = paths.container("one")
    network = addresses.settle(
        own, Network(), SMALL, [], lambda address: address in {"10.89.7.2", "fd00:89::2"}
    )
    assert (network.address, network.address6) == ("10.89.7.3/29", "fd00:89::3/125")


def test_ipv6_addresses_are_of_the_mac_where_there_is_room(paths):
    wide = msgspec.structs.replace(SMALL, subnet6="fd00:89::/64")
    network = container(paths, "a", Network(mac="02:00:00:00:00:01"), wide)
    assert network.address6 == "fd00:89::ff:fe00:1/64"
    again = container(paths, "b", Network(mac="02:00:00:00:00:01"), wide)
    assert again.address6 == "fd00:89::2/64"
    assert container(paths, "c", of=wide).address6 != container(paths, "d", of=wide).address6


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Network(address="10.89.8.2"), "no address of the network"),
        (Network(address="10.89.7.2/24"), "no address of the network"),
        (Network(address="junk"), "is no address"),
        (Network(address6="fd01::1"), "no address of the network"),
        (Network(address6="10.89.7.2"), "is no address"),
        (Network(address="10.89.7.2", gateway="10.90.0.1"), "can't be reached"),
        (Network(mac="01:00:00:00:00:01"), "no MAC"),
    ],
)
def test_what_does_not_fit_the_network(paths, wanted, words):
    with pytest.raises(NetworkFailed, match=words):
        container(paths, "one", wanted)
    assert leases.read(paths, "small") == {}


def test_the_default_network_needs_no_subnet_of_a_given_address(paths):
    own = ContainerPaths(paths, "one")
    wanted = Network(address="10.77.0.50", address6="fd00:77::50")
    network = addresses.settle(own, wanted, DEFAULT, [])
    assert (network.address, network.address6) == ("10.77.0.50/24", "fd00:77::50/64")
    assert network.gateway == ""
    chosen = addresses.settle(own, Network(), DEFAULT, [])
    assert ipaddress.ip_interface(chosen.address).network == ipaddress.ip_network(DEFAULT.subnet)
    assert chosen.gateway == "10.88.0.1"


@pytest.mark.parametrize(
    "network",
    [
        Network(address="", mac="02:00:00:00:00:01"),
        Network(address="10.0.0.1/24", mac="x"),
        Network(address="10.0.0.1/24", mac="02:00:00:00:00:01", gateway="10.1.0.1"),
        Network(address="10.0.0.1/24", mac="02:00:00:00:00:01", address6="fe80::1%eth0/64"),
        Network(address="224.0.0.1/24", mac="02:00:00:00:00:01"),
    ],
)
def test_addresses_from_outside_are_checked(network):
    with pytest.raises(NetworkFailed):
        addresses.check(network)
