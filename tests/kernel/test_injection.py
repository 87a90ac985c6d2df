"""Syscalls inside other processes: what they were doing goes on as if nothing had been."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrate.kernel import injection, processes, ptrace, userfaultfd
from migrate.kernel.injection import HeldTask, in_task
from migrate.kernel.libc import syscall_number
from tests.engine import eventually

pytestmark = pytest.mark.root

GETPID = 39
PRELUDE = """
import ctypes, os, select, signal, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
class Time(ctypes.Structure):
    _fields_ = [("s", ctypes.c_long), ("n", ctypes.c_long)]
class Value(ctypes.Structure):
    _fields_ = [("s", ctypes.c_long), ("n", ctypes.c_long)]
begun = time.monotonic()
"""


@contextmanager
def program(text: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program that says "ready" when it has read its prelude."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + "print('ready', flush=True)\n" + text],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def in_syscall(pid: int, *numbers: int) -> None:
    """Wait until the process sleeps in one of these calls, or reads its standard input."""
    places = (b"0 0x0 ", *(b"%d " % number for number in numbers))
    assert eventually(
        lambda: processes.stat_fields(pid)[2] == "S" and registers(pid).startswith(places)
    )


def disturb(tid: int, times: int = 5) -> None:
    def work(held: HeldTask) -> list[int]:
        found = []
        for _ in range(2):
            number = held.syscall(syscall_number("userfaultfd"), userfaultfd.OPEN_FLAGS)
            held.syscall(syscall_number("close"), number)
            found.append(held.syscall(GETPID))
        return found

    for _ in range(times):
        assert len(set(in_task(tid, work, discard=lambda _: None))) == 1
        time.sleep(0.002)


def registers(pid: int) -> bytes:
    """The registers of a task in a syscall, as the kernel shows them to anybody."""
    return Path(f"/proc/{pid}/syscall").read_bytes()


# What each says is what it would say undisturbed; a time is in seconds, at least and at most.
CALLS = (7, 128, 202, 230, 270, 271)
"""poll, rt_sigtimedwait, futex, clock_nanosleep, pselect6, ppoll."""
SLEEPERS = {
    "nanosleep": ("t = Time(1, 0); print(libc.clock_nanosleep(1, 0, ctypes.byref(t), None))", "0"),
    "poll": (
        "class P(ctypes.Structure): _fields_ = [('fd', ctypes.c_int), ('e', ctypes.c_int)]\n"
        "p = P(0, 1); print(libc.poll(ctypes.byref(p), 1, 1000), ctypes.get_errno())", "0 0",
    ),
    "select": ("print(libc.select(0, None, None, None, ctypes.byref(Value(1, 0))))", "0"),
    "ppoll": (
        "m = (ctypes.c_ulong * 16)(); print(libc.ppoll(None, 0, ctypes.byref(Time(1, 0)), m))", "0",
    ),
    "futex": ("print(threading.Lock().acquire() and threading.Event().wait(1))", "False"),
    "rt_sigtimedwait": ("print(signal.sigtimedwait([signal.SIGUSR1], 1))", "None"),
}  # fmt: skip


@pytest.mark.parametrize("name", SLEEPERS)
def test_a_sleep_takes_as_long_as_it_would_have(name):
    text, said = SLEEPERS[name]
    text = f"begun = time.monotonic()\n{text}\nprint(time.monotonic() - begun, flush=True)\n"
    with program(f"{text}os.read(0, 1)") as process:  # so that it is never too late to disturb it
        in_syscall(process.pid, *CALLS)
        disturb(process.pid)
        assert process.stdout.readline().strip() == said
        assert 0.999 <= float(process.stdout.readline()) < 20


def test_a_restarted_sleep_keeps_its_end():
    """Disturbed again and again in the middle: not a second from the last time on."""
    assert any(ends_as_it_began() for _ in range(8))  # a busy machine may wake it late


def ends_as_it_began() -> bool:
    """Whether a second's sleep has ended less than a second after it was disturbed last."""
    text = "t = Time(1, 0); r = libc.clock_nanosleep(1, 0, ctypes.byref(t), None)\n"
    text += "ended = time.monotonic(); print(r, begun, ended, flush=True); os.read(0, 1)"
    with program(text) as process:
        in_syscall(process.pid, *CALLS)
        before = last = time.monotonic()
        while last - before < 0.7:
            last = time.monotonic()
            disturb(process.pid, 1)
        answer, begun, ended = process.stdout.readline().split()
    assert answer == "0"
    assert float(ended) - float(begun) >= 1
    return float(ended) < last + 1


