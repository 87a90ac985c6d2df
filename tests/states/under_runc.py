"""The same programs under runc, with the same specification and CRIU: what to keep up with.

runc is given a bundle made from migrate's own specification, a network namespace, and a pipe for
its output, as an engine gives them.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from migrate.criu.provide import criu_binary
from migrate.runtime import spec
from migrate.runtime.records import Bind
from tests.states.building import CAPABILITIES, verdicts
from tests.states.running import PATIENCE, complaints

PROGRAM = "/usr/sbin/runc"
IP = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin") or "ip"
ALONE = ("/usr/bin/unshare", "--mount", "--propagation", "slave")
"""While CRIU restores control groups it mounts them where others would take them for the host's."""
LIMIT = 40.0  # seconds that one command of runc may take
HARMLESS = "rlimit: Can't setup RLIMIT_NOFILE"
"""CRIU's word for a limit that it would raise for itself, and goes on without."""
KEEP = ("--tcp-established", "--ext-unix-sk", "--file-locks")


class Refused(Exception):
    """runc has not made the checkpoint; the container runs on."""


class Runc:
    """One container under runc, and what it has said."""

    def __init__(self, directory: Path, programs: Path, kinds: list[str]) -> None:
        self.name = f"states-{secrets.token_hex(4)}"
        self.directory = directory
        self.log: list[str] = []
        self.errors = directory / "runc.log"
        reading, self._writing = os.pipe()
        os.set_inheritable(self._writing, True)
        self._reader = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._reader.start()
        self._make_bundle(programs, kinds)

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, errors="replace") as stream:
            self.log.extend(line.rstrip("\n") for line in stream)

    def _make_bundle(self, programs: Path, kinds: list[str]) -> None:
        root = self.directory / "rootfs"
        for name in ("tmp", "proc", "sys", "dev", "usr", "states", "etc"):
            (root / name).mkdir(parents=True)
        for name in ("bin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        binds = tuple(
            Bind(source, place, read_only=True)
            for source, place in (("/usr", "/usr"), (str(programs), "/states"))
        )
        options = spec.Options(
            arguments=["/states/runner", *kinds], host_name="states", binds=binds,
            add_capabilities=CAPABILITIES, environment=[],
        )  # fmt: skip
        made = spec.build(options)
        for namespace in made["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = f"/run/netns/{self.name}"
        (self.directory / "config.json").write_text(json.dumps(made), encoding="utf-8")

    def make_network(self) -> None:
        """A namespace of its own that outlives it; runc itself would restore one with lo down."""
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")

    def command(self, *words: object, check: bool = True) -> None:
        """One command of runc; raises Refused with the end of its log."""
        criu = criu_binary()
        state = self.directory / "state"
        self.errors.unlink(missing_ok=True)
        options = ("--root", state, "--criu", criu, "--log", self.errors)
        done = subprocess.run(
            [*ALONE, PROGRAM, *options, *map(str, words)],
            stdin=subprocess.DEVNULL, stdout=self._writing, stderr=self._writing,
            cwd=self.directory, timeout=LIMIT, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            said = self.errors.read_text(errors="replace") if self.errors.exists() else ""
            raise Refused((said or f"runc ended with {done.returncode}").splitlines()[-1])

    def wait_for(self, word: str, times: int) -> None:
        """Until the runner has said `all WORD` so often."""
        deadline = time.monotonic() + PATIENCE
        while self.log.count(f"all {word}") < times:
            assert time.monotonic() < deadline, f"not {word}"
            time.sleep(0.01)

    def run(self) -> None:
        """Start it and wait until all is made."""
        self.make_network()
        self.command("run", "--detach", "--bundle", self.directory, self.name)
        self.wait_for("ready", 1)

    def check(self) -> None:
        """Each program looks again."""
        before = self.log.count("all checked")
        self.command("kill", self.name, "USR1")
        self.wait_for("checked", before + 1)

    def turn(self, number: int) -> None:
        """A checkpoint, and a restore of it; raises Refused when the checkpoint fails."""
        images, work = self.directory / f"images{number}", self.directory / f"work{number}"
        places = ("--image-path", images, "--work-path", work)
        try:
            self.command("checkpoint", *places, *KEEP, self.name)
        except Refused as error:
            raise Refused(last_error(work / "dump.log") or str(error)) from error
        _gone(self)
        try:
            self.command("restore", "-d", "--bundle", self.directory, *places, *KEEP, self.name)
        except Refused as error:
            said = last_error(work / "restore.log") or str(error)
            raise AssertionError(f"not restored: {said}") from error

    def close(self) -> None:
        """End it."""
        self.command("delete", "--force", self.name, check=False)
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "del", self.name)
        os.close(self._writing)
        self._reader.join(5)


def ip(*words: str) -> None:
    """iproute2, which 'make setup' installs."""
    subprocess.run([IP, *words], check=True, capture_output=True)


def _gone(container: Runc) -> None:
    """A checkpoint without --leave-running ends and deletes it: wait, should that take a moment."""
    deadline = time.monotonic() + 10
    while (container.directory / "state" / container.name).exists():
        assert time.monotonic() < deadline, "runc has not ended it"
        time.sleep(0.01)


def last_error(log: Path) -> str:
    """The first error in a log of CRIU's; "" where there is none."""
    with contextlib.suppress(OSError):
        for line in log.read_text(errors="replace").splitlines():
            if "Error (" in line and HARMLESS not in line:
                return line.partition("Error ")[2]
    return ""


@contextlib.contextmanager
def container(programs: Path, kinds: list[str]) -> Iterator[Runc]:
    """Made, not yet run; unmade at the end."""
    directory = Path(tempfile.mkdtemp(prefix="mgrc"))
    directory.chmod(0o755)
    made = Runc(directory, programs, kinds)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(directory, ignore_errors=True)


def outcome(programs: Path, kind: str, turns: int = 2) -> tuple[str, str]:
    """What becomes of one kind under runc: in the words of `under_migrate.outcome`."""
    with container(programs, [kind]) as one:
        try:
            one.run()
        except (AssertionError, Refused) as error:
            return "not made", str(error)
        if verdicts(one.log, "ready") != {kind: "ready"}:
            return "not made", "; ".join(complaints(one.log))
        return judged(lambda: _turns(one, kind, turns))


def _turns(one: Runc, kind: str, turns: int) -> None:
    one.check()
    for number in range(turns):
        one.turn(number)
        one.check()
        assert verdicts(one.log, "checked") == {kind: "intact"}, "; ".join(complaints(one.log))


def judged(carry_out: Callable[[], None]) -> tuple[str, str]:
    """Kept, refused or lost."""
    try:
        carry_out()
    except Refused as error:
        return "refused", str(error)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        return "lost", str(error)
    return "kept", ""
