"""The control connection: SSH by paramiko, with the agent behind it."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from migrate.errors import MigrateError
from migrate.transfer.client import AgentClient
from migrate.transfer.errors import ConnectionLost, HostUnreachable, ProtocolError
from migrate.transfer.remote import MISSING_STATUS, agent_command_line
from migrate.transfer.ssh_config import SshSettings, settings_for
from migrate.transfer.ssh_errors import (
    agent_missing,
    authentication_failed,
    classify,
    host_key_changed,
    host_key_unknown,
)
from migrate.transfer.target import Target

if TYPE_CHECKING:
    import paramiko

CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS = 4
DEAD_PEER_SECONDS = 12  # with the keepalive before it: noticed after at most 16 seconds
RUN_SECONDS = 600.0
OUTPUT_LIMIT = 16 * 1024 * 1024
_STDERR_TAIL = 64 * 1024
_CHUNK = 64 * 1024


class Connection:
    """An SSH connection; commands and at most one agent run over it. A context manager."""

    def __init__(
        self, target: Target, ssh: paramiko.SSHClient, above: Connection | None = None
    ) -> None:
        self.target = target
        self._ssh = ssh
        self._above = above  # the jump host's connection, which must live as long as ours
        self._client: AgentClient | None = None

    @property
    def transport(self) -> paramiko.Transport:
        """paramiko's transport; raises ConnectionLost once the connection has ended."""
        transport = self._ssh.get_transport()
        if transport is None or not transport.is_active():
            raise ConnectionLost(f"the connection to {self.target} has ended")
        return transport

    @property
    def client(self) -> AgentClient:
        """The agent's client, once `start_agent` (or `connect`) has made it."""
        if self._client is None:
            raise ConnectionLost(f"no agent was started at {self.target}")
        return self._client

    def start_agent(
        self, command: str | None = None, *, required: tuple[str, ...] = ()
    ) -> AgentClient:
        """Start the agent and greet it; raises AgentMissing, AgentIncompatible, ProtocolError."""
        channel = self.open_channel(agent_command_line(command))
        tail = StderrTail(channel)
        client = AgentClient(channel, peer=str(self.target))
        try:
            client.handshake(required=required)
        except (ConnectionLost, ProtocolError) as error:
            raise _explain_start(self.target, channel, tail, error) from error
        self._client = client
        return client

    def open_channel(self, command_line: str) -> paramiko.Channel:
        """A session in which the command line runs; raises ConnectionLost."""
        import paramiko

        try:
            channel = self.transport.open_session(timeout=CONNECT_SECONDS)
            channel.exec_command(command_line)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise ConnectionLost(
                f"{self.target} opens no session for a command", cause=str(error)
            ) from error
        return channel

    def run(
        self, command: str, *, stdin: bytes = b"", timeout: float = RUN_SECONDS
    ) -> tuple[int, bytes, bytes]:
        """Run a shell command there: its exit status, output and error output.

        Of each output the first 16 MiB are kept. Raises ConnectionLost when the connection or
        the time limit (seconds) ends first.
        """
        channel = self.open_channel(command)
        out, err = bytearray(), bytearray()
        threads = [
            _start(lambda: _drain(channel.recv, out)),
            _start(lambda: _drain(channel.recv_stderr, err)),
            _start(lambda: _feed(channel, stdin)),
        ]
        deadline = time.monotonic() + timeout
        try:
            for thread in threads[:2]:
                thread.join(max(0.0, deadline - time.monotonic()))
            left = max(0.1, min(5.0, deadline - time.monotonic()))
            if threads[0].is_alive() or not channel.status_event.wait(left):
                raise ConnectionLost(
                    f"a command at {self.target} did not end in {timeout:g} seconds",
                    cause=command[:200],
                )
            status = channel.exit_status
        finally:
            channel.close()
        if status < 0:
            raise ConnectionLost(f"the connection to {self.target} ended during a command")
        return status, bytes(out), bytes(err)

    def close(self) -> None:
        """End the agent and the connection. Safe to repeat."""
        if self._client is not None:
            self._client.close()
        self._ssh.close()
        if self._above is not None:
            self._above.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StderrTail:
    """Reads a channel's error output, so that it never fills the window, and keeps its end."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._tail = bytearray()
        self._channel = channel
        self._thread = _start(self._read)

    def text(self, wait: float = 1.0) -> str:
        """What there is, after at most `wait` seconds for the end of it."""
        self._thread.join(wait)
        return bytes(self._tail).decode(errors="replace")

    def _read(self) -> None:
        while data := _receive(self._channel.recv_stderr):
            self._tail += data
            del self._tail[:-_STDERR_TAIL]


def open_session(target: Target, *, timeout: float = CONNECT_SECONDS) -> Connection:
    """An authenticated SSH connection without an agent.

    Honours the SSH configuration (migrate.transfer.ssh_config). Raises HostUnreachable,
    HostKeyUnknown, HostKeyChanged, AuthenticationFailed, SshConfigUnsupported.
    """
    settings = settings_for(target)
    above = open_session(settings.proxy_jump, timeout=timeout) if settings.proxy_jump else None
    try:
        sock = _hop(above, settings, target) if above else _dial(settings, target, timeout)
        return Connection(target, _authenticate(sock, settings, target, timeout), above)
    except BaseException:
        if above is not None:
            above.close()
        raise


def connect(
    target: Target,
    *,
    command: str | None = None,
    required: tuple[str, ...] = (),
    timeout: float = CONNECT_SECONDS,
) -> Connection:
    """`open_session` with a greeted agent; `command` is migrate's path there, if not the usual.

    Raises what `open_session` does, AgentMissing, AgentIncompatible and ProtocolError.
    """
    connection = open_session(target, timeout=timeout)
    try:
        connection.start_agent(command, required=required)
    except BaseException:
        connection.close()
        raise
    return connection


def _dial(settings: SshSettings, target: Target, timeout: float) -> socket.socket:
    try:
        sock = socket.create_connection((settings.host, settings.port), timeout)
    except socket.gaierror as error:
        raise HostUnreachable(
            f"the name {settings.host} can't be resolved",
            cause=str(error),
            mend="check the spelling, ~/.ssh/config, DNS and /etc/hosts",
        ) from error
    except OSError as error:
        cause = f"no answer in {timeout:g} seconds" if isinstance(error, TimeoutError) else error
        raise HostUnreachable(
            f"{target} can't be reached at {settings.host} port {settings.port}", cause=str(cause)
        ) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # paramiko sends keepalives but waits for no answer; the kernel notices that nobody acks them.
    sock.setsockopt(
        socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, struct.pack("I", DEAD_PEER_SECONDS * 1000)
    )
    return sock


def _hop(above: Connection, settings: SshSettings, target: Target) -> paramiko.Channel:
    import paramiko

    address = (settings.host, settings.port)
    try:
        return above.transport.open_channel(
            "direct-tcpip", address, ("127.0.0.1", 0), timeout=CONNECT_SECONDS
        )
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise HostUnreachable(
            f"{target} can't be reached over the jump host {above.target}", cause=str(error)
        ) from error


def _authenticate(
    sock: socket.socket | paramiko.Channel, settings: SshSettings, target: Target, timeout: float
) -> paramiko.SSHClient:
    import paramiko

    # Its warnings would go to standard error with tracebacks; we tell them as errors of our own.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    ssh = paramiko.SSHClient()
    ssh.set_missing_host_key_policy(_refuse_unknown_keys(target))
    try:
        for path in settings.known_hosts:
            ssh.load_system_host_keys(str(path))
        ssh.connect(
            # With port 22 paramiko looks known_hosts up by exactly this name.
            settings.host_key_name, 22, settings.user, sock=sock,
            key_filename=[str(path) for path in settings.identity_files],  # type: ignore[arg-type]
            allow_agent=settings.use_agent, look_for_keys=False, compress=False,
            timeout=timeout, banner_timeout=timeout, auth_timeout=timeout,
        )  # fmt: skip
    except BaseException as error:
        ssh.close()
        sock.close()
        raise _translate(error, target) from error
    transport = ssh.get_transport()
    assert transport is not None
    transport.set_keepalive(KEEPALIVE_SECONDS)
    return ssh


def _translate(error: BaseException, target: Target) -> BaseException:
    import paramiko

    if isinstance(error, MigrateError) or not isinstance(error, Exception):
        return error
    if isinstance(error, paramiko.BadHostKeyException):
        return host_key_changed(target)
    if isinstance(error, paramiko.AuthenticationException):
        return authentication_failed(target, str(error))
    if isinstance(error, paramiko.SSHException) and "No authentication methods" in str(error):
        return authentication_failed(target, "there is no key file and no SSH agent with a key")
    if isinstance(error, paramiko.SSHException | EOFError | OSError | ValueError):
        return HostUnreachable(
            f"{target} can't be reached by SSH", cause=str(error) or type(error).__name__
        )
    return error


def _refuse_unknown_keys(target: Target) -> paramiko.MissingHostKeyPolicy:
    import paramiko

    class Refuse(paramiko.MissingHostKeyPolicy):
        """RejectPolicy, with an error that says what to do."""

        def missing_host_key(
            self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
        ) -> None:
            raise host_key_unknown(target, f"it shows {key.get_name()} {key.fingerprint}")

    return Refuse()


def _explain_start(
    target: Target, channel: paramiko.Channel, tail: StderrTail, error: MigrateError
) -> MigrateError:
    channel.status_event.wait(2)
    stderr = tail.text()
    known = classify(stderr, target, "the start of the agent")
    if not isinstance(known, ConnectionLost):
        return known
    if channel.exit_status == MISSING_STATUS:
        return agent_missing(target, stderr.strip()[-600:])
    return error if isinstance(error, ProtocolError) else known


def _start(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _receive(receive: Callable[[int], bytes]) -> bytes:
    try:
        return receive(_CHUNK)
    except (OSError, EOFError):
        return b""


def _drain(receive: Callable[[int], bytes], into: bytearray) -> None:
    while data := _receive(receive):
        into += data[: max(0, OUTPUT_LIMIT - len(into))]


def _feed(channel: paramiko.Channel, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            channel.sendall(bytes(view[:_CHUNK]))
            view = view[_CHUNK:]
        channel.shutdown_write()
    except (OSError, EOFError):
        return  # the command ended without reading all of its input: its status tells
