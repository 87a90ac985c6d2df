"""Processes whose memory can't be trusted to write protection: found, named, and left alone."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys

import pytest

from migrate.checkpoint.tracking import tracked, wp_async
from migrate.errors import HostNotReady
from migrate.kernel import injection, processes
from migrate.kernel.injection import in_task
from tests.checkpoint.tracking.store import check, frozen, pages_of, until

pytestmark = pytest.mark.root

USERFAULTFD = "u = m.libc.syscall(323, 1)"
IO_URING = "p = ctypes.create_string_buffer(120); r = m.libc.syscall(425, 4, p)"
AIO = "c = ctypes.c_ulong(0); assert m.libc.syscall(206, 8, ctypes.byref(c)) == 0"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (USERFAULTFD, "userfaultfd"),
        (IO_URING, "io_uring"),
        (AIO, "AIO"),
        ("d = os.open('{file}', os.O_RDWR | os.O_DIRECT)", "O_DIRECT"),
    ],
    ids=["userfaultfd", "io_uring", "aio", "direct"],
)  # fmt: skip
def test_before_and_between_rounds(steps, tracker, store, tmp_path, line, why):
    (tmp_path / "file").write_bytes(bytes(4096))
    store.take(tracker.round())
    assert tracker.untracked == {}
    steps.do(line.format(file=tmp_path / "file"))
    if why == "io_uring" and steps.tell("r") < 0:
        pytest.skip("this kernel has no io_uring")
    for _ in range(2):
        assert tracker.round() == []
        assert why in tracker.untracked[steps.pid]
    with frozen(steps.pid):
        assert tracker.final() == []
    assert steps.pid in tracker.untracked


def test_aio_since_the_last_round_is_found_in_the_end(steps, tracker, store):
    store.take(tracker.round())
    steps.do(AIO)
    with frozen(steps.pid):
        assert tracker.final() == []
    assert "AIO" in tracker.untracked[steps.pid]


def test_one_that_becomes_fit_again_is_told_whole(steps, tracker, store, tmp_path):
    (tmp_path / "file").write_bytes(bytes(4096))
    whole = len(pages_of(tracker.round()[0].runs))
    steps.do(f"d = os.open({str(tmp_path / 'file')!r}, os.O_RDWR | os.O_DIRECT)")
    assert tracker.round() == []
    steps.do("os.close(d)")
    written = tracker.round()
    store.take(written)
    assert len(pages_of(written[0].runs)) > whole / 2
    assert tracker.untracked == {}
    check(tracker, steps.pid, store)


def test_a_pipe_in_packet_mode_is_no_direct_io(steps, tracker):
    steps.do("p = os.pipe2(os.O_DIRECT)")
    assert len(tracker.round()) == 1


def test_a_vfork_child_until_its_exec(steps, tracker, store, tmp_path):
    """posix_spawn(3) makes its child by vfork; this one waits for a writer before its exec."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    store.take(tracker.round())
    steps.begin(
        f"pid = os.posix_spawn('/bin/sleep', ['sleep', '1000'], os.environ, "
        f"file_actions=[(os.POSIX_SPAWN_OPEN, 5, {str(fifo)!r}, os.O_RDONLY, 0)])"
    )
    until(lambda: len(steps.pids()) == 2)
    child = steps.pids()[1]
    store.take(tracker.round())
    assert "shares its memory" in tracker.untracked[child]
    fifo.write_bytes(b"")
    steps._expect("done")

    def tracked_by_a_round() -> bool:  # not by one that meets the exec
        store.take(tracker.round())
        return tracker.untracked == {}

    until(tracked_by_a_round)
    finals = check(tracker, steps.pid, store)
    assert {one.pid for one in finals} == {steps.pid, child}


