"""PostgreSQL under pgbench, and a transaction that is held open the whole time.

Debian's own, its programs bound from the machine's /usr. Where root lacks CAP_SYS_RESOURCE, as in
many sandboxes, CRIU can't dump a process of another user (prlimit(2)), and PostgreSQL refuses to be
root: there it is told another user's number by a preloaded `geteuid`, all else being the same.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import re
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from migrate.kernel import capabilities
from tests.evacuate.workloads.nginx import add_file, add_skeleton
from tests.evacuate.workloads.workload import wait_for_port
from tests.hosts.host import Client, Host
from tests.hosts.redis import MIGRATE

PORT, IMAGE, USER = 5432, "postgres", "postgres"
DATA = "/data"
CONNECTIONS, RATE = 4, 100  # of pgbench; transactions a second
SETTINGS = """
listen_addresses = '*'
unix_socket_directories = ''
shared_buffers = 32MB
min_wal_size = 8MB
max_wal_size = 64MB
jit = off
"""
EUID = "int geteuid(void) { return %(uid)d; } int getuid(void) { return %(uid)d; }"
LIBRARY = "/euid.so"


def programs() -> Path:
    """Of the newest PostgreSQL here; raises LookupError."""
    found = glob.glob("/usr/lib/postgresql/*/bin")
    return Path(max(found, key=lambda path: int(path.split("/")[4])))


def as_other_user() -> bool:
    """Whether CRIU can dump processes of another user here."""
    return capabilities.has("CAP_SYS_RESOURCE")


def make_image(shared: Path, host: Host) -> None:
    """Import the image `postgres` on the host, with a cluster in it."""
    archive = shared / "postgres.tar"
    if not archive.exists():
        with tarfile.open(archive, "w") as tar:
            add_skeleton(tar)
            add_cluster(tar, shared)
            user = pwd.getpwnam(USER)
            add_file(tar, "etc/passwd", b"root:x:0:0::/:/bin/sh\n" + passwd_line().encode())
            add_file(tar, "etc/group", f"root:x:0:\n{USER}:x:{user.pw_gid}:\n".encode())
    host.run([MIGRATE, "image", "import", str(archive), IMAGE])


def passwd_line() -> str:
    """PostgreSQL's user, for /etc/passwd."""
    user = pwd.getpwnam(USER)
    return f"{USER}:x:{user.pw_uid}:{user.pw_gid}::/:/bin/sh\n"


def add_cluster(tar: tarfile.TarFile, shared: Path) -> None:
    """The cluster at DATA, and at LIBRARY what lets root run it, where that is needed."""
    # In `shared`, which every user may enter; a directory for a test run may be closed to them.
    with tempfile.TemporaryDirectory(dir=shared) as directory:
        cluster, library = Path(directory) / "data", Path(directory) / "euid.so"
        _make_cluster(cluster)
        tar.add(cluster, DATA.lstrip("/"))
        if not as_other_user():
            _make_library(library)
            tar.add(library, LIBRARY.lstrip("/"))


