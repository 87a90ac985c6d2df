"""The monitor's part in a container's page server: it starts it, and keeps what it must not lose.

While a container's memory is being filled, the last close of a userfaultfd would turn the missing
pages into zeros, silently. So the server is a child that shares the monitor's table of descriptors:
whatever it receives or opens, a child process's userfaultfd in the very read(2) that tells of it,
is the monitor's as well, and a server that was killed is followed by another that finds all of it
under the same numbers. Meanwhile who needs a page waits.

Which code serves is the request's business: this package does not know CRIU.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import signal
import socket
import sys
import time
from typing import Any

from migrate.kernel.processes import fork_sharing_files, set_name

REFUSED = 3  # exit status of a server that no next one could better
SOON = 0.1  # seconds; servers that live no longer are followed at growing distance
_EMPTY_PROGRESS = b"{}".ljust(511) + b"\n"


class PageKeeper:
    """At most one page server, and what it needs."""

    def __init__(self) -> None:
        self._pid = 0
        self._starts = self._soon_dead = 0
        self._born = self._pause = 0.0
        self._launch: dict[str, Any] = {}
        self._kept: dict[str, int] = {}
        self._paths = ("", "")
        self._serve: Any = None
        self._begin = -1
        self._error = ""

    def start(self, request: dict[str, Any], directory: int) -> dict[str, Any]:
        """Start the server `module`; the answer for who asked. Raises ValueError, OSError.

        `request` has `module` (with a function `serve(launch, restarts)`), `socket` (a path to
        listen on), `filling` (a path: a file that exists until all is filled) and `options`.
        """
        if self._pid or self._starts:
            raise ValueError("there is a page server already")
        # Loaded once: a server that follows a killed one is not of a newer version.
        self._serve = importlib.import_module(request["module"]).serve
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a descriptor a process
        for path in (request["socket"], request["filling"]):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        filling = os.open(request["filling"], flags, 0o600)
        os.write(filling, _EMPTY_PROGRESS)
        reader, self._begin = os.pipe()
        self._kept = {
            "directory": os.dup(directory), "listener": _listen(request["socket"]),
            "begin": reader, "state": os.memfd_create("pages"), "life": os.pidfd_open(os.getpid()),
            "filling": filling,
        }  # fmt: skip
        self._paths = request["filling"], request["socket"]
        self._launch = request.get("options", {}) | self._kept
        self._spawn()
        return self.state()

    @property
    def refused(self) -> bool:
        """Whether the server found that it can't serve: who restores would wait for ever."""
        return bool(self._error)

    def state(self) -> dict[str, Any]:
        """The server's pid (0 when there is none); what it refused to do is an error."""
        return {"ok": True, "pid": self._pid} | ({"error": self._error} if self._error else {})

    def begin(self) -> None:
        """Let the background fill begin; nothing, where there is no server."""
        if self._begin >= 0:
            os.write(self._begin, b"b")

    def on_child(self, pid: int, code: int) -> bool:
        """A child has ended, with this exit code: whether it was the server.

        A killed one is followed by the next.
        """
        if pid != self._pid:
            return False
        self._pid = 0
        if code == 0:
            self._clear()
        elif code == REFUSED:
            self._error = "the page server refused what it was given; see monitor.log"
        else:
            lived = time.monotonic() - self._born
            self._soon_dead = self._soon_dead + 1 if lived < SOON else 0
            self._spawn()
        return True

    def stop(self, *, ended: bool) -> None:
        """The monitor is about to end; so is the server, if the container's processes have `ended`.

        Otherwise it goes on by itself: it holds all descriptors, too.
        """
        if self._kept and ended:
            if self._pid:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(self._pid, signal.SIGKILL)
                    os.waitpid(self._pid, 0)
            self._pid = 0
            self._remove_files()
            self._clear()

    def _clear(self) -> None:
        for descriptor in (*self._kept.values(), self._begin):
            os.close(descriptor)
        self._kept, self._begin = {}, -1

    def _spawn(self) -> None:
        self._starts += 1
        self._pause = min(max(self._soon_dead - 3, 0) * 0.05, 2)
        self._born = time.monotonic() + self._pause
        pid = fork_sharing_files()
        if pid == 0:
            code = 1
            try:
                code = self._be_server()
            finally:
                os._exit(code)
        self._pid = pid

    def _be_server(self) -> int:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            set_name("migrate-pages")
            time.sleep(self._pause)
            code = int(self._serve(self._launch, self._starts - 1))
            if code == 0:
                self._remove_files()
        except BaseException:  # noqa: BLE001 -- told, and the exit status says the rest
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
            return 1
        return code

    def _remove_files(self) -> None:
        """All is filled. If the monitor is gone, the paths may be another container's by now."""
        filling, listener = self._paths
        with contextlib.suppress(OSError):
            if os.stat(filling).st_ino == os.fstat(self._kept["filling"]).st_ino:
                os.unlink(listener)
                os.unlink(filling)


def _listen(path: str) -> int:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    old_mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(old_mask)
    listener.listen(4)
    return listener.detach()