def test_a_parent_in_vfork_is_not_hurt(steps, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    steps.begin(
        f"pid = os.posix_spawn('/bin/sleep', ['sleep', '1000'], os.environ, "
        f"file_actions=[(os.POSIX_SPAWN_OPEN, 5, {str(fifo)!r}, os.O_RDONLY, 0)])"
    )
    until(lambda: processes.stat_fields(steps.pid)[2] == "D")
    tracker = wp_async.track(steps.pids, steps.pid, steps.hold)
    for _ in range(wp_async.ATTEMPTS + 1):
        tracker.round()
        assert steps.pid in tracker.untracked
    assert "tried" in tracker.untracked[steps.pid]
    fifo.write_bytes(b"")
    steps._expect("done")
    tracker.close()


def test_one_that_is_traced(steps, tracker):
    def work(held):
        assert tracker.round() == []
        return held.tid

    in_task(steps.pid, work, discard=lambda _: None)
    assert "traced" in tracker.untracked[steps.pid]
    assert len(tracker.round()) == 1


def test_one_without_room_for_a_descriptor(steps, tracker):
    steps.do("import resource; n = len(os.listdir('/proc/self/fd')) - 1",
             "resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))")  # fmt: skip
    assert tracker.round() == []
    assert os.strerror(errno.EMFILE) in tracker.untracked[steps.pid]
    steps.do("pass")


def test_a_32_bit_register_set_is_refused(steps, tracker, monkeypatch):
    def refuse(tid):
        raise OSError(errno.ENOEXEC, f"task {tid} runs 32-bit code")

    monkeypatch.setattr(injection.ptrace, "registers", refuse)
    assert tracker.round() == []
    assert "32-bit" in tracker.untracked[steps.pid]
    steps.do("pass")


def test_a_zombie_is_nobody(steps, tracker):
    steps.do("pid = os.fork() or os._exit(0)")
    until(lambda: processes.stat_fields(steps.pids()[1])[2] == "Z")
    assert [one.pid for one in tracker.round()] == [steps.pid]
    assert tracker.untracked == {}


def test_a_process_of_another_user_under_a_filter(store):
    """The usual shape of a container's program."""
    text = """
import ctypes, os, struct
os.setgroups([]); os.setgid(65534); os.setuid(65534)
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
code = b"".join(struct.pack("HBBI", *i) for i in (
    (0x20, 0, 0, 0), (0x15, 0, 1, 323), (6, 0, 0, 0), (6, 0, 0, 0x7fff0000)))
c = ctypes.create_string_buffer(code)
f = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(c)))
assert libc.prctl(22, 2, f, 0, 0) == 0
data = bytearray(os.urandom(1 << 20))
print("ready", flush=True)
while True:
    data[os.urandom(2)[0] * 4096] = 1
"""
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        tracker = wp_async.track(lambda: [process.pid], process.pid, lambda: frozen(process.pid))
        for _ in range(5):
            store.take(tracker.round())
            check(tracker, process.pid, store)
        assert tracker.untracked == {}
        tracker.close()
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    ("place", "name", "value", "why"),
    [
        (wp_async.platform, "machine", lambda: "s390x", "s390x"),
        (wp_async.probes, "userfaultfd_features", lambda: 0, "6.7"),
        (wp_async.probes, "pagemap_scan", lambda: "no such ioctl", "no such ioctl"),
    ],
    ids=["machine", "userfaultfd", "pagemap"],
)
def test_a_host_that_can_not(monkeypatch, place, name, value, why):
    monkeypatch.setattr(place, name, value)
    with pytest.raises(HostNotReady) as error:
        wp_async.track(lambda: [os.getpid()], os.getpid(), contextlib.nullcontext)
    assert why in str(error.value)


def test_an_unreadable_process_is_told_and_forgotten(steps, tracker, store, monkeypatch):
    store.take(tracker.round())

    def fail(*_arguments, **_options):
        raise OSError(errno.EIO, "no such luck")

    with monkeypatch.context() as context:
        context.setattr(tracked.TrackedProcess, "_scan", fail)
        assert tracker.round() == []
        assert "no such luck" in tracker.untracked[steps.pid]
    written = tracker.round()
    assert len(pages_of(written[0].runs)) > 500


def test_a_child_that_was_forked_with_our_descriptor_loses_it(steps, tracker, store):
    """As when a thread forks while another has just opened it."""
    store.take(tracker.round())
    number = tracker._tracked[steps.pid]._descriptors.uffd
    steps.do(f"f = m.libc.syscall(438, os.pidfd_open({os.getpid()}), {number}, 0); assert f > 0",
             "pid = os.fork() or signal.pause()", "os.close(f)")  # fmt: skip
    child = steps.tell("pid")
    links = {os.readlink(f"/proc/{child}/fd/{name}") for name in os.listdir(f"/proc/{child}/fd")}
    assert "anon_inode:[userfaultfd]" in links
    store.take(tracker.round())
    assert tracker.untracked == {}
    links = {os.readlink(f"/proc/{child}/fd/{name}") for name in os.listdir(f"/proc/{child}/fd")}
    assert "anon_inode:[userfaultfd]" not in links
    assert len(check(tracker, steps.pid, store)) == 2