EPOLL_WAIT, RECVFROM = 232, 45
WAITERS = {
    "read of a pipe": ("print(os.read(0, 10))", "b'hello\\n'"),
    "epoll_wait": ("e = select.epoll(); e.register(0, 1)\nn = ctypes.create_string_buffer(12)\n"
                   "print(libc.epoll_wait(e.fileno(), n, 1, -1), ctypes.get_errno())", "1 0"),
    "epoll_wait with a limit": (
        "e = select.epoll(); e.register(0, 1)\nn = ctypes.create_string_buffer(12)\n"
        "print(libc.epoll_wait(e.fileno(), n, 1, 60000), ctypes.get_errno())", "1 0"),
    "recv with SO_RCVTIMEO": (
        "import struct\na, b = socket.socketpair()\n"
        "a.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 60, 0))\n"
        "threading.Thread(target=lambda: (os.read(0, 10), b.send(b'x'))).start()\n"
        "n = ctypes.create_string_buffer(9)\n"
        "print(libc.recv(a.fileno(), n, 9, 0), ctypes.get_errno())", "1 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", WAITERS)
def test_a_wait_is_not_interrupted(name):
    text, said = WAITERS[name]
    with program(text) as process:
        in_syscall(process.pid, EPOLL_WAIT, RECVFROM)
        before = registers(process.pid)
        disturb(process.pid)
        # The same call, arguments, stack and place.
        assert eventually(lambda: registers(process.pid) == before)
        process.stdin.write("hello\n")
        process.stdin.flush()
        assert process.stdout.readline().strip() == said


def test_a_signal_during_it_is_delivered_once_and_afterwards():
    text = """
seen = []
signal.signal(signal.SIGUSR1, lambda *_: (seen.append(1), os.write(1, b'one\\n')))
print('armed', flush=True)
while len(seen) < 40: time.sleep(0.001)
time.sleep(0.1); print(len(seen))
"""
    with program(text) as process:
        assert process.stdout.readline() == "armed\n"

        def work(held: HeldTask) -> int:
            os.kill(process.pid, signal.SIGUSR1)
            return held.syscall(GETPID)

        for _ in range(40):
            assert in_task(process.pid, work, discard=lambda _: None) == process.pid
            assert process.stdout.readline() == "one\n"  # else the next would be the same one
        assert process.stdout.readline() == "40\n"


def test_the_signal_mask_and_descriptors_stay():
    with program("signal.pthread_sigmask(0, [signal.SIGUSR2]); os.read(0, 1)") as process:
        in_syscall(process.pid)
        status = Path(f"/proc/{process.pid}/status")

        def state() -> list[str]:
            names = ("SigBlk", "SigPnd", "SigCgt", "SigIgn", "TracerPid")
            lines = [line for line in status.read_text().splitlines() if line.startswith(names)]
            return [*lines, *sorted(os.listdir(f"/proc/{process.pid}/fd"))]

        before = state()
        disturb(process.pid)
        assert state() == before


def test_a_stopped_process_stays_stopped():
    with program("os.read(0, 1); print('on', flush=True)") as process:
        in_syscall(process.pid)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        before = registers(process.pid)
        for _ in range(5):
            disturb(process.pid, 1)
            assert eventually(lambda: processes.stat_fields(process.pid)[2] == "T")
        assert registers(process.pid) == before
        process.send_signal(signal.SIGCONT)
        process.stdin.write("x")
        process.stdin.flush()
        assert process.stdout.readline() == "on\n"


def test_a_stop_that_comes_in_the_middle_holds():
    with program("os.read(0, 1); print('on', flush=True)") as process:
        in_syscall(process.pid)

        def work(held: HeldTask) -> int:
            first = held.syscall(GETPID)
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.01)
            return first + held.syscall(GETPID)

        assert in_task(process.pid, work, discard=lambda _: None) == 2 * process.pid
        assert eventually(lambda: processes.stat_fields(process.pid)[2] == "T")
        process.send_signal(signal.SIGCONT)
        process.stdin.write("x")
        process.stdin.flush()
        assert process.stdout.readline() == "on\n"


