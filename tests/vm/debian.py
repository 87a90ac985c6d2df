"""Packages of Debian suites, unpacked into a directory; no maintainer script is run."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from migrate.criu.apt import Apt
from migrate.criu.mirror import find_mirror


def unpack(packages: Iterable[str], suite: str, directory: Path, *, alone: bool = False) -> None:
    """Unpack packages and all that they depend on (`alone`: just them) beneath `directory`.

    Raises LookupError without a mirror, CriuMissing when apt fails.
    """
    with tempfile.TemporaryDirectory(prefix="debian-", dir=directory.parent) as name:
        archives = _apt(Path(name), suite).fetch(*packages, alone=alone)
        # base-files first: /bin, /lib and /sbin are its links.
        for archive in sorted(archives, key=lambda a: not a.name.startswith("base-files_")):
            subprocess.run(["dpkg-deb", "--extract", archive, directory], check=True)


def depended_on(package: str, suite: str, directory: Path) -> list[str]:
    """The names that a package depends on directly."""
    with tempfile.TemporaryDirectory(prefix="debian-", dir=directory) as name:
        return _apt(Path(name), suite).depended_on(package)


def _apt(directory: Path, suite: str) -> Apt:
    mirror = find_mirror()
    if mirror is None:
        raise LookupError("no Debian archive with its keyring stands in this machine's apt sources")
    return Apt(directory / "apt", mirror, suite)
