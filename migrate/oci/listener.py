"""The agent that answers notified system calls: it is sent the filter's listener.

config-linux.md, "Seccomp" (listenerPath) and "The Container Process State"; seccomp_unotify(2).
"""

from __future__ import annotations

import array
import contextlib
import json
import mmap
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from migrate.kernel.processes import fork_sharing_files, set_parent_death_signal
from migrate.oci.errors import BadConfig
from migrate.runtime import seccomp

_WORD = struct.Struct("i")
_LOOK = 0.0005  # seconds between two looks for the listener, which seccomp(2) makes at once


class Listener:
    """A connection to the agent, and what it will be told; `pid` is init's for the runtime."""

    def __init__(self, wanted: dict[str, Any], state: dict[str, Any]) -> None:
        """Connect to `listenerPath`; raises BadConfig when nobody is there."""
        self.pid = 0
        self.state = {key: value for key, value in state.items() if key in _OF_STATE}
        self._metadata = str(wanted.get("listenerMetadata") or "")
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._channel.connect(wanted["listenerPath"])
        except OSError as error:
            self.close()
            raise BadConfig(
                "the seccomp agent can't be reached",
                cause=f"linux.seccomp.listenerPath {wanted['listenerPath']}: {error.strerror}",
                mend="start the agent before the container",
            ) from error

    def fileno(self) -> int:
        """The connection's descriptor."""
        return self._channel.fileno()

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def send(self, descriptor: int) -> None:
        """Pass the filter's listener and the Container Process State, hang up; raises OSError."""
        own = self.state | {"pid": self.state["pid"] or self.pid}
        told = {
            "ociVersion": self.state["ociVersion"], "fds": ["seccompFd"], "pid": self.pid,
            "metadata": self._metadata, "state": own,
        }  # fmt: skip
        data = json.dumps(told).encode()
        rights = array.array("i", [descriptor]).tobytes()
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
        sent = self._channel.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
        self._channel.sendall(data[sent:], socket.MSG_NOSIGNAL)
        self.close()


_OF_STATE = ("ociVersion", "id", "status", "pid", "bundle", "annotations")  # runtime.md, "State"


def listener_of(spec: dict[str, Any], state: dict[str, Any]) -> Listener | None:
    """The agent's connection, where a rule of the specification notifies; raises BadConfig."""
    wanted = (spec.get("linux") or {}).get("seccomp") or {}
    return Listener(wanted, state) if seccomp.notifies(wanted) else None


def load(
    program: bytes, flags: int, listener: Listener, tell: Callable[[Exception], None]
) -> None:  # fmt: skip
    """Filter this process's system calls from here on, and pass the listener to the agent.

    Of the filtered calls each may have to wait for the agent. So a process that is not filtered
    and has the same descriptors passes the listener; a shared word gives it its number. If it
    can't, it calls `tell`, and this process is killed. Raises OSError.
    """
    word = mmap.mmap(-1, _WORD.size)
    parent = os.getpid()
    helper = fork_sharing_files()
    if helper == 0:
        _pass_on(word, parent, listener, tell)
    number = seccomp.load(program, flags)
    _WORD.pack_into(word, 0, number)
    with contextlib.suppress(OSError):  # where the filter forbids it, a zombie is left
        os.waitpid(helper, 0)


def _pass_on(
    word: mmap.mmap, parent: int, listener: Listener, tell: Callable[[Exception], None]
) -> None:  # fmt: skip
    try:
        set_parent_death_signal(signal.SIGKILL)
        while not (number := _WORD.unpack_from(word)[0]):
            time.sleep(_LOOK)
        listener.send(number)
    except Exception as error:  # noqa: BLE001 -- every failure travels to the command
        tell(error)
        os.kill(parent, signal.SIGKILL)
    finally:
        os._exit(0)
