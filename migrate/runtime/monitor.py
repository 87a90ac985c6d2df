"""The monitor: one small process a container, parent of its init, that outlives every command.

It keeps the log and the exit code, and answers on a control socket. It imports the standard library
and kernel wrappers only, so that it stays small and survives upgrades of what stands above it.

Control socket: SOCK_SEQPACKET, one JSON object a packet, descriptors by SCM_RIGHTS:
`{"do": "ping"}`; `{"do": "wait"}` (answered when init has ended: `{"status": n}`; with
`"removes": true` the caller removes the container then, before it hangs up; with `"output": true`
it is told `{"output": true}` whenever the log has grown);
`{"do": "drain"}` (all output so far is in the log); `{"do": "criu", "argv": [...], "inherit": n}`
with descriptors (starts CRIU as a child, the passed descriptors at numbers 10.. and the write ends
of the log pipes behind them, with what `"environment"` adds, if it is there; answers
`{"pid", "descriptors": [...]}`); `{"do": "adopt", "pid": n}` (a restored init);
`{"do": "attach", "size": [rows, columns]}` (answers `{"terminal", "input"}`; from then on the
connection carries output and input, see `attachments`); `{"do": "terminal"}` with a descriptor (the
other end of a restored terminal); `{"do": "unread"}` and `{"do": "type"}` with a file's descriptor
(write into it what a frozen container has not read of its input; type what is in it);
`{"do": "leave"}` (the monitor ends without recording an exit);
`{"do": "pages", "module", "socket", "filling", "options"}` with a directory (starts the page
server, see `pagekeeper`; answers `{"pid"}`); `{"do": "pages"}` (its state); `{"do": "fill"}` (its
background fill may begin).
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import time

from migrate.kernel.bare import accept, contextlib, json, signal, socket
from migrate.kernel.files import write_atomically
from migrate.kernel.namespaces import (
    CLONE_NEWPID,
)  # fmt: skip
from migrate.kernel.processes import fork_into, set_child_subreaper
from migrate.runtime.again import see_to_restart
from migrate.runtime.criustart import be_criu
from migrate.runtime.first import be_first
from migrate.runtime.init import EXIT_SETUP
from migrate.runtime.streams import Streams
from migrate.runtime.watched import Watch

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any

    from migrate.runtime.pagekeeper import PageKeeper

FIRST_DESCRIPTOR = 10
PACKET_LIMIT = 65536
REMOVAL_TIME = 0.1
"""Seconds in which who has waited for the end may remove the container; then a child sees to it."""
_GROWN = b'{"output": true}'
_SIOCOUTQ = 0x5411  # include/uapi/linux/sockios.h: bytes that were sent and not read
Launch = dict[str, "Any"]


class Monitor:
    """State of one monitor; `launch` is what `create` or `restore` wrote to its stdin."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.init = 0
        self.status: int | None = None
        self.leaving = False
        self._born = time.monotonic()
        self._criu: set[int] = set()
        self._pages: PageKeeper | None = None
        if launch["mode"] != "create":  # now, not later: then it might be another version's
            from migrate.runtime.pagekeeper import PageKeeper

            self._pages = PageKeeper()
        self._waiting: list[socket.socket] = []
        self._remover: socket.socket | None = None
        self._listeners: list[socket.socket] = []
        self._watch = Watch()
        self._early: dict[int, int] = {}
        self._streams = Streams(launch, self._watch, self._tell_growth)

    def run(self) -> None:
        """Serve until init has ended and everybody who waited knows, or until `leave`."""
        wake_reader, wake_writer = os.pipe()
        for end in (wake_reader, wake_writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        self._watch.add(wake_reader, self._on_child)
        self._listen()
        tell = {"ready": True, "pid": self.init, "pipes": self._streams.names()}
        if self.launch["mode"] == "create":
            tell |= self._create()
        _answer_launcher(tell)
        if "error" in tell:
            return
        while self.status is None and not self.leaving:
            for entry in self._watch.ready(self._streams.attached.limit()):
                if entry in self._watch:  # none before it has dropped it
                    entry.call()
            self._streams.attached.drop_stuck()
        self._finish()

    def _listen(self) -> None:
        path = self.launch["socket"]
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        old_mask = os.umask(0o177)
        listener.bind(path)
        os.umask(old_mask)
        listener.listen(16)
        listener.setblocking(False)
        self._watch.add(listener, self._on_connection)

    def _create(self) -> Launch:
        """Fork init into its namespaces; the launcher's answer, with pid or error."""
        reader, writer = os.pipe()
        ours, console = self._console()
        pid = self._fork_init()
        if pid == 0:
            os.close(reader)
            be_first(self.launch, self._streams.of_container(), console, writer)
        os.close(writer)
        report = b""
        while chunk := os.read(reader, 4096):
            report += chunk
        os.close(reader)
        for line in report.splitlines():
            message = json.loads(line)
            if "error" in message:
                return dict(message)
        if b"ready" not in report:
            return {"step": "init", "error": "it ended without a word"}
        self.init = pid
        self._streams.handed_over()
        if ours and console:
            console.close()
            self._take_terminal(ours)
        return {"pid": self.init}

    def _fork_init(self) -> int:
        flags = CLONE_NEWPID if "pid" in self.launch["namespaces"] else 0
        if not self.launch.get("userns"):
            return fork_into(flags)
        from migrate.runtime.mapped import fork_mapped

        return fork_mapped(self.launch, self._streams.of_container(), flags)

    def _console(self) -> tuple[socket.socket | None, socket.socket | None]:
        """Two ends of a way for init to send its terminal's other end; none without a terminal."""
        if not self._streams.terminal:
            return None, None
        from migrate.runtime import terminal  # noqa: F401 -- init can load nothing any more

        return socket.socketpair()

    def _take_terminal(self, channel: socket.socket) -> None:
        from migrate.runtime.terminal import receive_terminal

        master = receive_terminal(channel)
        channel.close()
        if master is not None:
            self._streams.take_terminal(master)

    def _tell_growth(self) -> None:
        for listener in self._listeners:
            # Who has not read the last one knows already; its queue has to take the end as well.
            with contextlib.suppress(OSError):
                if not any(fcntl.ioctl(listener, _SIOCOUTQ, bytes(4))):
                    listener.send(_GROWN, socket.MSG_DONTWAIT)

    def _on_child(self, reader: Any, _argument: None) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(reader, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if self._pages and self._pages.on_child(pid, code):
                if self._pages.refused:
                    self._kill_criu()
                continue
            if pid == self.init:
                self.status = 128 - code if code < 0 else code
            elif not self.init:
                self._early[pid] = 128 - code if code < 0 else code
            self._criu.discard(pid)

    def _on_connection(self, listener: Any, _argument: None) -> None:
        self._watch.add(accept(listener), self._on_packet)

    def _on_packet(self, connection: Any, _argument: None) -> None:
        descriptors: list[int] = []
        try:
            data, ancillary, _flags, _peer = connection.recvmsg(PACKET_LIMIT, 4096)
            for level, kind, raw in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    descriptors += memoryview(raw[: len(raw) & ~3]).cast("i")
            if not data:
                raise ConnectionResetError
            answer = self._obey(connection, json.loads(data), descriptors)
            if answer is not None:
                connection.send(json.dumps(answer).encode())
        except (OSError, ValueError, KeyError, TypeError) as error:
            if not isinstance(error, ConnectionError):
                with contextlib.suppress(OSError):
                    connection.send(json.dumps({"error": str(error)}).encode())
            self._watch.drop(connection)
            if connection in self._waiting:
                self._waiting.remove(connection)
            if connection in self._listeners:
                self._listeners.remove(connection)
            connection.close()
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _obey_about_pages(self, request: Launch, descriptors: list[int]) -> Launch:
        """Only a restored container has pages that may lack."""
        if self._pages is None:
            if descriptors:
                raise ValueError("a container that was not restored has no page server")
            return {"ok": True, "pid": 0}
        if request["do"] == "fill":
            self._pages.begin()
        elif descriptors:
            return self._pages.start(request, descriptors[0])
        return self._pages.state()

    def _obey(self, connection: Any, request: Launch, descriptors: list[int]) -> Launch | None:
        match request["do"]:
            case "wait":
                self._waiting.append(connection)
                if request.get("removes"):
                    self._remover = connection
                if request.get("output"):
                    self._listeners.append(connection)
                    self._tell_growth()  # it may have grown before this was heard
                return None
            case "criu":
                added = request.get("environment", {})
                return self._start_criu(request["argv"], {**os.environ, **added}, descriptors)
            case "adopt":
                self.init = int(request["pid"])
                self.status = self._early.get(self.init)
                self._streams.handed_over()
            case "attach":
                self._streams.attach(connection, request)
                return None
            case "terminal" | "unread" | "type" | "drain" as about:
                self._streams.obey(about, *descriptors)
            case "pages" | "fill":
                return self._obey_about_pages(request, descriptors)
            case "leave":
                self.leaving = True
            case "ping":
                pass
            case other:
                raise ValueError(f"unknown request {other!r}")
        return {"ok": True, "pid": self.init, "pipes": self._streams.names()}

    def _start_criu(
        self, argv: list[str], environment: dict[str, str], descriptors: list[int]
    ) -> Launch:  # fmt: skip
        """CRIU as a child of this process, so that what it restores as its sibling is, too."""
        if self.launch.get("userns"):
            from migrate.runtime.mapped import give_streams

            give_streams(self.launch, self._streams.of_container())
        passed = [*descriptors, *(end for end in self._streams.of_container() if end >= 0)]
        numbers = list(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + len(passed)))
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                be_criu(self.launch, passed, numbers, argv, environment)
            os._exit(EXIT_SETUP)
        self._criu.add(pid)
        return {"ok": True, "pid": pid, "descriptors": numbers}

    def _kill_criu(self) -> None:
        """Its restore can't come to an end; who asked for it ends what it has made."""
        for pid in self._criu:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _finish(self) -> None:
        # With the init of a pid namespace all its processes have ended (pid_namespaces(7)).
        ended = self.status is not None and "pid" in self.launch["namespaces"]
        if self._pages:
            self._pages.stop(ended=ended or not self.init)
        self._streams.finish()
        if self.status is not None:
            self._hear_who_has_come()
            record = json.dumps({"status": self.status}).encode()
            with contextlib.suppress(OSError):
                durable = not self.launch.get("at_exit")
                write_atomically(self.launch["exit"], record, durable=durable)
            for connection in self._waiting:
                with contextlib.suppress(OSError):
                    connection.send(record)
            if self.launch["restart"]:
                see_to_restart(self.launch, self.status, time.monotonic() - self._born)
            if self.launch.get("at_exit") and not self._is_removed() and os.fork() == 0:
                self._see_to_removal(self.launch["at_exit"])
        with contextlib.suppress(OSError):
            os.unlink(self.launch["socket"])

    def _hear_who_has_come(self) -> None:
        """Whoever connected before the end gets an answer, though it came in the same moment."""
        for _round in range(64):
            ready = [entry for entry in self._watch.ready(0)
                     if entry.handler in {self._on_connection, self._on_packet}]  # fmt: skip
            if not ready:
                return
            for entry in ready:
                entry.call()

    def _is_removed(self) -> bool:
        """Whether who has waited for the end is through with the removal: most often it is at once.

        Nobody waits for our own end meanwhile but who holds the container's lock.
        """
        if self._remover in self._waiting:
            select.select([self._remover], [], [], REMOVAL_TIME)
        return not os.path.exists(self.launch["record"])

    def _see_to_removal(self, argv: list[str]) -> None:
        """A child's part: who waits for the end may remove the container, and die before it has."""
        with contextlib.suppress(BaseException):
            # Not by the same opening: that is locked for as long as there is a monitor.
            os.dup2(os.open("/proc/self/fd/2", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), 2)
            if self._remover in self._waiting:
                self._remover.setblocking(True)
                while self._remover.recv(PACKET_LIMIT):
                    pass
            if os.path.exists(self.launch["record"]):
                os.closerange(3, 4096)
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)
                os.execv(argv[0], argv)
        os._exit(0)


def _answer_launcher(message: Launch) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(message).encode() + b"\n")
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 0)
    os.close(null)


def main() -> None:
    """A new interpreter's part: read the launch message from stdin, answer on stdout, serve."""
    serve(json.loads(sys.stdin.buffer.read()))


def serve(launch: Launch) -> None:
    """Be the monitor: create or await init, answer on stdout, and stay until init has ended."""
    set_child_subreaper()
    os.chdir("/")
    try:
        Monitor(launch).run()
    except OSError as error:
        _answer_launcher({"step": "monitor", "error": str(error)})
