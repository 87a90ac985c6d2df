"""What CRIU can't dump of a container, as the one who asked for it reads it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from migrate.checkpoint.preflight import CHECKS
from migrate.checkpoint.save import save
from migrate.criu import client
from migrate.criu.catalogue import CATALOGUE
from migrate.criu.errors import CriuFailed
from migrate.runtime.records import Bind
from migrate.runtime.status import status_of
from tests.checkpoint.victims import begin, traced

pytestmark = [pytest.mark.root, pytest.mark.criu]
VICTIMS = Path(__file__).parents[1] / "criu/catalogue"
BY_NAME = {known.name: known for known in CATALOGUE}


def refused(place, record, name: str) -> None:
    """The checkpoint fails with that entry's cause and mend, and the container runs on."""
    output = place.directory / "checkpoint"
    with pytest.raises(CriuFailed) as caught:
        save(place.paths, record, str(output), skip=[check.name for check in CHECKS])
    known = BY_NAME[name]
    assert caught.value.cause.startswith(f"{known.cause} (criu: "), caught.value.cause
    assert caught.value.mend == known.mend
    assert not output.exists()
    assert place.status(record) == "running"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("packet_pipe", "packet-pipe"), ("credentials_in_queue", "message-credentials"),
        ("socket_family", "socket-family"), ("netlink_unread", "netlink-data"),
        ("corked", "corked-udp"), ("main_thread_gone", "main-thread-gone"),
    ],
)  # fmt: skip
def test_what_a_program_does_is_named(place, kind, name):
    refused(place, begin(place, kind), name)


def test_a_socket_of_the_host_is_named(place):
    """A daemon's socket that is mounted into the container, as Docker's often is."""
    directory = place.directory / "daemon"
    directory.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "outside"))
        listener.listen()
        record = begin(place, "unix_outside", Bind(str(directory), "/tmp"))
        with listener.accept()[0]:
            refused(place, record, "unix-external")


def test_a_tracer_on_the_host_is_named(place, monkeypatch):
    monkeypatch.setattr(client, "SEIZE_LIMIT", 2)
    record = begin(place, "plain")
    pid = status_of(place.paths, record).pid
    with traced(pid):
        refused(place, record, "zombie-while-seizing")