SECCOMP = """
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 38, 22
libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
"""
STRICT = (
    SECCOMP
    + """
b = ctypes.create_string_buffer(8)
assert libc.prctl(PR_SET_SECCOMP, 1, 0, 0, 0) == 0
libc.read(0, b, 1); libc.write(1, b"alive\\n", 6); libc.read(0, b, 1)
"""
)
# A filter that kills for userfaultfd (323) and close (3).
FILTER = (
    SECCOMP
    + """
import struct
code = b"".join(struct.pack("HBBI", *i) for i in (
    (0x20, 0, 0, 0), (0x15, 2, 0, 323), (0x15, 1, 0, 3), (6, 0, 0, 0x7fff0000), (6, 0, 0, 0)))
c = ctypes.create_string_buffer(code)
f = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 5, ctypes.addressof(c)))
assert libc.prctl(PR_SET_SECCOMP, 2, f, 0, 0) == 0
b = ctypes.create_string_buffer(8)
libc.read(0, b, 1); libc.write(1, b"alive\\n", 6); libc.read(0, b, 1)
"""
)


@pytest.mark.parametrize("text", [STRICT, FILTER], ids=["strict", "filter"])
def test_a_process_under_seccomp(text):
    with program(text) as process:
        in_syscall(process.pid)
        disturb(process.pid)
        process.stdin.write("x")
        process.stdin.flush()
        assert process.stdout.readline() == "alive\n"
        assert processes.status_fields(process.pid)["Seccomp"] != "0"


def test_without_suspending_seccomp_a_filtered_process_is_left_alone(monkeypatch):
    monkeypatch.setattr(ptrace, "O_SUSPEND_SECCOMP", 1 << 30)  # EINVAL
    with program(FILTER) as process:
        in_syscall(process.pid)
        with pytest.raises(OSError, match="SEIZE"):
            disturb(process.pid)
        process.stdin.write("x")
        process.stdin.flush()
        assert process.stdout.readline() == "alive\n"


def test_a_process_of_another_user():
    with program("os.setgroups([]); os.setgid(65534); os.setuid(65534); os.read(0, 1)") as process:
        in_syscall(process.pid)
        assert processes.status_fields(process.pid)["CapEff"] == "0" * 16
        disturb(process.pid)


def test_a_busy_process_goes_on_counting():
    text = """
n = s = 0
while n < 3_000_000:
    n += 1; s += n * 0.5
print(s, flush=True); os.read(0, 1)
"""
    with program(text) as process:
        for _ in range(20):
            disturb(process.pid, 1)
        assert float(process.stdout.readline()) == sum(n * 0.5 for n in range(1, 3_000_001))


def test_a_parent_in_vfork_is_given_up_and_not_hurt(tmp_path):
    """posix_spawn(3) makes its child by vfork; this one waits for a writer before its exec."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    text = f"""
