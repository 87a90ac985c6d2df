"""runtime: starting a container, asking for its state, exec: against Debian's crun and runc.

On one test host, with one root file system of busybox. *run*: /bin/true is created, started and
deleted by one command; `migrate run --rm` takes it from an image that is there (overlay), and
`migrate-oci`, crun and runc run one bundle. *state* and *exec* (of /bin/true) meet a container that
sleeps, one of each. The commands take turns; the figures are the wall time of each command. Where
control groups are both v1 and v2, the host has only v1: crun refuses to work with both.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.bench import hosts
from migrate.bench.comparison import Comparison
from migrate.bench.errors import BenchImpossible
from migrate.bench.rows import machine
from migrate.bench.series import Series

RUN_MUST_HOLD = 3.0
"""`migrate run --rm` over crun, at most."""
STATE_MUST_HOLD = 0.060
"""Seconds of `migrate-oci state`, at most."""
EXEC_MUST_HOLD = 4.0
"""`migrate-oci exec` over `runc exec`, at most."""
RUNS = 20
PEERS = ("crun", "runc")
TRUE, SLEEP = ("/bin/true",), ("/bin/sleep", "10000")
SLEEPER = "bench-sleeper"
_RUNTIME_SPECIFICATION = "1.0.2"  # what Debian 12's crun still knows
_LIMIT = 600.0  # seconds


@dataclass(frozen=True)
class Outcome:
    """A row for each command."""

    rows: tuple[Comparison, ...]

    @property
    def missed(self) -> list[str]:
        """A sentence for everything that must hold and does not."""
        return [complaint for row in self.rows for complaint in row.missed()]

    def as_json(self) -> dict[str, Any]:
        """The result with the machine it was taken on, and the peers' versions."""
        return {
            "benchmark": "runtime", "rows": [row.as_json() for row in self.rows],
            "missed": self.missed, "peers": versions(), **machine(),
        }  # fmt: skip


@dataclass(frozen=True)
class _Site:
    host: Any
    migrate: str
    runtimes: dict[str, str]
    """Programs that speak runc's command line, by name."""
    true: Path
    sleeper: Path
    """Bundles."""


def run(runs: int, report: Callable[[str], None]) -> Outcome:
    """`runs` counted turns of each command; raises BenchImpossible where a peer is not there."""
    peers = _peers()
    with hosts.load().Lan() as lan:
        report("making a host")
        site = _prepared(lan, peers)
        report("run of /bin/true")
        rows = [_row("run of /bin/true", _timed(site, _run_commands(site), runs), _RUN)]
        with _sleeping(site):
            report("state")
            commands = {f"{n} state": [p, "state", SLEEPER] for n, p in site.runtimes.items()}
            rows.append(_row("state", _timed(site, commands, runs), _STATE))
            report("exec of /bin/true")
            commands = {f"{n} exec": [p, "exec", SLEEPER, *TRUE] for n, p in site.runtimes.items()}
            commands = {"migrate exec": [site.migrate, "exec", SLEEPER, *TRUE], **commands}
            rows.append(_row("exec of /bin/true", _timed(site, commands, runs), _EXEC))
    return Outcome(tuple(rows))


_RUN: dict[str, Any] = {
    "ratio_of": ("migrate run", "crun run"), "limits": {"ratio": {"most": RUN_MUST_HOLD}},
}  # fmt: skip
_EXEC: dict[str, Any] = {
    "ratio_of": ("migrate-oci exec", "runc exec"), "limits": {"ratio": {"most": EXEC_MUST_HOLD}},
}  # fmt: skip
_STATE: dict[str, Any] = {"limits": {"migrate-oci state": {"most": STATE_MUST_HOLD}}}


def _row(what: str, seconds: dict[str, list[float]], more: dict[str, Any]) -> Comparison:
    sides = tuple(Series(name, tuple(runs)) for name, runs in seconds.items())
    ours = tuple(name for name in seconds if name.startswith("migrate"))
    return Comparison(what, "s", sides, ours, **more)


def _peers() -> dict[str, str]:
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    found = {name: shutil.which(name, path=path) for name in PEERS}
    if missing := [name for name, program in found.items() if not program]:
        raise BenchImpossible(
            f"there is no {' and no '.join(missing)} here", mend="run 'make setup', which brings it"
        )
    return {name: program for name, program in found.items() if program}


def versions() -> dict[str, str]:
    """The first line of what each peer says of itself."""
    told = {
        name: subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        for name, program in _peers().items()
    }
    return {name: (done.stdout.splitlines() or [""])[0] for name, done in told.items()}


def _prepared(lan: Any, peers: dict[str, str]) -> _Site:
    """A host with the image `bench`, and two bundles of the same files."""
    host, migrate = lan.host("alpha"), hosts.load("redis").MIGRATE
    _only_one_version(host)
    rootfs = hosts.load("rootfs").make_rootfs(lan.shared / "rootfs")
    (rootfs / "bin/true").symlink_to("busybox")
    hosts.import_directory(rootfs, lan.shared / "rootfs.tar", [host], migrate)
    ours = str(Path(migrate).with_name("migrate-oci"))
    bundles = [
        _bundle(host, ours, lan.shared / name, rootfs, words)
        for name, words in (("true", TRUE), ("sleep", SLEEP))
    ]
    return _Site(host, migrate, {"migrate-oci": ours, **peers}, *bundles)


def _only_one_version(host: Any) -> None:
    """Take v2 out of the host's mounts where there is v1, too."""
    hierarchies = hosts.load("cgroups").hierarchies()
    newer = [str(h.mount_point) for h in hierarchies if h.version == 2]
    if newer and len(newer) < len(hierarchies):
        host.run(["umount", *newer])


def _bundle(host: Any, ours: str, place: Path, rootfs: Path, words: tuple[str, ...]) -> Path:
    place.mkdir()
    host.run([ours, "spec", "--bundle", str(place)])
    made = json.loads((place / "config.json").read_text())
    made["ociVersion"] = _RUNTIME_SPECIFICATION
    made["process"] |= {"args": list(words), "terminal": False}
    made["root"]["path"] = str(rootfs)
    (place / "config.json").write_text(json.dumps(made))
    return place


def _run_commands(site: _Site) -> dict[str, list[str]]:
    bundle = ["run", "--bundle", str(site.true), "bench-run"]
    return {
        "migrate run": [site.migrate, "run", "--rm", hosts.IMAGE, *TRUE],
        **{f"{name} run": [program, *bundle] for name, program in site.runtimes.items()},
    }


@contextlib.contextmanager
def _sleeping(site: _Site) -> Iterator[None]:
    """A container that sleeps, of each runtime and of `migrate` itself."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        site.host.run([site.migrate, "run", "-d", "--name", SLEEPER, hosts.IMAGE, *SLEEP])
        for program in site.runtimes.values():
            # The container keeps the streams: a pipe of ours would never end.
            detached = [program, "run", "--detach", "--bundle", str(site.sleeper), SLEEPER]
            site.host.run(detached, **quiet)
        yield
    finally:
        site.host.run([site.migrate, "rm", "-f", SLEEPER], check=False)
        for program in site.runtimes.values():
            site.host.run([program, "delete", "--force", SLEEPER], check=False)


def _timed(site: _Site, commands: dict[str, list[str]], runs: int) -> dict[str, list[float]]:
    done = site.host.run(
        [sys.executable, "-m", "migrate.bench.commandtimes", str(runs)],
        input=json.dumps(commands), timeout=_LIMIT, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchImpossible("a command failed that was to be timed", cause=done.stderr.strip())
    told: dict[str, list[float]] = json.loads(done.stdout)
    return told
