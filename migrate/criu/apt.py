"""apt-get with lists, cache and status of its own: it fetches and verifies, installing nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

from migrate.criu.errors import CriuMissing
from migrate.criu.mirror import Mirror

LIMIT = 600.0  # seconds
NO_NETWORK = "check that this host reaches its Debian mirror ('apt-get update'), then run it again"


class Apt:
    """The packages of a suite, by this machine's own mirror; everything is beneath `directory`."""

    def __init__(self, directory: Path, mirror: Mirror, suite: str) -> None:
        self.archives = directory / "archives"
        for part in ("parts", "state", "lists/partial", "archives/partial"):
            (directory / part).mkdir(parents=True)
        (directory / "status").touch()
        (directory / "parts/migrate.sources").write_text(
            f"Types: deb\nURIs: {mirror.uri}\nSuites: {suite}\nComponents: main\n"
            f"Signed-By: {mirror.keyring}\n"
        )
        options = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": directory / "parts",
            "Dir::State": directory / "state",
            "Dir::State::lists": directory / "lists",
            "Dir::State::status": directory / "status",
            "Dir::Cache": directory,
            "Dir::Cache::archives": self.archives,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",  # _apt may not enter our 0700 directory
            "APT::Update::Post-Invoke::": "true",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Acquire::http::Timeout": "20",
            "Acquire::https::Timeout": "20",
        }
        self._options: list[str] = []
        for key, value in options.items():
            self._options += ["-o", f"{key}={value}"]

    def fetch(self, *packages: str, alone: bool = False) -> list[Path]:
        """Fetch packages and all that they depend on (`alone`: just them); the archives.

        Raises CriuMissing with apt's first complaint.
        """
        self._run("apt-get", "-qq", "update")
        if alone:
            self._run("apt-get", "-qq", "download", *packages)
        else:
            self._run("apt-get", "-qq", "--yes", "--download-only", "install", *packages)
        return sorted(self.archives.glob("*.deb"))

    def depended_on(self, package: str) -> list[str]:
        """The names that a package depends on directly; raises CriuMissing."""
        self._run("apt-get", "-qq", "update")
        told = self._run("apt-cache", "depends", "--important", package)
        return [line.split()[1] for line in told.splitlines() if "Depends:" in line]

    def _run(self, program: str, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [program, *self._options, *arguments], stdin=subprocess.DEVNULL, text=True,
                capture_output=True, check=False, timeout=LIMIT, cwd=self.archives,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CriuMissing(f"{program} could not fetch packages", cause=str(error)) from error
        complaints = [x for x in done.stderr.splitlines() if x.startswith(("E:", "Err"))]
        if done.returncode != 0 or complaints:
            cause = " ".join(complaints[:2]) or f"{program} ended with {done.returncode}"
            raise CriuMissing(f"{program} could not fetch packages", cause=cause, mend=NO_NETWORK)
        return done.stdout
