"""A real etcd on loopback for one test or many, ended with it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.ports import free_ports

ETCD = shutil.which("etcd")


class EtcdServer:
    """One member; `options` are etcd's. `stop` and `start` keep its data."""

    def __init__(
        self, directory: Path, *options: str, scheme: str = "http", name: str = "one",
        ports: tuple[int, int] | None = None, cluster: str = "",
    ) -> None:  # fmt: skip
        assert ETCD, "etcd is missing: make setup installs Debian's etcd-server"
        self._port, self._peer_port = ports or tuple(free_ports(2))
        self._directory, self._options, self._scheme = directory, options, scheme
        self._name, self._cluster = name, cluster or f"{name}={_peer(self._peer_port)}"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(mode=0o700, parents=True)

    @classmethod
    def members(cls, directory: Path, count: int) -> list[EtcdServer]:
        """The members of one cluster, to be launched together."""
        ports = free_ports(2 * count)
        pairs = list(zip(ports[::2], ports[1::2], strict=True))
        names = [f"m{number}" for number in range(count)]
        cluster = ",".join(
            f"{name}={_peer(peer)}" for name, (_, peer) in zip(names, pairs, strict=True)
        )
        return [
            cls(directory / name, name=name, ports=pair, cluster=cluster)
            for name, pair in zip(names, pairs, strict=True)
        ]

    @property
    def url(self) -> str:
        return f"{self._scheme.replace('http', 'etcd')}://127.0.0.1:{self._port}"

    def start(self) -> None:
        self.launch()
        self.await_answer()

    def launch(self) -> None:
        assert ETCD
        client = f"{self._scheme}://127.0.0.1:{self._port}"
        peer = _peer(self._peer_port)
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [ETCD, "--data-dir", self._directory / "data", "--name", self._name,
                 "--listen-client-urls", client, "--advertise-client-urls", client,
                 "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", self._cluster, *self._options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def await_answer(self) -> None:
        """Until it listens, which it does when it has a leader."""
        assert self._process
        deadline = time.monotonic() + 60
        while not self._listens():
            ended = self._process.poll() is not None
            assert not ended and time.monotonic() < deadline, self.log()  # noqa: PT018
            time.sleep(0.05)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), 1).close()
        except OSError:
            return False
        return True

    def stop(self, *, kill: bool = False) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill() if kill else process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def pause(self, number: int) -> None:
        """Send it SIGSTOP or SIGCONT."""
        assert self._process
        self._process.send_signal(number)

    def log(self) -> str:
        return (self._directory / "log").read_text(errors="replace")[-3000:]


def _peer(port: int) -> str:
    return f"http://127.0.0.1:{port}"
