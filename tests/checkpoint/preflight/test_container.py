"""What preflight finds in real containers, each with a program in it that CRIU can't dump.

That CRIU really can't is shown in tests/criu/catalogue; that all which it can passes these checks,
in test_states.py, whose every checkpoint goes through them.
"""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.preflight import Verdict, look, obstacles
from migrate.checkpoint.save import save
from migrate.criu.catalogue import CATALOGUE
from migrate.criu.errors import CriuFailed
from migrate.runtime.lifecycle.create import load_spec
from migrate.runtime.records import Bind
from migrate.runtime.status import process_of_container, status_of
from tests.checkpoint.victims import begin, traced

pytestmark = [pytest.mark.root, pytest.mark.criu]
VICTIMS = Path(__file__).parents[2] / "criu/catalogue"
KNOWN = {known.name: known for known in CATALOGUE}


def verdicts(place, record, skip: tuple[str, ...] = ()) -> dict[str, Verdict]:
    process = process_of_container(place.paths, record)
    found = look(record, load_spec(place.paths, record), process, skip)
    return {verdict.check: verdict for verdict in found}


def refused(place, record, check: str, name: str) -> None:
    """That check and no other finds it, with cause and mend of that failure of CRIU's."""
    found = verdicts(place, record)
    assert [v.check for v in found.values() if not v.passed] == [check], found
    for error in found[check].obstacles:
        assert (error.cause, error.mend) == (KNOWN[name].cause, KNOWN[name].mend)
    assert obstacles(found.values()) == list(found[check].obstacles)
    assert obstacles(verdicts(place, record, (check,)).values()) == []


@pytest.mark.parametrize(
    ("kind", "check", "name"),
    [
        ("io_uring", "open-files", "io-uring"), ("userfaultfd", "open-files", "userfaultfd"),
        ("packet_pipe", "open-files", "packet-pipe"),
        ("message_queue", "open-files", "file-on-no-mount"),
        ("socket_family", "sockets", "socket-family"), ("mptcp", "sockets", "mptcp"),
        ("main_thread_gone", "processes", "main-thread-gone"),
    ],
)  # fmt: skip
def test_what_a_program_has_is_found(place, kind: str, check: str, name: str):
    refused(place, begin(place, kind), check, name)


@pytest.mark.parametrize(
    ("kind", "words"), [("counting_semaphore", "EFD_SEMAPHORE"), ("large_count", "32 bits")]
)
def test_a_counter_that_criu_would_change_is_found(place, kind: str, words: str):
    found = verdicts(place, begin(place, kind))
    assert [v.check for v in found.values() if not v.passed] == ["open-files"]
    (error,) = found["open-files"].obstacles
    assert words in error.what


def test_a_socket_of_the_host_is_found(place):
    directory = place.directory / "daemon"
    directory.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "outside"))
        listener.listen()
        record = begin(place, "unix_outside", Bind(str(directory), "/tmp"))
        with listener.accept()[0]:
            refused(place, record, "sockets", "unix-external")
            output = place.directory / "checkpoint"
            with pytest.raises(NotDumpable, match="unix socket of the host"):
                save(place.paths, record, str(output))
            assert not output.exists()
            assert place.status(record) == "running"


def test_a_tracer_on_the_host_is_found(place):
    record = begin(place, "plain")
    pid = status_of(place.paths, record).pid
    with traced(pid):
        refused(place, record, "processes", "traced-or-stuck")


def inside(pid: int, *command: str, namespaces: str = "-m") -> None:
    subprocess.run(["nsenter", "-t", str(pid), namespaces, *command], check=True)


def test_a_mount_that_can_not_be_made_again_is_found(place):
    record = begin(place, "plain")
    pid = status_of(place.paths, record).pid
    inside(pid, "mount", "-t", "tmpfs", "none", "/tmp")
    assert obstacles(verdicts(place, record).values()) == []
    inside(pid, "mount", "-t", "ramfs", "none", "/tmp")
    refused(place, record, "mounts", "mount-kind")
    (error,) = verdicts(place, record)["mounts"].obstacles
    assert "/tmp in the container is a mount of ramfs" in error.what


@pytest.mark.parametrize("kind", ["ipc", "uts", "pid", "user", "cgroup", "time"])
def test_a_namespace_of_its_own_is_found_and_really_stops_criu(place, kind: str):
    record = begin(place, f"nested_{kind}", capabilities=("CAP_SYS_ADMIN",))
    name = "nested-time-namespace" if kind == "time" else "nested-namespace"
    refused(place, record, "namespaces", name)
    with pytest.raises(CriuFailed):
        save(place.paths, record, str(place.directory / "checkpoint"), skip=["namespaces"])
    assert place.status(record) == "running"
