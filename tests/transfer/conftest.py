"""A real sshd on a high port of 127.0.0.1, with keys, known_hosts and configuration of its own."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from migrate.transfer.receiver import make_root
from migrate.transfer.ssh_config import CONFIG_VARIABLE
from migrate.transfer.target import Target
from tests.engine import eventually
from tests.hosts.sshd import no_penalties
from tests.ports import held_port

SSHD = "/usr/sbin/sshd"
PROJECT = Path(__file__).resolve().parents[2]


@dataclass
class SshServer:
    directory: Path
    port: int
    base: Path
    command: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> Target:
        return Target("127.0.0.1", "root", self.port)

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    def write_config(self, path: Path, *, identity: str = "user_key", extra: str = "") -> Path:
        path.write_text(
            f"Host *\n IdentityFile {self.directory / identity}\n IdentitiesOnly yes\n"
            f" IdentityAgent none\n UserKnownHostsFile {self.known_hosts}\n"
            f" GlobalKnownHostsFile /dev/null\n{extra}"
        )
        return path

    def new_root(self) -> tuple[str, Path]:
        token = os.urandom(16).hex()
        return token, make_root(self.base, token)


def make_key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    if not Path(SSHD).exists() or os.geteuid() != 0:
        pytest.skip("needs sshd and root")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with held_port() as port:
        yield from serving(tmp_path_factory.mktemp("sshd"), port)


def serving(directory: Path, port: int) -> Iterator[SshServer]:
    host_key = make_key(directory / "host_key")
    (directory / "authorized_keys").write_text(make_key(directory / "user_key"))
    make_key(directory / "other_key")
    base = directory / "base"
    base.mkdir()
    command = directory / "migrate"
    command.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={shlex.quote(str(PROJECT))} "
        f"FAR_END_BASE={shlex.quote(str(base))}\n"
        f'exec {sys.executable} {Path(__file__).with_name("far_end.py")} "$@"\n'
    )
    command.chmod(0o755)
    server = SshServer(directory, port, base, command)
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {host_key}")
    config = directory / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1\nPort {server.port}\nHostKey {directory / 'host_key'}\n"
        f"AuthorizedKeysFile {directory / 'authorized_keys'}\nPermitRootLogin yes\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PidFile none\nMaxStartups 100\nLogLevel ERROR\n{no_penalties()}"
    )
    log = (directory / "log").open("wb")
    server.process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=log)
    try:
        assert eventually(lambda: listens(port)), (directory / "log").read_text()
        yield server
    finally:
        server.process.terminate()
        server.process.wait()
        log.close()


@pytest.fixture
def far(ssh_server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SshServer:
    """The server, with this process's SSH configuration pointing at it."""
    config = ssh_server.write_config(tmp_path / "ssh_config")
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    monkeypatch.setenv("MIGRATE_REMOTE_COMMAND", str(ssh_server.command))
    return ssh_server
