"""A place for containers of the tests, whose programs are this machine's own, bound read-only."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrate.checkpoint.bring_back import undo_cut_off
from migrate.cli.main import main
from migrate.runtime import logreading, records, spec
from migrate.runtime.lifecycle.create import create
from migrate.runtime.lifecycle.delete import delete
from migrate.runtime.lifecycle.start import start
from migrate.runtime.paths import Paths
from migrate.runtime.records import Bind, Network, Record
from migrate.runtime.status import status_of
from tests.forked import forked
from tests.subnet import SUBNET

PROGRAMS = Path(__file__).parent / "programs"
COUNTER = "i=0; while :; do i=$((i+1)); echo $i; echo $i > /count; sleep 0.02; done"


class Place:
    """State directories of their own, and containers made through the library."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.paths = Paths(directory / "state", directory / "run")
        self.rootfs = directory / "rootfs"
        for name in ("tmp", "proc", "sys", "dev", "usr", "programs", "etc"):
            (self.rootfs / name).mkdir(parents=True)
        self.rootfs.chmod(0o755)
        for name in ("bin", "lib", "lib64"):
            (self.rootfs / name).symlink_to(f"usr/{name}")

    def make(
        self, name: str, arguments: list[str], *, network: Network | None = None,
        binds: tuple[Bind, ...] = (), user: int = 0, capabilities: tuple[str, ...] = (),
        terminal: bool = False, interactive: bool = False,
    ) -> Record:  # fmt: skip
        """Create and start a container."""
        binds = (
            Bind("/usr", "/usr", read_only=True), Bind(str(PROGRAMS), "/programs", read_only=True),
            *binds,
        )  # fmt: skip
        record = Record(
            identifier=records.new_identifier(), name=name, created=time.time(),
            rootfs=str(self.rootfs), network=network or Network(), binds=binds,
            terminal=terminal, interactive=interactive,
        )  # fmt: skip
        options = spec.Options(
            arguments=arguments, host_name=name, binds=binds, user_id=user, group_id=user,
            add_capabilities=capabilities, terminal=terminal,
            environment=["PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"],
        )  # fmt: skip
        record = create(self.paths, record, spec.build(options))
        start(self.paths, record)
        return record

    def counter(self, name: str = "counter", **options: Any) -> Record:
        """A container that counts in its log and in a file."""
        return self.make(name, ["/bin/sh", "-c", COUNTER], **options)

    def status(self, record: Record) -> str:
        return status_of(self.paths, record).word

    def log(self, record: Record) -> list[str]:
        own = self.paths.container(record.identifier)
        return [entry.text for entry, _ in logreading.read(own.log)]

    def wait_for(self, condition: Callable[[], Any], what: str = "", limit: float = 30.0) -> Any:
        deadline = time.monotonic() + limit
        while not (found := condition()):
            assert time.monotonic() < deadline, what or "it did not come about"
            time.sleep(0.01)
        return found

    def counts_on(self, record: Record) -> None:
        """The counter makes progress, and its log has every number once."""
        begun = len(self.log(record))
        self.wait_for(lambda: len(self.log(record)) > begun + 2, "the counter stands still")
        numbers = [int(text) for text in self.log(record)]
        assert numbers == list(range(1, len(numbers) + 1))

    def migrate(self, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The command, to its end."""
        process = self.begin(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, errors = process.communicate(timeout=60)
        assert not check or process.returncode == 0, errors
        return subprocess.CompletedProcess(arguments, process.returncode, out, errors)

    def begin(self, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        """The command as a process."""
        words = ["migrate", *map(str, arguments)]
        return forked(main, words, environment=self.environment(), cwd=self.directory, **options)

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "MIGRATE_STATE": str(self.paths.state),
            "MIGRATE_RUN": str(self.paths.run),
        }

    def fails(self, *arguments: object) -> dict[str, Any]:
        """The error that the command gives."""
        done = self.migrate(*arguments, "--json", check=False)
        assert done.returncode != 0, done.stdout
        error = json.loads(done.stdout.splitlines()[-1])["error"]
        assert error["code"] == done.returncode
        return dict(error)

    def leftovers(self) -> list[Path]:
        """What no finished command leaves."""
        found = list((self.paths.state / "staging").glob("*"))
        found += self.paths.state.glob("containers/*/before-restore")
        return found + list(self.directory.glob(".*.tmp"))

    def close(self) -> None:
        for record in records.load_all(self.paths):
            undo_cut_off(self.paths, record.identifier)  # where a test has failed
            delete(self.paths, record, force=True)


@pytest.fixture
def place() -> Iterator[Place]:
    """A place, unmade at the end; its path is short enough for the monitor's socket."""
    directory = Path(tempfile.mkdtemp(prefix="mgck"))
    made = Place(directory)
    try:
        yield made
        assert made.leftovers() == []
    finally:
        made.close()
        shutil.rmtree(directory)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes file systems of so many bytes."""
    made: list[Path] = []

    def make(size: int) -> Path:
        directory = tmp_path / f"disk{len(made)}"
        directory.mkdir()
        option = f"size={size}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", directory], check=True)
        made.append(directory)
        return directory

    yield make
    for directory in made:
        subprocess.run(["umount", "-l", directory], check=True)


@pytest.fixture
def bridge() -> Iterator[str]:
    """A bridge with the address SUBNET.1/24 on this machine."""
    name = f"mgc{os.getpid() % 10**9}"
    ip = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
    assert ip, "'make setup' installs iproute2"
    subprocess.run([ip, "link", "add", name, "type", "bridge"], check=True)
    try:
        subprocess.run([ip, "addr", "add", f"{SUBNET}.1/24", "dev", name], check=True)
        subprocess.run([ip, "link", "set", name, "up"], check=True)
        yield name
    finally:
        with contextlib.suppress(OSError):
            subprocess.run([ip, "link", "del", name], check=False)
