"""Running syscalls inside a task of another process, which notices nothing (x86_64).

The task is stopped by ptrace, its registers are pointed at a `syscall` instruction of its own, and
everything is put back: registers, signal mask, and the syscall that it was in, which restarts with
its time limit as before, since the kernel is left at the place from where it restarts syscalls
itself (Linux, arch/x86/kernel/signal.c, arch_do_signal_or_restart).

Should this process be killed in the middle (0.3 ms), the task is lost: nothing could put it back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from migrate.kernel import ptrace
from migrate.kernel.maps import mappings
from migrate.kernel.processes import status_fields

Result = TypeVar("Result")

MACHINE = "x86_64"
STOP_LIMIT = 0.1
"""Seconds for a task to stop. One in an uninterruptible wait, as behind vfork(2), never does."""
HOLD_LIMIT = 2.0
"""Seconds more for the work itself; a task that a freezer catches meanwhile takes longer."""
_POLL = 2e-5  # seconds
_SWITCH_INTERVAL = 5e-5  # seconds
_SYSCALL_INSTRUCTION = b"\x0f\x05"
_ALL_SIGNALS = (1 << 64) - 1
_NO_SYSCALL = (1 << 64) - 1  # orig_rax of a task that is not in a syscall
_TRAP_FLAG, _DIRECTION_FLAG = 0x100, 0x400
_MAX_ERRNO = 4095
_CHUNK = 1 << 20
_RSEQ = struct.Struct("II Q")  # include/uapi/linux/rseq.h, struct rseq up to rseq_cs
_RSEQ_CS = struct.Struct("II QQQ")
_ERESTARTNOHAND = 514  # include/linux/errno.h
# The syscalls that answer EINTR to whoever was only stopped (signal(7), "Interruption of system
# calls by stop signals"), those of sockets only with SO_RCVTIMEO or SO_SNDTIMEO: read, write,
# readv, writev, connect, accept, sendto, recvfrom, sendmsg, recvmsg, semop, rt_sigtimedwait,
# io_getevents, semtimedop, epoll_wait, epoll_pwait, accept4, recvmmsg, sendmmsg, epoll_pwait2.
_STOP_EINTR = frozenset(
    (0, 1, 19, 20, 42, 43, 44, 45, 46, 47, 65, 128, 208, 220, 232, 281, 288, 299, 307, 441)
)


class HeldTask:
    """A task that the calling thread has stopped, and can run syscalls in."""

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self._before = ptrace.registers(tid)
        if _dispatches_syscalls(tid):
            raise OSError(errno.EOPNOTSUPP, f"task {tid} has its syscalls sent to itself")
        self._mask = ptrace.signal_mask(tid)
        self._instruction = _find_instruction(tid, self._before)
        self._moved = False

    def syscall(self, number: int, *arguments: int) -> int:
        """Run one syscall in the task; raises OSError with the errno that it was answered."""
        if not self._moved:
            ptrace.set_signal_mask(self.tid, _ALL_SIGNALS)
            self._moved = True
        values = self._before.copy()
        values.rip, values.rax, values.orig_rax = self._instruction, number, _NO_SYSCALL
        values.eflags &= ~(_TRAP_FLAG | _DIRECTION_FLAG)
        names = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
        for name, value in zip(names, (*arguments, *(0,) * 6), strict=False):
            setattr(values, name, value)
        ptrace.set_registers(self.tid, values)
        self._run_until(ptrace.SYSCALL_STOP)  # its entry
        self._run_until(ptrace.SYSCALL_STOP)  # its exit
        answer = int(ptrace.registers(self.tid).rax)
        if answer > _ALL_SIGNALS - _MAX_ERRNO:
            number = _ALL_SIGNALS - answer + 1
            raise OSError(number, f"in task {self.tid}: {os.strerror(number)}")
        return answer

    def release(self) -> None:
        """Put everything back and let the task go on."""
        if self._moved:
            # Only from this kind of stop on does the kernel look whether to restart a syscall.
            ptrace.interrupt(self.tid)
            self._run_until(None)
        ptrace.set_registers(self.tid, self._to_restore())
        ptrace.set_signal_mask(self.tid, self._mask)
        ptrace.detach(self.tid)

    def _run_until(self, wanted: int | None) -> None:
        """Let the task run to a stop with the signal `wanted`, None for an event stop.

        There is no time limit: a task with foreign registers can't be let go. A SIGSTOP that comes
        meanwhile is passed on, and stops the task for real once it is detached.
        """
        go_on = ptrace.resume if wanted is None else ptrace.resume_to_syscall
        number = 0
        while True:
            go_on(self.tid, number)
            status = ptrace.wait(self.tid)
            assert status is not None
            _check_stopped(self.tid, status)
            event, stop = status >> 16, os.WSTOPSIG(status)
            if (event == ptrace.EVENT_STOP) if wanted is None else (stop == wanted):
                return
            number = 0 if event or stop == ptrace.SYSCALL_STOP else stop

    def _to_restore(self) -> ptrace.Registers:
        values = self._before.copy()
        if values.orig_rax == _NO_SYSCALL:
            values.rip = _outside_rseq(self.tid, values.rip)
        elif values.rax == _ALL_SIGNALS - errno.EINTR + 1 and values.orig_rax in _STOP_EINTR:
            # "Restart, but not if a handler runs": a real signal still shows as EINTR. A time
            # limit begins anew.
            values.rax = _ALL_SIGNALS - _ERESTARTNOHAND + 1
        return values


def _dispatches_syscalls(tid: int) -> bool:
    try:
        return ptrace.dispatches_syscalls(tid)
    except OSError as error:
        if error.errno != errno.EIO:  # a kernel that can't tell, before 6.4
            raise
        return False


def _outside_rseq(tid: int, address: int) -> int:
    """Where a task at `address` goes on that has been interrupted there.

    Inside a restartable sequence the abort handler, as after any preemption: the kernel would not
    see it any more, since meanwhile the task has been elsewhere.
    """
    with contextlib.suppress(OSError, struct.error):
        area = ptrace.rseq_area(tid)
        pointer = _RSEQ.unpack(_peek(tid, area, _RSEQ.size))[2] if area else 0
        if pointer:
            _, _, start, length, abort = _RSEQ_CS.unpack(_peek(tid, pointer, _RSEQ_CS.size))
            if start <= address < start + length:
                return int(abort)
    return address


def _peek(tid: int, address: int, length: int) -> bytes:
    descriptor = os.open(f"/proc/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, length, address)
    finally:
        os.close(descriptor)


def _find_instruction(tid: int, values: ptrace.Registers) -> int:
    """The address of a `syscall` instruction: the one that the task is in, or any."""
    behind = int(values.rip)
    if values.orig_rax != _NO_SYSCALL and _peek(tid, behind - 2, 2) == _SYSCALL_INSTRUCTION:
        return behind - 2
    with Path(f"/proc/{tid}/mem").open("rb", buffering=0) as memory:
        for mapping in mappings(tid):
            if "x" not in mapping.perms or mapping.name in {"[vsyscall]", "[uprobes]"}:
                continue
            for start in range(mapping.start, mapping.end, _CHUNK):
                with contextlib.suppress(OSError):
                    part = os.pread(memory.fileno(), min(_CHUNK, mapping.end - start), start)
                    if (at := part.find(_SYSCALL_INSTRUCTION)) >= 0:
                        return start + at
    raise OSError(errno.ENOEXEC, f"task {tid} has no syscall instruction")


def _check_stopped(tid: int, status: int) -> None:
    if not os.WIFSTOPPED(status):
        raise ProcessLookupError(errno.ESRCH, f"task {tid} has ended")


def _seize(tid: int) -> None:
    try:
        ptrace.seize(tid, ptrace.O_TRACESYSGOOD | ptrace.O_SUSPEND_SECCOMP)
    except OSError as error:
        # EPERM without CAP_SYS_ADMIN, EINVAL without CONFIG_CHECKPOINT_RESTORE; but a filter might
        # kill the task for our syscall.
        if error.errno not in {errno.EPERM, errno.EINVAL} or _is_filtered(tid):
            raise
        ptrace.seize(tid, ptrace.O_TRACESYSGOOD)


def _is_filtered(tid: int) -> bool:
    return status_fields(tid).get("Seccomp", "0") != "0"


def _stop(tid: int, limit: float) -> None:
    ptrace.interrupt(tid)
    deadline = time.monotonic() + limit
    while True:
        status = ptrace.wait(tid, block=False)
        if status is None:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, f"task {tid} does not stop")
            time.sleep(_POLL)
            continue
        _check_stopped(tid, status)
        if status >> 16 == ptrace.EVENT_STOP:
            return
        ptrace.resume(tid, os.WSTOPSIG(status))  # a signal that was on its way to the task


class _Hold(threading.Thread, Generic[Result]):
    """The thread that traces; its end lets a task go that never stopped."""

    def __init__(
        self, tid: int, work: Callable[[HeldTask], Result], discard: Callable[[Result], None]
    ) -> None:
        super().__init__(name=f"hold-{tid}", daemon=True)
        self._tid, self._work, self._discard = tid, work, discard
        self._lock = threading.Lock()
        self._abandoned = threading.Event()
        self.result: Result | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            _seize(self._tid)
            if self._abandoned.is_set():
                return
            _stop(self._tid, STOP_LIMIT)
            try:
                held = HeldTask(self._tid)
            except BaseException:
                ptrace.detach(self._tid)  # as it was: nothing is changed yet
                raise
            try:
                result = self._work(held)
            finally:
                held.release()
        except BaseException as error:  # noqa: BLE001 -- raised in the thread that waits
            self.error = error
            return
        with self._lock:
            self.result = result
            if self._abandoned.is_set():
                self._discard(result)

    def abandon(self) -> bool:
        """Nobody waits any more; False when the result is there after all."""
        with self._lock:
            if self.result is None:
                self._abandoned.set()
            return self.result is None


def in_task(
    tid: int, work: Callable[[HeldTask], Result], *, discard: Callable[[Result], None]
) -> Result:
    """What `work` returns (never None), called while task `tid` is held.

    It runs in a thread of its own, where an interruption of this one does not reach it; `discard`
    gets its result when it comes too late. Raises OSError: TimeoutError for a task that does not
    stop, EPERM for one that is traced already, ProcessLookupError for one that ends, ENOEXEC for
    32-bit code, EOPNOTSUPP on other machines than x86_64 and for a task that can't be used.
    """
    if os.uname().machine != MACHINE:
        raise OSError(errno.EOPNOTSUPP, f"syscalls inside a task: only on {MACHINE}")
    hold = _Hold(tid, work, discard)
    with _quick_turns():
        hold.start()
        hold.join(STOP_LIMIT + HOLD_LIMIT)
    if hold.is_alive() and hold.abandon():
        raise TimeoutError(errno.ETIMEDOUT, f"task {tid} could not be stopped, or not let go yet")
    if isinstance(hold.error, TimeoutError):
        _wait_for_end(hold)
    if hold.error is not None:
        raise hold.error
    assert hold.result is not None
    return hold.result


@contextlib.contextmanager
def _quick_turns() -> Iterator[None]:
    """Python's threads take turns quickly: with a busy one a task was held 41 ms, so 1.3 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _wait_for_end(thread: threading.Thread) -> None:
    """Wait for the kernel's end of a thread, which lets its tasks go; join() is a bit too early."""
    entry = Path(f"/proc/self/task/{thread.native_id}")
    deadline = time.monotonic() + STOP_LIMIT
    while entry.exists() and time.monotonic() < deadline:
        time.sleep(_POLL)
