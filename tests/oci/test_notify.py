"""NOTIFY_SOCKET: sd_notify(3) from inside a container, as runc and crun pass it on."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator

import pytest

from tests.oci.runtime import Runtime, Spec

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="there is no systemd-notify"),
]


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Who wants to be told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        name = f"migrate-test-{os.getpid()}"
        made.bind(f"\0{name}")
        made.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        yield made


@pytest.fixture
def spec(oci: Runtime) -> Spec:
    """A program that is ready after a moment; with this machine's systemd-notify."""
    text = "systemd-notify STATUS=soon; sleep 0.2; systemd-notify --ready; exec sleep 1000"
    made = oci.spec("sh", "-c", text)
    made["mounts"] += [
        {"destination": place, "source": os.path.realpath(place), "options": ["rbind", "ro"]}
        for place in ("/usr", "/lib", "/lib64")
    ]
    path = f"PATH=/bin:{os.path.dirname(shutil.which('systemd-notify') or '')}"
    made["process"]["env"] = [path]
    return made


def test_start_waits_until_the_program_is_ready(oci: Runtime, systemd: socket.socket, spec: Spec):
    identifier = oci.create(spec)
    systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.recv(100)
    systemd.settimeout(60)
    start = oci.start_command("start", identifier)
    assert systemd.recv(100) == b"READY=1\n"
    assert systemd.recv(100) == f"MAINPID={oci.state(identifier)['pid']}\n".encode()
    data, descriptors, _flags, _peer = socket.recv_fds(systemd, 100, 1)
    assert data == b"BARRIER=1"
    assert start.poll() is None  # it ends when the barrier is passed
    os.close(descriptors[0])
    assert start.wait(60) == 0
    assert "NOTIFY_SOCKET=/run/notify/notify.sock" in oci.ok("exec", identifier, "env")


def test_run_in_the_foreground_passes_it_on(oci: Runtime, systemd: socket.socket, spec: Spec):
    spec["process"]["args"] = ["systemd-notify", "--ready"]
    oci.run(spec)
    assert systemd.recv(100) == b"READY=1\n"


def test_start_returns_when_the_program_ends_without_a_word(
    oci: Runtime, systemd: socket.socket, spec: Spec
):
    spec["process"]["args"] = ["true"]
    oci.ok("start", oci.create(spec))


def test_a_caller_that_is_not_there_is_no_error(
    oci: Runtime, spec: Spec, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    oci.ok("start", oci.create(spec))


@pytest.mark.criu
def test_a_checkpoint_is_restored_where_nobody_wants_to_be_told(
    oci: Runtime, systemd: socket.socket, spec: Spec, monkeypatch: pytest.MonkeyPatch
):
    spec["process"]["args"] = ["sh", "-c", "systemd-notify --ready; exec sleep 1000"]
    identifier = oci.create(spec)
    start = oci.start_command("start", identifier)
    assert systemd.recv(100) == b"READY=1\n"
    systemd.recv(100)
    _data, descriptors, _flags, _peer = socket.recv_fds(systemd, 100, 1)
    os.close(descriptors[0])
    assert start.wait(60) == 0
    monkeypatch.delenv("NOTIFY_SOCKET")
    images = oci.directory / "images"
    oci.ok("checkpoint", "--image-path", images, identifier)
    bundle = oci.bundle(spec)
    oci.detached("restore", "--image-path", images, "-b", bundle, "--detach", identifier)
    assert "/run/notify " in oci.ok("exec", identifier, "cat", "/proc/mounts")
