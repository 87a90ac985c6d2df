"""What `run -p` takes, and who stands in the way of a port."""

from __future__ import annotations

import socket

import pytest

from migrate.runtime.errors import NetworkFailed, PortTaken
from migrate.runtime.networks import ports
from migrate.runtime.records import Network, Port, Record
from tests.ports import held_port


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("8080:80", Port(8080, 80)),
        ("8080:80/tcp", Port(8080, 80)),
        ("53:5353/udp", Port(53, 5353, "udp")),
        ("127.0.0.1:8080:80", Port(8080, 80, address="127.0.0.1")),
        ("[::1]:8080:80/udp", Port(8080, 80, "udp", "::1")),
        ("[FD00::0:1]:1:65535", Port(1, 65535, address="fd00::1")),
    ],
)
def test_what_is_taken(text, port):
    assert ports.parse(text) == port
    assert ports.parse(str(port)) == port


@pytest.mark.parametrize(
    "text",
    ["", "80", ":80", "80:", "a:80", "80:b", "0:80", "80:65536", "80:80/", "80:80/sctp", ":1:2",
     "::1:80:80", "[::1:80:80", "[]:80:80", "example.org:80:80", "1.2.3:80:80", "-1:80", "٣:80",
     "80:80:80:80", "127.0.0.1:80", "[::1%lo]:80:8x"],
)  # fmt: skip
def test_what_is_not(text):
    with pytest.raises(ValueError):  # noqa: PT011 -- the words are those of several libraries
        ports.parse(text)


def network(*published: Port, address: str = "10.0.0.2/24", address6: str = "") -> Network:
    return Network("bridge", address=address, address6=address6, ports=published)


@pytest.mark.parametrize(
    ("mine", "its"),
    [
        (Port(1, 80), Port(1, 81)),
        (Port(1, 80, address="127.0.0.1"), Port(1, 81)),
        (Port(1, 80), Port(1, 81, address="127.0.0.1")),
    ],
)
def test_two_containers_can_not_have_one_port(mine, its):
    other = Record("0123456789ab", "other", created=1.0, network=network(its))
    with pytest.raises(PortTaken) as taken:
        ports.check(network(mine), [other])
    assert "'other'" in taken.value.cause


def test_other_ports_protocols_and_addresses_are_free():
    with held_port() as free:
        others = [
            Record("0123456789ab", "other", created=1.0, network=network(
                Port(free, 80, "udp"), Port(free, 80, address="127.0.0.2"), Port(free + 1, 80)
            )),
            Record("ba9876543210", "gone", 1.0, network=network(Port(free, 80)), moved_to="b"),
        ]  # fmt: skip
        ports.check(network(Port(free, 80, address="127.0.0.1")), others)


def test_a_program_that_listens_is_in_the_way_and_one_that_has_ended_is_not():
    with held_port() as number:
        with socket.create_server(("127.0.0.1", number)) as server:
            with pytest.raises(PortTaken, match=f"{number}/tcp"):
                ports.check(network(Port(number, 80)), [])
            client = socket.create_connection(("127.0.0.1", number))
            accepted, _ = server.accept()
            accepted.close()  # it is the server's side that waits (TIME-WAIT)
            client.close()
        ports.check(network(Port(number, 80)), [])


@pytest.mark.parametrize(
    ("port", "words"),
    [
        (Port(1000, 80, address="192.0.2.1"), "no address 192.0.2.1"),
        (Port(1000, 80, address="::1"), "no IPv6 address"),
        (Port(1000, 80, address="junk"), "does not appear"),
    ],
)
def test_an_address_that_this_host_or_the_container_lacks(port, words):
    with pytest.raises(NetworkFailed) as failed:
        ports.check(network(port), [])
    assert words in failed.value.cause
