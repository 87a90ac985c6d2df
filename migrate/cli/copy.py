"""migrate cp: files into a container, and out of it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from migrate.runtime.copying import Place

_STREAM = "-"


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option(
    "-a",
    "--archive",
    is_flag=True,
    help="Keep owners, set-id bits, devices and all extended attributes.",
)
@click.option("-L", "--follow-link", "follow", is_flag=True,
              help="Copy what SRC leads to, if it is a link.")  # fmt: skip
def cp(source: str, target: str, archive: bool, follow: bool) -> None:
    """Copy files between this host and a container; one of SRC and DST is NAME:PATH.

    A directory is copied whole, into DST if that is a directory, else as DST; 'SRC/.' is what is in
    it. '-' is a tar on standard input or output. What is copied into a container belongs to its
    root, what is copied out of it to the caller, without set-id bits. The container may be stopped.
    What is mounted below a directory of SRC is left out.

    \b
    Examples: migrate cp site/. web:/srv/www
              migrate cp web:/var/log - | tar tv
    """
    from migrate.cli.progress import byte_progress
    from migrate.runtime import copying

    into, out_of = _container_of(target), _container_of(source)
    if bool(into) == bool(out_of):
        raise click.UsageError("one of SRC and DST is NAME:PATH, and the other is not")
    with contextlib.ExitStack() as stack, byte_progress("copying") as report:
        if target == _STREAM:
            if sys.stdout.isatty():
                raise click.UsageError("a tar is not for a terminal: pipe it on, or into a file")
            copying.pack(stack.enter_context(_place(source)), sys.stdout.buffer, follow=follow)
            sys.stdout.flush()
            return
        there = stack.enter_context(_place(target))
        if source == _STREAM:
            copying.unpack(sys.stdin.buffer, there, count=_adding(report))
            return
        here = stack.enter_context(_place(source))
        copying.copy(here, there, archive=archive, follow=follow, count=_adding(report))


def _adding(report: Callable[[int, int], None] | None) -> Callable[[int], None]:
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        if report:
            report(done, 0)

    return add


def _container_of(argument: str) -> str:
    """The name in NAME:PATH; "" for a path of this host, which './' before it makes sure."""
    name, colon, _path = argument.partition(":")
    return name if colon and name and "/" not in name and not name.startswith(".") else ""


@contextlib.contextmanager
def _place(argument: str) -> Iterator[Place]:
    from migrate.runtime.copying import container_place, host_place
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import find

    name = _container_of(argument)
    if not name:
        with host_place(argument) as place:
            yield place
        return
    path = argument.partition(":")[2]
    if not path or "\0" in path:
        raise click.UsageError(f"'{argument}' names no path: give NAME:PATH")
    paths = Paths.from_environment()
    with container_place(paths, find(paths, name), "/" + path.lstrip("/")) as place:
        yield place
