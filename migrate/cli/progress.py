"""A line on stderr that says how far something is, if it takes a second."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import click

from migrate.cli.sizes import human_size

PROGRESS_AFTER = 1.0  # seconds: what is quicker than that needs no line
_EVERY = 0.1


@contextlib.contextmanager
def byte_progress(doing: str) -> Iterator[Callable[[int, int], None] | None]:
    """Told (bytes done, bytes in all; 0 where that is not known); None if nobody could read it."""
    if not sys.stderr.isatty():
        yield None
        return
    begun = shown = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - begun < PROGRESS_AFTER or now - shown < _EVERY:
            return
        shown = now
        text = f"{doing}  {human_size(done)}"
        if total:
            text = f"{doing} {100 * done // total:3d} %  {human_size(done)} of {human_size(total)}"
        click.echo(f"\r{text}\x1b[K", err=True, nl=False)

    try:
        yield report
    finally:
        if shown != begun:
            click.echo("\r\x1b[K", err=True, nl=False)
