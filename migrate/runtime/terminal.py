"""Terminals: made in the container's devpts; for `exec -t` relayed to the caller's terminal."""

from __future__ import annotations

import fcntl
import os
import select
import stat
import struct
import sys
import termios

from migrate.kernel.bare import contextlib, signal, socket

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Iterator

_TIOCGPTPEER = 0x5441  # include/uapi/asm-generic/ioctls.h: opens the peer without its path
_TIOCSPTLCK = 0x40045431
_PTMX = os.makedev(5, 2)  # Documentation/admin-guide/devices.txt


def take_terminal(channel: socket.socket, size: bytes) -> None:
    """In the container, as a session leader: make a terminal, control it, send its other end.

    `size` is a struct winsize or empty. Raises OSError when the container has no proper /dev/ptmx.
    """
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    status = os.fstat(master)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _PTMX:
        raise OSError(25, "the container's /dev/ptmx is no terminal multiplexer")
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
    if size:
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)
    rights = struct.pack("i", master)
    channel.sendmsg([b"m"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    os.close(master)
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for number in range(3):
        os.dup2(slave, number)


def receive_terminal(channel: socket.socket) -> int | None:
    """The other end, sent by `take_terminal`; None when the container's side failed."""
    data, ancillary, _flags, _peer = channel.recvmsg(1, socket.CMSG_SPACE(4))
    for level, kind, raw in ancillary:
        if data and level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            return int.from_bytes(raw[:4], sys.byteorder)
    return None


def window_size(descriptor: int = 0) -> bytes:
    """The struct winsize of a terminal; empty where the descriptor is none."""
    try:
        return fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8))
    except OSError:
        return b""


def relay(master: int, until: int) -> None:
    """Join the caller's standard input and output with `master` until the other side is closed.

    Or until the process of the pidfd `until` has ended, and its output is through.

    The caller's terminal is raw meanwhile, and its size is passed on when it changes.
    """
    wake, wake_writer = os.pipe()
    for end in (wake, wake_writer):
        os.set_blocking(end, False)
    with raw(0), _size_followed(master, wake_writer):
        sources = [master, wake, until, 0]
        while True:
            ready, _, _ = select.select(sources, [], [])
            if wake in ready:
                os.read(wake, 512)
            if 0 in ready and not _pass_input(master):
                sources.remove(0)
            if master in ready:
                try:
                    data = os.read(master, 65536)
                except OSError:  # EIO: nobody has the terminal open any more
                    break
                if not data:
                    break
                _write_all(1, data)
            elif until in ready:
                break
    for descriptor in (master, wake, wake_writer):
        os.close(descriptor)


def _pass_input(master: int) -> bool:
    """Pass on what was typed; at the end of the input its sign (Ctrl-D). False at the end."""
    data = os.read(0, 65536)
    with contextlib.suppress(OSError):
        _write_all(master, data or b"\x04")
    return bool(data)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextlib.contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """A terminal of the caller's takes every key as it is meanwhile; nothing for other files."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    import tty

    try:
        tty.setraw(descriptor, termios.TCSADRAIN)  # what has been typed already counts
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _size_followed(master: int, wake: int) -> Iterator[None]:
    def resize(*_arguments: object) -> None:
        if size := window_size():
            with contextlib.suppress(OSError):
                fcntl.ioctl(master, termios.TIOCSWINSZ, size)
        with contextlib.suppress(OSError):
            os.write(wake, b".")

    previous = signal.signal(signal.SIGWINCH, resize)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, previous)
