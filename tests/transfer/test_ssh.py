from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from migrate.errors import MigrateError
from migrate.transfer import ssh_config
from migrate.transfer.errors import (
    AgentMissing,
    ArgumentsInvalid,
    AuthenticationFailed,
    ConnectionLost,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    ProtocolError,
    SshConfigUnsupported,
)
from migrate.transfer.remote import agent_command_line
from migrate.transfer.ssh import connect, open_session
from migrate.transfer.ssh_config import CONFIG_VARIABLE, settings_for
from migrate.transfer.ssh_errors import classify
from migrate.transfer.target import Target
from tests.ports import held_port

from .conftest import SshServer


def test_an_agent_over_ssh(far: SshServer) -> None:
    with connect(far.target, required=("test",)) as connection:
        seen: list[str] = []
        echo = connection.client.call("echo", text="hi", on_event=lambda n, _: seen.append(n))
        assert (echo, seen) == ("hi", ["heard"])
        with pytest.raises(ArgumentsInvalid):
            connection.client.call("echo")
        big = "x" * 5_000_000
        assert connection.client.call("echo", text=big, timeout=60) == big


def test_commands(far: SshServer) -> None:
    with open_session(far.target) as connection:
        assert connection.run("cat; echo oops >&2; exit 3", stdin=b"in") == (3, b"in", b"oops\n")
        big = os.urandom(3_000_000)
        assert connection.run("cat", stdin=big) == (0, big, b"")
        assert connection.run("true", stdin=big)[0] == 0
        start = time.monotonic()
        with pytest.raises(ConnectionLost):
            connection.run("sleep 30", timeout=0.3)
        assert time.monotonic() - start < 25


def test_the_far_end_is_cut(far: SshServer) -> None:
    with connect(far.target) as connection:
        connection.transport.sock.close()
        with pytest.raises(ConnectionLost, match="echo"):
            connection.client.call("echo", text="x", timeout=10)


def failing(target: Target, **options: str) -> MigrateError:
    with pytest.raises(MigrateError) as caught:
        connect(target, **options)  # type: ignore[arg-type]
    assert caught.value.mend
    return caught.value


@pytest.mark.parametrize("openssh", [True, False])
def test_ways_not_to_get_in(
    far: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, openssh: bool
) -> None:
    if not openssh:
        monkeypatch.setattr("shutil.which", lambda _name: None)
    with held_port() as dead:
        assert type(failing(Target("127.0.0.1", "root", dead))) is HostUnreachable
    assert type(failing(Target("no-such-host.invalid"))) is HostUnreachable
    config = far.write_config(tmp_path / "config", identity="other_key")
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    assert type(failing(far.target)) is AuthenticationFailed
    far.write_config(config, identity="no_such_key")
    assert type(failing(far.target)) is AuthenticationFailed
    known = tmp_path / "known_hosts"
    config.write_text(f"UserKnownHostsFile {known}\nGlobalKnownHostsFile /dev/null\n")
    known.write_text("")
    error = failing(far.target)
    assert type(error) is HostKeyUnknown
    assert "ssh-keyscan" in error.mend
    other = (far.directory / "other_key.pub").read_text()
    known.write_text(f"[127.0.0.1]:{far.port} {other}")
    assert type(failing(far.target)) is HostKeyChanged


def test_no_agent_there(far: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIGRATE_REMOTE_COMMAND")
    monkeypatch.setattr("sys.prefix", "/nonexistent")
    error = failing(far.target, command="/nonexistent/migrate")
    assert type(error) is AgentMissing
    assert "migrate host setup" in error.mend


def test_something_else_there(far: SshServer, tmp_path: Path) -> None:
    chatty = tmp_path / "chatty"
    chatty.write_text("#!/bin/sh\necho Welcome to this host\nsleep 1\n")
    chatty.chmod(0o755)
    assert type(failing(far.target, command=str(chatty))) is ProtocolError
    dying = tmp_path / "dying"
    dying.write_text("#!/bin/sh\necho broken python >&2\nexit 1\n")
    dying.chmod(0o755)
    error = failing(far.target, command=str(dying))
    assert type(error) is ConnectionLost
    assert "broken python" in error.cause


def test_a_server_that_never_speaks(far: SshServer) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(HostUnreachable):
        open_session(Target("127.0.0.1", None, server.getsockname()[1]), timeout=0.5)


def test_a_jump_host(far: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = far.write_config(
        tmp_path / "config",
        extra=f"Host behind\n HostName 127.0.0.1\n Port {far.port}\n User root\n"
        f" ProxyJump root@front\nHost front\n HostName 127.0.0.1\n Port {far.port}\n",
    )
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    with connect(Target("behind")) as connection:
        assert connection.client.call("echo", text="x") == "x"


@pytest.mark.parametrize("line", ["ProxyJump a,b", "ProxyCommand nc %h %p"])
def test_configurations_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    (tmp_path / "config").write_text(f"Host *\n {line}\n")
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "config"))
    with pytest.raises(SshConfigUnsupported):
        settings_for(Target("somewhere"))


@pytest.mark.parametrize("openssh", [True, False])
def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, openssh: bool) -> None:
    if not openssh:
        monkeypatch.setattr("shutil.which", lambda _name: None)
    for name in ("key", "hosts1", "hosts2"):
        (tmp_path / name).write_text("")
    (tmp_path / "config").write_text(
        f"Host short\n HostName long.example\n User someone\n Port 2200\n"
        f" IdentityFile {tmp_path}/key\n HostKeyAlias alias\n"
        f" UserKnownHostsFile {tmp_path}/hosts1 {tmp_path}/hosts2\n"
    )
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "config"))
    found = settings_for(Target("short", port=2201))
    assert (found.host, found.user, found.port) == ("long.example", "someone", 2201)
    assert found.host_key_name == "alias"
    assert found.identity_files[0] == tmp_path / "key"
    assert found.known_hosts[:2] == (tmp_path / "hosts1", tmp_path / "hosts2")
    assert settings_for(Target("other", "me")).user == "me"


def test_a_broken_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text("Nonsense yes\n")
    monkeypatch.setenv(ssh_config.CONFIG_VARIABLE, str(tmp_path / "config"))
    with pytest.raises(SshConfigUnsupported, match="nonsense"):
        settings_for(Target("x"))


def test_the_lookup_line_is_one_line(tmp_path: Path) -> None:
    program = tmp_path / "a b" / "migrate"
    line = agent_command_line(str(program), ("--data", "0f"))
    assert "\n" not in line
    assert "!" not in line
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho found: $*\n")
    program.chmod(0o755)
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "found: agent --data 0f\n")


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        ("ssh: Could not resolve hostname x: Name or service not known", HostUnreachable),
        ("ssh: connect to host x port 22: No route to host", HostUnreachable),
        ("kex_exchange_identification: read: Connection reset by peer", HostUnreachable),
        ("root@x: Permission denied (publickey,password).", AuthenticationFailed),
        ("Received disconnect: Too many authentication failures", AuthenticationFailed),
        ("No ED25519 host key is known for x and you have requested strict", HostKeyUnknown),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
         HostKeyChanged),
        ("migrate-agent-missing: tried a b", AgentMissing),
        ("/root/.ssh/config: line 1: Bad configuration option: x", SshConfigUnsupported),
        ("Timeout, server x not responding.", ConnectionLost),
        ("", ConnectionLost),
    ],
)  # fmt: skip
def test_stderr_in_words(stderr: str, kind: type[MigrateError]) -> None:
    error = classify(stderr, Target("x"), "a test")
    assert type(error) is kind
    assert error.mend
