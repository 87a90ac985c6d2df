"""The benchmark's hosts: test hosts on this one machine, from the checkout's tests/hosts."""

from __future__ import annotations

import importlib
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import migrate
from migrate.bench.errors import BenchImpossible

IMAGE = "bench"


@dataclass(frozen=True)
class Site:
    """Hosts with the image `bench` and the path of `migrate` on them, and a client's place."""

    pair: tuple[Any, ...]
    client: Any
    migrate: str
    shared: Path
    """A directory that the machine and all hosts see by the same path."""


def load(name: str = "") -> Any:
    """The module `tests.hosts` (or one below it); raises BenchImpossible outside a checkout."""
    return of_checkout(f"tests.hosts{name and '.' + name}")


def of_checkout(module: str) -> Any:
    """A module of the checkout that is no part of the package; raises BenchImpossible elsewhere."""
    root = str(Path(migrate.__file__).resolve().parent.parent)
    if root not in sys.path:
        sys.path.insert(0, root)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BenchImpossible(
            "the benchmark needs a checkout of migrate", cause=str(error),
            mend="clone the project, run 'make setup', then '.venv/bin/migrate bench'",
        ) from error  # fmt: skip


@contextmanager
def site(
    report: Callable[[str], None], link: float | None = None,
    names: Sequence[str] = ("alpha", "beta"),
) -> Iterator[Site]:  # fmt: skip
    """Make it and unmake it; `link`: Mbit/s of each host's link, None for as fast as it goes."""
    with load().Lan() as lan:
        report(f"making {len(names)} hosts")
        made = Site(
            tuple(lan.host(name) for name in names), lan.client("client"),
            load("redis").MIGRATE, lan.shared,
        )  # fmt: skip
        for host in made.pair:
            host.set_rate(link)
        make_image(lan.shared / "bench.tar", list(made.pair), made.migrate)
        yield made


def import_directory(directory: Path, archive: Path, on: Sequence[Any], migrate: str) -> None:
    """The files of a directory as the image IMAGE on each of those hosts; `archive` is made."""
    with tarfile.open(archive, "w") as tar:
        tar.add(directory, ".")
    for host in on:
        host.run([migrate, "image", "import", str(archive), IMAGE])


def make_image(archive: Path, pair: list[Any], migrate: str) -> None:
    """Empty directories for what is bound, and links as on every Debian."""
    with tarfile.open(archive, "w") as tar:
        for name in ("usr", "bench", "etc", "tmp", "proc", "sys", "dev"):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for name in ("bin", "lib", "lib64"):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(member)
    for host in pair:
        host.run([migrate, "image", "import", str(archive), IMAGE])
