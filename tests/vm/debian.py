"""Packages of Debian suites, fetched and unpacked into a directory; no maintainer script is run."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from migrate.criu.mirror import find_mirror

APT_LIMIT = 600.0  # seconds


def unpack(packages: Iterable[str], suite: str, directory: Path, *, alone: bool = False) -> None:
    """Unpack packages and all that they depend on (`alone`: just them) beneath `directory`.

    apt has lists, cache and status of its own, and the mirror is the machine's. Raises LookupError
    without one, CalledProcessError when apt fails.
    """
    with tempfile.TemporaryDirectory(prefix="debian-", dir=directory.parent) as name:
        command = _apt(Path(name), suite)
        _run([*command, "update"])
        if alone:
            _run([*command, "download", *packages], cwd=Path(name) / "archives")
        else:
            _run([*command, "--yes", "--download-only", "install", *packages])
        archives = sorted((Path(name) / "archives").glob("*.deb"))
        # base-files first: /bin, /lib and /sbin are its links.
        for archive in sorted(archives, key=lambda a: not a.name.startswith("base-files_")):
            _run(["dpkg-deb", "--extract", archive, directory])


def depended_on(package: str, suite: str, directory: Path) -> list[str]:
    """The names that a package depends on directly."""
    with tempfile.TemporaryDirectory(prefix="debian-", dir=directory) as name:
        command = _apt(Path(name), suite)
        _run([*command, "update"])
        cache = ["apt-cache", *command[1:], "depends", "--important", package]
        told = _run([word for word in cache if word != "-qq"])
    return [line.split()[1] for line in told.splitlines() if "Depends:" in line]


def _run(command: list[str | Path], cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=APT_LIMIT,
        cwd=cwd, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        words = " ".join(map(str, command[-6:]))
        raise RuntimeError(f"{words} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def _apt(directory: Path, suite: str) -> list[str | Path]:
    mirror = find_mirror()
    if mirror is None:
        raise LookupError("no Debian archive with its keyring stands in this machine's apt sources")
    for part in ("parts", "state", "lists/partial", "archives/partial"):
        (directory / part).mkdir(parents=True)
    (directory / "status").touch()
    (directory / "parts/vm.sources").write_text(
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
        "Dir::Cache::archives": directory / "archives",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "APT::Update::Post-Invoke::": "true",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    command: list[str | Path] = ["apt-get", "-qq"]
    for key, value in options.items():
        command += ["-o", f"{key}={value}"]
    return command
