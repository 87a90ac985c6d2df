"""The socket that `criu restore` speaks on, received so that a killed server loses nothing."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct

from migrate.criu.lazypages.journal import HUNG_UP, Journal
from migrate.criu.lazypages.protocol import FINISHED, StoreBad

_UFFD_LINK = "anon_inode:[userfaultfd]"


class Connection:
    """Accepts the one connection. What comes next is told by the journal's `word_of_criu`.

    Zero: a pid (or FINISHED) comes. Anything else: the descriptor of that process.
    """

    def __init__(self, listener: int, journal: Journal) -> None:
        self._listener = socket.socket(fileno=listener)
        self._journal = journal
        self._channel: socket.socket | None = None

    def polled(self) -> list[int]:
        """The descriptors to be waited for."""
        channel = [self._channel.fileno()] if self._channel else [self._listener.fileno()]
        return channel if not self._journal.finished else []

    @property
    def connected(self) -> bool:
        """Whether CRIU is there."""
        return self._channel is not None

    def owns(self, descriptor: int) -> bool:
        """Whether `receive` is for this one."""
        return descriptor in self.polled()

    def receive(self, descriptor: int) -> tuple[int, int] | None:
        """Go one step on: a new process's (pid, userfaultfd), once both are there.

        The end of the restore is written into the journal. Raises StoreBad, OSError.
        """
        if self._channel is None:
            self._channel, _address = self._listener.accept()
            return None
        word = self._journal.word_of_criu
        if not _number(word):
            self._receive_word(word)
            return None
        raw, ancillary, _flags, _peer = self._channel.recvmsg(
            1, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
        )
        received = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received.frombytes(data[: len(data) - len(data) % received.itemsize])
        if len(received) != 1:
            raise StoreBad("CRIU sent no userfaultfd" if raw else "CRIU hung up")
        return _number(word), received[0]

    def _receive_word(self, word: memoryview) -> None:
        assert self._channel
        try:
            got = self._channel.recv_into(word, 4, socket.MSG_WAITALL)
        except ConnectionError:
            got = 0
        if got == 4 and _number(word) == FINISHED:
            self._journal.finish()
        if got != 4:
            self._hang_up()
        elif _number(word) < 0:  # a zombie has no memory
            self.done()

    def _hang_up(self) -> None:
        """CRIU gave up, and ends what it has restored; the next one may connect.

        It may restore the same pids: they are not those that were written down.
        """
        assert self._channel
        self._journal.append(-1, HUNG_UP)
        self.done()
        self._channel.close()
        self._channel = None

    def close(self) -> None:
        """The end. The listener is its giver's."""
        self._listener.detach()
        if self._channel:
            self._channel.close()

    def done(self) -> None:
        """The word is dealt with: the next may come."""
        self._journal.word_of_criu[:] = bytes(4)

    def refuse(self) -> None:
        """CRIU's next send fails, and its restore with it."""
        if self._channel:
            self._channel.shutdown(socket.SHUT_RDWR)
        self._listener.shutdown(socket.SHUT_RDWR)

    def take_over(self, known: set[int], added: int) -> tuple[int, int] | None:
        """Find the killed server's connection, and what it received and did not write down.

        `added` is the pid of the process that was written down last, since CRIU connected.
        """
        ours = {self._listener.fileno()}
        lost = []
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 -- numbers, not paths
            number = int(name)
            with contextlib.suppress(OSError):
                link = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
                if link == _UFFD_LINK and number not in known:
                    lost.append(number)
                elif link.startswith("socket:") and number not in ours:
                    self._adopt_if_criu(number)
        pid = _number(self._journal.word_of_criu)
        if pid == FINISHED:
            self._journal.finish()
        elif pid < 0 or pid == added:
            self.done()
        elif pid and lost:
            return pid, lost[0]
        return None

    def _adopt_if_criu(self, number: int) -> None:
        """The accepted end of a connection bears the listener's name."""
        candidate = socket.socket(fileno=os.dup(number))
        with candidate:
            is_it = (
                candidate.type == socket.SOCK_STREAM
                and not candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                and candidate.getsockname() == self._listener.getsockname()
            )
        if is_it:
            self._channel = socket.socket(fileno=number)


def _number(word: memoryview) -> int:
    value: int = struct.unpack_from("=i", word)[0]
    return value
