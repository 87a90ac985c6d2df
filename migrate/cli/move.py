"""migrate move: a running container to another host."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from migrate.cli.names import name_argument

if TYPE_CHECKING:
    from migrate.move.outgoing import Wish
    from migrate.move.plan import Plan
    from migrate.move.progress import Event, Result


@click.command(epilog="Example: migrate move redis root@10.77.0.3")
@name_argument
@click.argument("target", metavar="USER@HOST[:PORT]")
@click.option(
    "--mode",
    type=click.Choice(["auto", "cold", "stop-copy", "pre-copy", "hybrid", "post-copy"]),
    default="auto",
    show_default=True,
    help="How memory goes along: cold: not at all; stop-copy: frozen; pre-copy: while it runs; "
    "post-copy: after the thaw, from here; hybrid: what pre-copy leaves follows after the thaw.",
)
@click.option(
    "--max-downtime",
    metavar="MS",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="How long the pause may be; pre-copy sends rounds until the rest fits.",
)
@click.option(
    "--max-rounds",
    metavar="N",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Freeze after so many rounds, whatever is left.",
)
@click.option(
    "--auto-converge",
    is_flag=True,
    help="Slow a container that writes memory faster than the link sends, until it is frozen.",
)
@click.option(
    "--tracker",
    type=click.Choice(["auto", "wp-async", "soft-dirty"]),
    default="auto",
    show_default=True,
    help="How pre-copy finds out which pages are written; auto: the first that works here.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Compare all memory of both copies before the new one may run. For tests: the pause is "
    "long.",
)
@click.option(
    "--explain", is_flag=True, help="Print the plan and why the other modes are not taken."
)
@click.option("--dry-run", is_flag=True, help="Check and print the plan; touch nothing.")
@click.option(
    "--bandwidth",
    metavar="MBIT",
    type=click.IntRange(min=1),
    help="Send no more than this many megabits a second.",
)
@click.option(
    "--stop-time",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="How long a container may take to stop (mode cold).",
)
@click.option(
    "--remote-command",
    metavar="PATH",
    default="",
    help="Where migrate is at the target, if not in a usual place.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: events, the result.")
def move(
    name: str, target: str, mode: str, max_downtime: int, max_rounds: int, auto_converge: bool,
    tracker: str, verify: bool, explain: bool, dry_run: bool, bandwidth: int | None,
    stop_time: float,    remote_command: str, as_json: bool,
) -> None:  # fmt: skip
    """Move the container NAME to another host, with its open connections alive.

    Everything is checked before anything is frozen. Until the target has the whole copy and COMMIT
    is given, any failure and Ctrl-C leave the container running here.
    """
    from migrate.move.outgoing import Wish

    wish = Wish(
        mode, remote_command, bandwidth * 125_000 if bandwidth else None, stop_time,
        max_downtime / 1000, max_rounds, auto_converge, tracker, verify,
    )  # fmt: skip
    if as_json:
        _carry_out(name, target, wish, dry_run or explain, _json_event, _json_plan, _json_result)
        return
    from migrate.cli.moveview import MoveView

    with MoveView(name, target) as view:
        show = view.explanation if explain else view.plan
        _carry_out(name, target, wish, dry_run or explain, view.event, show, view.result)


def _carry_out(
    name: str, target: str, wish: Wish, dry_run: bool, event: Callable[[Event], None],
    plan: Callable[[Plan], None], result: Callable[[Result], None],
) -> None:  # fmt: skip
    import contextlib

    from migrate.criu.errors import CriuMissing
    from migrate.criu.provide import prime_feature_cache
    from migrate.move.errors import MoveRefused
    from migrate.move.sending import Move
    from migrate.runtime import records
    from migrate.runtime.paths import Paths
    from migrate.transfer.ssh import connect
    from migrate.transfer.target import Target

    paths = Paths.from_environment()
    record = records.find(paths, name)
    address = Target.parse(target)
    with contextlib.suppress(CriuMissing):  # preflight tells it
        prime_feature_cache()
    with connect(address, command=wish.remote_command or None) as connection:
        mover = Move(paths, record, connection, address, wish, event)
        made = mover.plan()
        if dry_run:
            plan(made)
            if made.obstacles:
                raise MoveRefused.together(f"'{made.name}' can't move", made.obstacles)
            return
        result(mover.carry_out(made))


def _print(value: object) -> None:
    click.echo(json.dumps(value))
    sys.stdout.flush()


def _json_event(event: Event) -> None:
    _print({"event": event.kind, "name": event.name, **event.data})


def _json_plan(plan: Plan) -> None:
    _print({"plan": plan.as_json()})


def _json_result(result: Result) -> None:
    _print({"result": asdict(result)})