opening = (os.POSIX_SPAWN_OPEN, 5, {str(fifo)!r}, os.O_RDONLY, 0)
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], os.environ, file_actions=[opening])
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    with program(text) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        # Without a child it would be in D for its program's pages.
        assert eventually(
            lambda: children.read_text() and processes.stat_fields(process.pid)[2] == "D"
        )
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            disturb(process.pid, 1)
        assert time.monotonic() - begun >= injection.STOP_LIMIT
        fifo.write_bytes(b"")
        assert process.stdout.readline() == "7\n"
        assert processes.status_fields(process.pid)["TracerPid"] == "0"


def test_one_that_is_traced_already_and_one_that_is_gone():
    with program("os.read(0, 1)") as process:
        in_syscall(process.pid)
        nested = []

        def work(held: HeldTask) -> int:
            try:
                in_task(process.pid, lambda inner: inner.syscall(GETPID), discard=lambda _: None)
            except OSError as error:
                nested.append(error)
            return held.syscall(GETPID)

        in_task(process.pid, work, discard=lambda _: None)
        assert isinstance(nested[0], PermissionError)
    with pytest.raises(ProcessLookupError):
        disturb(process.pid)


def test_an_error_of_the_syscall_is_raised_and_the_task_goes_on():
    with program("os.read(0, 1)") as process:
        in_syscall(process.pid)
        before = registers(process.pid)
        with pytest.raises(OSError, match="Bad file descriptor"):
            in_task(
                process.pid, lambda held: held.syscall(syscall_number("close"), 999),
                discard=lambda _: None,
            )  # fmt: skip
        assert eventually(lambda: registers(process.pid) == before)


def test_a_thread_that_is_not_the_leader():
    text = "threading.Thread(target=os.read, args=(0, 1)).start(); libc.pthread_exit(None)"
    with program(text) as process:
        assert eventually(lambda: processes.stat_fields(process.pid)[2] == "Z")
        others = {int(name) for name in os.listdir(f"/proc/{process.pid}/task")} - {process.pid}
        disturb(others.pop())


def test_other_machines_are_refused(monkeypatch):
    monkeypatch.setattr(injection, "MACHINE", "s390x")
    with pytest.raises(OSError, match="only on s390x"):
        in_task(os.getpid(), lambda held: held, discard=lambda _: None)


def test_a_process_whose_syscalls_are_sent_to_itself_is_refused():
    """prctl PR_SET_SYSCALL_USER_DISPATCH (59): all outside of nothing, let through by the byte."""
    text = """
selector = ctypes.create_string_buffer(1)
assert libc.prctl(59, 1, 0, 0, ctypes.byref(selector)) == 0
print("on", flush=True); os.read(0, 1)
"""
    with program(text) as process:
        assert process.stdout.readline() == "on\n"
        in_syscall(process.pid)
        with pytest.raises(OSError, match="sent to itself"):
            disturb(process.pid)
        assert processes.status_fields(process.pid)["TracerPid"] == "0"


@pytest.mark.parametrize(("address", "goes_on"), [(99, 99), (100, 500), (119, 500), (120, 120)])
def test_a_restartable_sequence_is_aborted(monkeypatch, address, goes_on):
    """struct rseq at 8 points to a struct rseq_cs at 64 for [100, 120), which aborts to 500."""
    memory = {8: struct.pack("IIQ", 0, 0, 64), 64: struct.pack("IIQQQ", 0, 0, 100, 20, 500)}
    monkeypatch.setattr(ptrace, "rseq_area", lambda _: 8)
    monkeypatch.setattr(injection, "_peek", lambda _, at, length: memory[at][:length])
    assert injection._outside_rseq(1, address) == goes_on


def test_the_rseq_area_of_a_real_task_is_found():
    with program("os.read(0, 1)") as process:
        in_syscall(process.pid)
        found = in_task(
            process.pid, lambda held: (ptrace.rseq_area(held.tid),), discard=lambda _: None
        )
        assert found[0] % 32 == 0
