"""One container with the programs that people run, and the clients that they have.

Redis, nginx, PostgreSQL and sshd, all Debian's own, their files bound from the machine's /usr; at
the client's place redis-benchmark, a download, psql inside a transaction, and ssh. None of the
clients connects anew: a connection that ends is an error of theirs.
"""

from __future__ import annotations

import contextlib
import hashlib
import pwd
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.engine import eventually
from tests.evacuate.workloads import nginx, postgres
from tests.evacuate.workloads.workload import Reporter, wait_for_port
from tests.hosts.host import Host
from tests.hosts.redis import MIGRATE
from tests.hosts.redis import PORT as REDIS_PORT
from tests.hosts.sshd import no_penalties
from tests.move.networks.site import Joined

IMAGE, NAME = "programs", "programs"
CONNECTIONS = 50
ECHO = Path(__file__).parent / "programs/sshecho.py"
SSHD = "/etc/sshd_config"
SSHD_SETTINGS = """
HostKey /etc/host_key
AuthorizedKeysFile /etc/authorized_keys
PidFile none
UsePAM no
UseDNS no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
"""
REQUESTS = "100000000"  # of redis-benchmark: more than there is time for


def make_image(shared: Path, host: Host) -> None:
    """Import the image on the host, with keys in it that are made here; the client's in `shared`.

    The target gets it by the move.
    """
    archive = shared / "programs.tar"
    user = pwd.getpwnam(postgres.USER)
    users = "root:x:0:0::/:/bin/sh\nsshd:x:74:74::/run/sshd:/bin/false\n" + postgres.passwd_line()
    groups = f"root:x:0:\nsshd:x:74:\n{postgres.USER}:x:{user.pw_gid}:\n"
    with tarfile.open(archive, "w") as tar:
        nginx.add_skeleton(tar)
        postgres.add_cluster(tar, shared)
        for name, data in (
            ("nginx.conf", nginx.CONFIGURATION.encode()), ("srv/file", nginx.content()),
            ("etc/passwd", users.encode()), ("etc/group", groups.encode()),
            (SSHD[1:], (SSHD_SETTINGS + no_penalties()).encode()),
            ("etc/host_key", _key(shared / "host-key")[0]),
            ("etc/authorized_keys", _key(shared / "client-key")[1]),
        ):  # fmt: skip
            nginx.add_file(tar, name, data, 0o600 if "key" in name else 0o644)
        nginx.add_directory(tar, "run/sshd")
    host.run([MIGRATE, "image", "import", str(archive), IMAGE])


def _key(path: Path) -> tuple[bytes, bytes]:
    """A new key: its private and its public half."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path.read_bytes(), path.with_name(f"{path.name}.pub").read_bytes()


def _script() -> str:
    """All of them as children of one shell."""
    as_user = f"setpriv --reuid {postgres.USER} --regid {postgres.USER} --clear-groups"
    way = as_user if postgres.as_other_user() else f"env LD_PRELOAD={postgres.LIBRARY}"
    return " ".join([
        f"redis-server --port {REDIS_PORT} --protected-mode no --save '' --daemonize no &",
        "nginx -c /nginx.conf -e stderr &",
        f"{way} {postgres.programs()}/postgres -D {postgres.DATA} &",
        f"/usr/sbin/sshd -D -e -f {SSHD} &",
        "wait",
    ])  # fmt: skip


class RealPrograms:
    """The container on a host, and its clients; a context manager, which ends the clients."""

    def __init__(self, host: Host, joined: Joined, shared: Path) -> None:
        self._client: Any = joined.client
        self._address = joined.address
        self._stack = contextlib.ExitStack()
        host.run([
            MIGRATE, "run", "-d", "--name", NAME, *joined.options, "-v", "/usr:/usr:ro",
            "-e", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", IMAGE, "/bin/sh", "-c", _script(),
        ])  # fmt: skip
        for port in (REDIS_PORT, nginx.PORT, postgres.PORT, 22):
            wait_for_port(self._client, joined.address, port)
        try:
            self._start_clients(shared)
        except BaseException:
            self._stack.close()
            raise

    def _start_clients(self, shared: Path) -> None:
        address = self._address
        self._transaction = postgres.HeldTransaction(self._client, address)
        self._stack.callback(self._transaction.kill)
        digest = hashlib.sha256(nginx.content()).hexdigest()
        self._download = self._reporter(
            "download.py", address, str(nginx.PORT), "/file", digest
        )  # fmt: skip
        self._echo = self._reporter(
            str(ECHO), "ssh", "-F", "none", "-i", str(shared / "client-key"),
            "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", f"root@{address}", "cat",
        )  # fmt: skip
        self._load = self._client.popen(
            ["nice", "redis-benchmark", "-h", address, "-p", str(REDIS_PORT),
             "-c", str(CONNECTIONS), "-n", REQUESTS, "-r", "1000", "-d", "64", "-t", "set", "-q"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._stack.callback(self._end_load)
        self._seen = self._redis()
        assert eventually(self._all_are_connected, 30)
        self._connections = self._seen["total_connections_received"]

    def _all_are_connected(self) -> bool:
        """Who asks is a client, too, and the only one that has come since the last look."""
        before, self._seen = self._seen, self._redis()
        more = self._seen["total_connections_received"] - before["total_connections_received"]
        return self._seen["connected_clients"] > CONNECTIONS and more == 1

    def _reporter(self, program: str, *arguments: str) -> Reporter:
        made = Reporter(self._client, program, *arguments)
        self._stack.callback(made.kill)
        return made

    def __enter__(self) -> RealPrograms:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def look(self) -> list[str]:
        """What is wrong so far: every client has gone on since the last look."""
        had, wrong = self._seen, self._transaction.look()
        goes_on = eventually(lambda: self._done_since(had) >= CONNECTIONS)
        if self._load.poll() is not None:
            wrong.append(f"redis-benchmark has ended: {self._load.stderr.read()}")
        if not goes_on or self._seen["total_connections_received"] != self._connections:
            wrong.append(f"redis had {had}, and has {self._seen}")
        for client in (self._download, self._echo):
            wrong += client.mark()["errors"]
        return wrong

    def _done_since(self, had: dict[str, int]) -> int:
        """How many commands redis has carried out since it was `had`."""
        self._seen = self._redis()
        self._connections += 1  # of the one that asked
        return self._seen["total_commands_processed"] - had["total_commands_processed"]

    def _redis(self) -> dict[str, int]:
        """Numbers of INFO, over a connection of its own."""
        told = self._client.run([
            "redis-cli", "-h", self._address, "-p", str(REDIS_PORT), "info"
        ]).stdout  # fmt: skip
        wanted = ("total_connections_received", "total_commands_processed", "connected_clients")
        found = dict(re.findall(r"^(\w+):(\d+)\r?$", told, re.MULTILINE))
        return {name: int(found[name]) for name in wanted}

    def finish(self) -> list[str]:
        """End each client the proper way; what is wrong with what it has got."""
        wrong = self.look()
        self._end_load()  # the others need the machine to come to their end
        download, echo = self._download.finish(), self._echo.finish()
        if not download["copies"] or not echo["bytes"]:
            wrong.append(f"nothing came whole: {download}, {echo}")
        return wrong + download["errors"] + echo["errors"] + self._transaction.end()

    def _end_load(self) -> None:
        if self._load.poll() is None:
            self._load.kill()
            self._load.communicate()
