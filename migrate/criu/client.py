"""A client of `criu swrk`: one CRIU process, spoken to over a socket (CRIU, criu/cr-service.c).

Messages are protobuf `criu_req` and `criu_resp` (images/rpc.proto), one a SEQPACKET packet.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from migrate.criu.errors import CriuDied, CriuFailed
from migrate.criu.provide import criu_binary

Notify = Callable[[str, int], None]
RECEIVE_LIMIT = 1 << 20
DESCRIPTOR_LIMIT = 4  # with one message; CRIU sends one
END_LIMIT = 5.0  # seconds that CRIU may take to end after we hung up
SHIELDED_FROM = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
SEIZE_LIMIT = 10  # seconds that CRIU may take to seize all tasks, as long as its default


def swrk_arguments(descriptor: int) -> list[str]:
    """The command line of a CRIU that serves one client on an inherited descriptor."""
    return [str(criu_binary()), "swrk", str(descriptor)]


class Swrk:
    """One CRIU process at the other end of `channel`; serves one request, then ends."""

    def __init__(
        self, channel: socket.socket, pid: int, process: subprocess.Popen[bytes] | None = None
    ) -> None:
        """`pid` is CRIU's; `process` the same, if it is a child of ours. Raises CriuDied."""
        self._channel = channel
        # The tasks that CRIU forks hold its end of the channel, too: its death is not its end.
        try:
            self._life = os.pidfd_open(pid)
        except ProcessLookupError as error:
            raise CriuDied("criu died at its start", cause="it was killed, or crashed") from error
        self.process = process
        self.received: list[int] = []
        """Descriptors that came with notifications (orphan-pts-master); `close` closes them."""

    def request(self, kind: str, options: Any, notify: Notify | None, limit: float) -> Any:
        """Send one request and serve its notifications; the successful response.

        `kind` is DUMP, RESTORE, PRE_DUMP or CHECK. `notify(script, pid)` may raise: CRIU is told
        to give up, and the exception goes on. Raises CriuFailed (with the first error of the log)
        and CriuDied. `limit` is in seconds, for each silence of CRIU.
        """
        from pycriu import rpc_pb2 as rpc

        message = rpc.criu_req(type=getattr(rpc, kind), opts=options)
        raised: Exception | None = None
        try:
            self._channel.send(message.SerializeToString())
            while True:
                response = rpc.criu_resp()
                data = self._receive(limit)
                if not data:
                    raise CriuDied(
                        f"criu died during {kind.lower()}",
                        cause="it was killed, or it crashed; its log is named in the error above",
                    )
                response.ParseFromString(data)
                if response.type != rpc.NOTIFY:
                    break
                answer = rpc.criu_req(type=rpc.NOTIFY, notify_success=True)
                try:
                    if notify and raised is None:
                        notify(response.notify.script, response.notify.pid)
                except Exception as error:  # noqa: BLE001 -- kept, and raised when CRIU has ended
                    raised = error
                    answer.notify_success = False
                self._channel.send(answer.SerializeToString())
        except TimeoutError as error:
            raise CriuDied(f"criu did not answer for {limit:g} s") from error
        except ConnectionError as error:
            raise CriuDied(f"criu died during {kind.lower()}", cause=str(error)) from error
        if raised is not None:
            raise raised
        if not response.success:
            raise CriuFailed(f"criu could not {kind.lower()} the container")
        return response

    def _receive(self, limit: float) -> bytes:
        """The next message, empty when CRIU is dead; raises TimeoutError."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._life, select.POLLIN)
        ready = dict(poll.poll(limit * 1000))
        if not ready:
            raise TimeoutError
        if self._channel.fileno() not in ready:
            return b""
        data, descriptors, _flags, _peer = socket.recv_fds(
            self._channel, RECEIVE_LIMIT, DESCRIPTOR_LIMIT, socket.MSG_CMSG_CLOEXEC
        )
        self.received += descriptors
        return data

    def close(self) -> None:
        """Hang up; CRIU ends by itself. A child of ours is reaped, killed if it hangs."""
        self._channel.close()
        while self.received:
            os.close(self.received.pop())
        if self._life < 0:
            return
        if self.process:
            poll = select.poll()
            poll.register(self._life, select.POLLIN)
            poll.poll(END_LIMIT * 1000)
            # Its group, too, before its number is free: a killed CRIU leaves helpers that sleep on.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._life)
        self._life = -1


@contextlib.contextmanager
def swrk(
    environment: dict[str, str] | None = None, passed: Sequence[int] = ()
) -> Iterator[Swrk]:  # fmt: skip
    """A CRIU process that is a child of this one, with this environment if one is given.

    It inherits the descriptors `passed` under their numbers.
    pycriu takes 0.1 s to load: it is loaded here, before anybody freezes anything.
    """
    import pycriu.rpc_pb2  # noqa: F401 -- see above

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = _start_shielded(theirs.fileno(), environment, passed)
    client = Swrk(ours, process.pid, process)
    try:
        yield client
    finally:
        client.close()


def _start_shielded(
    descriptor: int, environment: dict[str, str] | None, passed: Sequence[int]
) -> subprocess.Popen[bytes]:  # fmt: skip
    """CRIU, out of reach of what ends a service or a session, and of the out-of-memory killer.

    A dump that is cut off can take a task with it (migrate/checkpoint/dump.py); a few milliseconds
    later it is at its end, whoever asked for it. Only SIGKILL still gets through.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SHIELDED_FROM)
    try:
        process = subprocess.Popen(
            swrk_arguments(descriptor), pass_fds=(descriptor, *passed), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment,
        )  # fmt: skip
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with contextlib.suppress(OSError):  # without CAP_SYS_RESOURCE, or it has ended
        Path(f"/proc/{process.pid}/oom_score_adj").write_text("-1000")
    return process


def base_options(images: Path, log: str) -> Any:
    """`criu_opts` with what every request of ours has in common."""
    from pycriu import rpc_pb2 as rpc

    options = rpc.criu_opts(images_dir_fd=-1, log_level=4 if os.environ.get("MIGRATE_DEBUG") else 2)
    options.images_dir = str(images)
    options.log_file = log
    options.tcp_established = True
    options.tcp_skip_in_flight = True
    options.file_locks = True
    options.link_remap = True
    options.orphan_pts_master = True
    options.notify_scripts = True
    options.ghost_limit = 1 << 30
    options.timeout = SEIZE_LIMIT
    options.network_lock = rpc.SKIP
    options.manage_cgroups = True
    options.manage_cgroups_mode = rpc.IGNORE
    return options


def close_connections(options: Any) -> None:
    """Let open TCP connections be closed ones in the copy (CRIU, Documentation/criu.txt)."""
    options.tcp_established = False
    options.tcp_close = True


def wait_until_gone(pid: int, limit: float) -> bool:
    """Whether the process ends within `limit` seconds."""
    deadline = time.monotonic() + limit
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
