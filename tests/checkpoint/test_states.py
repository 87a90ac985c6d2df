"""Every kind of state that CRIU keeps: made in a container, checked there after a restore."""

from __future__ import annotations

import socket

import pytest

from migrate.checkpoint.bring_back import bring_back
from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.save import save
from migrate.kernel.capabilities import has
from migrate.runtime.lifecycle.stop import kill
from migrate.runtime.records import Network
from migrate.runtime.status import status_of
from tests.subnet import SUBNET

pytestmark = [pytest.mark.root, pytest.mark.criu]

KINDS = {
    "files": "deleted_small deleted_large deleted_but_linked mapped_files memory_file locks "
    "inotify_watch deleted_directory shm_file temporary_file",
    "small tmpfs": "small_tmpfs",
    "sockets in tmpfs": "shm_socket",
    "dev": "dev_itself",
    "open in tmpfs": "shm_open_and_gone shm_file",
    "large tmpfs": "shm_large shm_holes shm_names",
    "full tmpfs": "shm_full",
    "ipc": "pipes unix_stream unix_datagrams unix_listener shared_memory sysv",
    "processes": "threads sessions zombie stopped timers clocks descriptors pending_signal",
    "terminals": "pty_pair pty_child",
    "network": "tcp_loopback udp",
}


def begin(place, kinds: list[str], **options):
    record = place.make("states", ["/usr/bin/python3", "/programs/states.py", *kinds], **options)
    ready = {f"ready {kind}" for kind in kinds}
    place.wait_for(lambda: ready <= set(place.log(record)), "not ready: see the log")
    return record


def check(place, record, kinds: list[str]) -> None:
    kill(place.paths, record, "USR1")
    place.wait_for(lambda: place.status(record) == "stopped", str(place.log(record)))
    place.wait_for(lambda: status_of(place.paths, record).exit_status is not None)
    said = [line for line in place.log(record) if not line.startswith("ready")]
    assert sorted(said) == sorted(f"{kind} intact" for kind in kinds), "\n".join(said)
    assert status_of(place.paths, record).exit_status == 0


@pytest.mark.parametrize("group", list(KINDS))
def test_state_is_kept_over_two_round_trips(place, group):
    kinds = KINDS[group].split()
    record = begin(place, kinds)
    for turn in range(2):
        output = str(place.directory / f"checkpoint{turn}")
        save(place.paths, record, output)
        bring_back(place.paths, place.directory / f"checkpoint{turn}")
    check(place, record, kinds)


def test_state_is_kept_by_the_one_that_runs_on(place):
    apart = {"small tmpfs", "dev", "full tmpfs"}  # they look at all of it, or fill it
    kinds = [kind for group, kinds in KINDS.items() if group not in apart for kind in kinds.split()]
    record = begin(place, kinds)
    save(place.paths, record, str(place.directory / "checkpoint"), leave_running=True)
    check(place, record, kinds)
    bring_back(place.paths, place.directory / "checkpoint")
    check(place, record, kinds)


def test_another_user_is_kept_or_refused_before_the_freeze(place):
    """CRIU reads the limits of another user's process only with CAP_SYS_RESOURCE (prlimit(2))."""
    record = begin(place, ["credentials"])
    output = place.directory / "checkpoint"
    if has("CAP_SYS_RESOURCE"):
        save(place.paths, record, str(output))
        bring_back(place.paths, output)
    else:
        with pytest.raises(NotDumpable, match=r"runs as user 1000[\s\S]*CAP_SYS_RESOURCE"):
            save(place.paths, record, str(output))
        assert not output.exists()
        assert place.status(record) == "running"
    check(place, record, ["credentials"])


def test_a_connection_from_outside_goes_on(place, bridge):
    network = Network(driver="bridge", bridge=bridge, address=f"{SUBNET}.8/24")
    record = begin(place, ["echo_server"], network=network)
    with socket.create_connection((f"{SUBNET}.8", 7003), timeout=60) as client:
        client.sendall(b"one")
        assert client.recv(100) == b"1 one"
        for turn in range(3):
            output = place.directory / f"checkpoint{turn}"
            save(place.paths, record, str(output))
            client.sendall(b"meanwhile")  # nobody is there: it is sent again until there is
            bring_back(place.paths, output)
            assert client.recv(100) == b"%d meanwhile" % (2 + turn)
        with socket.create_connection((f"{SUBNET}.8", 7003), timeout=60) as another:
            another.sendall(b"fresh")
            assert another.recv(100) == b"1 fresh"
