"""Debian's Podman and conmon, unpacked into a prefix below the virtual environment.

Nothing is installed: apt fetches the packages of this machine's own suite with a state directory of
its own, as it does for CRIU (`migrate/criu/prefix.py`), and no package's script is run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from migrate.criu.mirror import Mirror, find_mirror
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
cgroup_manager = "cgroupfs"
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
    """The prefix, made at the first call."""
    if not (PREFIX / "usr/bin/podman").exists():
        mirror = find_mirror()
        assert mirror, "this machine's apt sources name no Debian mirror"
        with tempfile.TemporaryDirectory(prefix=".podman-", dir=PREFIX.parent) as work:
            _fetch(Path(work), mirror)
            made = Path(work) / "made"
            for package in Path(work).glob("*.deb"):
                subprocess.run(["dpkg-deb", "--extract", package, made], check=True)
            made.rename(PREFIX)
    return PREFIX


def _fetch(work: Path, mirror: Mirror) -> None:
    for part in ("parts", "state", "lists/partial", "archives/partial"):
        (work / part).mkdir(parents=True)
    (work / "status").touch()
    (work / "parts/podman.sources").write_text(
        f"Types: deb\nURIs: {mirror.uri}\nSuites: {mirror.suite}\nComponents: main\n"
        f"Signed-By: {mirror.keyring}\n"
    )
    options = {
        "Dir::Etc::sourcelist": "/dev/null", "Dir::Etc::sourceparts": work / "parts",
        "Dir::State": work / "state", "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status", "Dir::Cache": work,
        "Dir::Cache::archives": work / "archives", "APT::Sandbox::User": "root",
        "APT::Update::Post-Invoke::": "true", "Acquire::Languages": "none",
    }  # fmt: skip
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    for order in (["update"], ["download", *_PACKAGES]):
        subprocess.run(
            ["apt-get", "-qq", *words, *order], cwd=work, check=True, timeout=100,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip


class Podman:
    """Podman with our runtime, and all that it keeps below `directory`."""

    def __init__(self, directory: Path) -> None:
        self.prefix = provide()
        self.directory = directory
        configuration = directory / "containers.conf"
        configuration.write_text(_CONFIGURATION.format(
            prefix=self.prefix, command=COMMAND, directory=directory
        ))  # fmt: skip
        (directory / "home").mkdir()
        libraries = next(self.prefix.glob("usr/lib/*-linux-gnu"))
        self._environment = os.environ | {
            "CONTAINERS_CONF": str(configuration), "HOME": str(directory / "home"),
            "LD_LIBRARY_PATH": str(libraries), "TMPDIR": str(directory),
        }  # fmt: skip
        self._command = [
            self.prefix / "usr/bin/podman", "--root", directory / "root", "--runroot",
            directory / "run", "--tmpdir", directory / "tmp", "--storage-driver", "vfs",
            "--runtime", COMMAND, "--runtime-flag", f"root={directory}/containers",
        ]  # fmt: skip

    def call(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Podman's output and exit status."""
        return subprocess.run(
            [*self._command, *words], env=self._environment, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, check=False, timeout=60,
        )  # fmt: skip

    def ok(self, *words: str | Path) -> str:
        """Podman's output; it must succeed."""
        done = self.call(*words)
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout.strip()