def _make_cluster(directory: Path) -> None:
    """initdb refuses to be root, so it works in a directory that is the other user's."""
    user = pwd.getpwnam(USER)
    directory.mkdir(mode=0o700)
    os.chown(directory, user.pw_uid, user.pw_gid)
    directory.parent.chmod(0o755)
    subprocess.run(
        [programs() / "initdb", "-D", directory, "-U", USER, "-E", "UTF8", "--locale=C",
         "--wal-segsize=1", "--no-sync", "--auth=trust"],
        check=True, user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/",
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with (directory / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all trust\n")
    with (directory / "postgresql.conf").open("a") as settings:
        settings.write(SETTINGS)


def _make_library(path: Path) -> None:
    source = path.with_suffix(".c")
    source.write_text(EUID % {"uid": pwd.getpwnam(USER).pw_uid})
    compiler = os.environ.get("CC") or next(
        name for name in ("cc", "gcc", "clang", "tcc") if Path("/usr/bin", name).exists()
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, source], check=True)


class Session:
    """psql over one connection, a statement at a time."""

    END = "-- end of answer --"

    def __init__(self, machine: Client, address: str) -> None:
        self._process: subprocess.Popen[str] = machine.popen(
            [programs() / "psql", "-qAtX", "-h", address, "-U", USER, "postgres"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def ask(self, statement: str) -> list[str]:
        """The lines of the answer, and of psql's complaints."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{statement}\n\\echo {self.END}\n")
            self._process.stdin.flush()
        lines = []
        for line in self._process.stdout:
            if line.strip() == self.END:
                return lines
            lines.append(line.strip())
        return [*lines, "psql has ended"]

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class HeldTransaction:
    """One that has written, and reads from a cursor; `end` tells what became of it."""

    def __init__(self, machine: Client, address: str) -> None:
        self._machine, self._address = machine, address
        self._session = Session(machine, address)
        self._session.ask("CREATE TABLE held (value int);")
        self._session.ask("BEGIN; INSERT INTO held VALUES (42);")
        self._session.ask("DECLARE numbers CURSOR FOR SELECT generate_series(1, 1000);")
        self._known = self._who()
        self._read = 0

    def _who(self) -> list[str]:
        return self._session.ask("SELECT pg_backend_pid(), txid_current();")

    def look(self) -> list[str]:
        """Whether it is still that transaction, in that process, and its cursor goes on."""
        wrong = []
        if (who := self._who()) != self._known or len(who) != 1:
            wrong.append(f"the transaction was {self._known}, and is {who}")
        wanted = [str(self._read + n) for n in range(1, 11)]
        if (found := self._session.ask("FETCH 10 FROM numbers;")) != wanted:
            wrong.append(f"the cursor gave {found} instead of {wanted}")
        self._read += 10
        return wrong

    def end(self) -> list[str]:
        """Commit: what it wrote is seen by others afterwards, not before."""
        wrong = self.look()
        other = Session(self._machine, self._address)
        try:
            before = other.ask("SELECT count(*) FROM held;")
            said = self._session.ask("COMMIT;")
            after = other.ask("SELECT sum(value) FROM held;")
        finally:
            other.kill()
        if (before, said, after) != (["0"], [], ["42"]):
            wrong.append(f"others saw {before}, COMMIT said {said}, others see {after}")
        return wrong

    def kill(self) -> None:
        self._session.kill()


class Pgbench:
    """pgbench's own load; its log of transactions shows the gaps, its report what it counted."""

    def __init__(self, machine: Client, address: str, directory: Path) -> None:
        self._log = directory / f"pgbench-{address}"
        self._marked = time.time()
        # Its own alarm clock ends it, which it obeys early as well: then it reports.
        self._process: subprocess.Popen[str] = machine.popen(
            [programs() / "pgbench", "-h", address, "-U", USER, "-c", str(CONNECTIONS), "-n",
             "-T", "86400", "-R", str(RATE), "-l", "--log-prefix", self._log, "postgres"],
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def finish(self) -> tuple[int, list[str]]:
        """The number of transactions that it counted, and what it complained of."""
        self._process.send_signal(signal.SIGALRM)
        try:
            told, _ = self._process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()
            return 0, ["pgbench waits for an answer that does not come"]
        counted = re.search(r"actually processed: (\d+)", told)
        failed = re.search(r"failed transactions: (\d+)", told)
        wrong = []
        if self._process.returncode or counted is None or (failed and failed[1] != "0"):
            wrong.append(f"pgbench ended with {self._process.returncode}: {told[-600:]}")
        return int(counted[1]) if counted else 0, wrong

    def gap(self, begun: float, ended: float) -> float:
        """The longest time in seconds without a transaction done, of a connection, in that time.

        Times since the epoch. Known when pgbench has ended: it writes its log then.
        """
        longest, last = 0.0, dict.fromkeys(map(str, range(CONNECTIONS)), begun)
        for path in glob.glob(f"{self._log}.*"):
            for line in Path(path).read_text().splitlines():
                client, _number, _took, _script, seconds, micros, *_rest = line.split()
                at = int(seconds) + int(micros) / 1e6
                if begun <= at <= ended:
                    longest, last[client] = max(longest, at - last[client]), at
        return max([longest, *(ended - at for at in last.values())])

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


SUMS = """SELECT count(*), coalesce(sum(delta), 0), (SELECT sum(abalance) FROM pgbench_accounts),
 (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches)
 FROM pgbench_history;"""


class Postgres:
    """Both, and at the end the sums that pgbench's tables must have, and a clean shutdown."""

    def __init__(self, name: str, address: str, shared: Path) -> None:
        self.name, self.address, self._shared = name, address, shared
        self._client: Client | None = None
        self._load: Pgbench | None = None
        self._held: HeldTransaction | None = None
        self.spans: list[tuple[float, float]] = []
        self._marked = 0.0

    def start(self, host: Host, client: Client) -> None:
        self._client = client
        way = ["--user", USER] if as_other_user() else ["-e", f"LD_PRELOAD={LIBRARY}"]
        host.run([
            MIGRATE, "run", "-d", "--name", self.name, "--network", "bridge",
            "--bridge", "br-lan", "--ip", f"{self.address}/24", "-v", "/usr:/usr:ro", *way,
            IMAGE, str(programs() / "postgres"), "-D", DATA,
        ])  # fmt: skip
        wait_for_port(client, self.address, PORT)
        client.run([
            programs() / "pgbench", "-h", self.address, "-U", USER, "-i", "-q", "postgres"
        ])  # fmt: skip
        self._held = HeldTransaction(client, self.address)
        self._load = Pgbench(client, self.address, self._shared)
        self._marked = time.time()

    def mark(self) -> None:
        """None: see `gaps`."""
        now = time.time()
        self.spans.append((self._marked, now))
        self._marked = now

    def look(self) -> list[str]:
        """What is wrong with the transaction that is held open."""
        assert self._held
        return self._held.look()

    def gaps(self) -> list[float]:
        """Seconds between any two marks, as pgbench's log has them; after `finish`."""
        assert self._load
        return [self._load.gap(*span) for span in self.spans]

    def finish(self, host: Host) -> list[str]:
        assert self._load
        assert self._held
        assert self._client
        counted, wrong = self._load.finish()
        wrong += self._held.end()
        session = Session(self._client, self.address)
        try:
            sums = session.ask(SUMS)
            amcheck = session.ask("CREATE EXTENSION amcheck;") + session.ask(
                "SELECT bt_index_check(indexrelid, true) FROM pg_index JOIN pg_class c ON "
                "c.oid = indexrelid WHERE relname LIKE 'pgbench%' AND relam = 403;"
            )
        finally:
            session.kill()
        found = sums[0].split("|") if sums else []
        if found[:1] != [str(counted)] or len(set(found[1:])) != 1 or not counted:
            wrong.append(f"pgbench counted {counted}; rows, deltas and balances: {sums}")
        return wrong + [line for line in amcheck if line]

    def kill(self) -> None:
        for client in (self._load, self._held):
            if client:
                client.kill()
