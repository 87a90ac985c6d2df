"""In the foreground of a container's process: its terminal, its signals, its end."""

from __future__ import annotations

import os

from migrate.kernel.bare import contextlib, signal

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

_NOT_PASSED = {signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGURG, signal.SIGPIPE,
               signal.SIGWINCH, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}  # fmt: skip


def relay_terminal(channel: socket.socket, pid: int) -> None:
    """Join our standard streams with the terminal whose other end comes over `channel`."""
    from migrate.runtime.terminal import receive_terminal, relay

    master = receive_terminal(channel)
    channel.close()
    if master is not None:
        ended = os.pidfd_open(pid)
        relay(master, ended)
        os.close(ended)


def wait_for(pid: int) -> int:
    """Reap children until `pid` has ended; its exit status (128 + n for signal n)."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


@contextlib.contextmanager
def passing_signals(pid: int) -> Iterator[None]:
    """Signals that come to us go on to `pid`."""

    def forward(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    previous = {}
    for number in signal.valid_signals() - _NOT_PASSED:
        with contextlib.suppress(OSError, ValueError):
            previous[number] = signal.signal(number, forward)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler or signal.SIG_DFL)
