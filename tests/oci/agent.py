"""A seccomp agent: gets a filter's listener over its socket, and answers what is put before it."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import select
import socket
import struct
import threading
from pathlib import Path
from typing import Any

_NOTIFICATION, _ANSWER = 80, struct.Struct("QqiI")  # include/uapi/linux/seccomp.h
_RECEIVE, _SEND = ((3 << 30) | (size << 16) | (ord("!") << 8) | number
                   for number, size in enumerate((_NOTIFICATION, _ANSWER.size)))  # fmt: skip


class Agent:
    """Answers every notified system call with `error`, an errno; `states` is what it was told."""

    def __init__(self, path: Path, error: int) -> None:
        self.path = path
        self.states: list[dict[str, Any]] = []
        self.calls: list[int] = []
        self._error = error
        self._hangs_up = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(4)
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def hang_up(self) -> None:
        """From now on accept connections and close them."""
        self._hangs_up = True

    def _serve(self) -> None:
        while True:
            try:
                connection, _peer = self._listener.accept()
            except OSError:
                return
            if self._hangs_up:
                connection.close()
                continue
            data, descriptors, _flags, _peer = socket.recv_fds(connection, 65536, 4)
            while more := connection.recv(65536):  # the runtime closes it: one state a connection
                data += more
            connection.close()
            if data:
                self.states.append(json.loads(data))
                thread = threading.Thread(target=self._answer, args=descriptors[:1])
                self._threads.append(thread)
                thread.start()

    def _answer(self, descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not any(event & select.POLLHUP for _fd, event in poll.poll(20000)):
            buffer = array.array("B", bytes(_NOTIFICATION))
            with contextlib.suppress(OSError):  # it was killed meanwhile
                fcntl.ioctl(descriptor, _RECEIVE, buffer)
                call, _pid, _flags, number = struct.unpack_from("QIIi", buffer)
                self.calls.append(number)
                fcntl.ioctl(descriptor, _SEND, _ANSWER.pack(call, 0, -self._error, 0))
        os.close(descriptor)
