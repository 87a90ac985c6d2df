"""migrate events: what happens to containers, as it happens."""

from __future__ import annotations

import datetime
import json
import re
import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from migrate.runtime.life import Event

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGO = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")


class Moment(click.ParamType[float]):
    """Seconds since the epoch: given so, as an ISO 8601 time, or as a time ago (10m, 2h)."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The seconds."""
        if isinstance(value, float):
            return value
        text = str(value)
        if match := _AGO.fullmatch(text):
            return time.time() - float(match[1]) * _UNITS[match[2]]
        try:
            return float(text)
        except ValueError:
            pass
        try:
            return datetime.datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError, OSError):
            self.fail(
                f"'{value}' is no time; give it as 10m, 2h, 2026-01-31T12:00 or seconds", param, ctx
            )


@click.command()
@click.option(
    "--since",
    type=Moment(),
    metavar="TIME",
    help="First what the records still tell of the time since: 10m, 2h, an ISO 8601 time.",
)
@click.option("--json", "as_json", is_flag=True, help="An object a line.")  # fmt: skip
def events(since: float | None, as_json: bool) -> None:
    """Tell what happens to the containers of this host, until Ctrl-C.

    created, started, restored, paused, resumed, oom, exited, updated, renamed, held and released
    (by a move), moved, removed. No history is kept: --since knows of the containers that are still
    there when they were made, last started, and last ended.

    \b
    Example: migrate events --since 1h --json
    """
    from migrate.runtime.life import remembered
    from migrate.runtime.paths import Paths
    from migrate.runtime.watching import Watcher

    with Watcher(Paths.from_environment()) as watcher:
        if since is not None:
            found = [e for portrait in watcher.seen.values() for e in remembered(portrait, since)]
            for event in sorted(found, key=lambda event: event.at):
                _tell(event, as_json)
        for event in watcher.events():
            _tell(event, as_json)


def _tell(event: Event, as_json: bool) -> None:
    moment = (
        datetime.datetime.fromtimestamp(event.at).astimezone().isoformat(timespec="milliseconds")
    )
    if as_json:
        value = {"time": moment, "event": event.kind, "name": event.name, "id": event.identifier}
        click.echo(json.dumps(value | {"told": event.told}))
    else:
        told = " ".join(f"{key}={value}" for key, value in event.told.items())
        click.echo(f"{moment} {event.kind:9} {event.name} ({event.identifier}) {told}".rstrip())
    sys.stdout.flush()
