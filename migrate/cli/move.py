"""migrate move: a running container to another host."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrate.cli.check import skip_option
from migrate.cli.hostnames import address_of, complete_hosts
from migrate.cli.names import name_argument

if TYPE_CHECKING:
    from migrate.move.outgoing import Wish
    from migrate.move.plan import Plan
    from migrate.move.progress import Event, Result


@click.command(epilog="Example: migrate move redis root@10.77.0.3")
@name_argument
@click.argument("target", metavar="HOST|USER@HOST[:PORT]", shell_complete=complete_hosts)
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
    "--tcp",
    type=click.Choice(["keep", "close", "refuse"]),
    default="keep",
    show_default=True,
    help="Open TCP connections: keep: they go along; close: they end; refuse: no move while there "
    "are any.",
)
@click.option(
    "--address",
    type=click.Choice(["keep", "new"]),
    default="keep",
    show_default=True,
    help="new: the target chooses; connections end then.",
)
@skip_option
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
    "--patience",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help="For how long a target that does not answer is asked again from COMMIT on, and while it "
    "lacks memory that is here. [default: 20, and 60 without a page sent]",
)
@click.option(
    "--remote-command",
    metavar="PATH",
    default="",
    help="Where migrate is at the target, if not in a usual place.",
)
@click.option(
    "--trace",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what both hosts did, and when, to FILE: a trace for Perfetto or Chrome.",
)
@click.option("--beside", multiple=True, hidden=True, metavar="NAME", help="Plan these, too.")
@click.option("--stop-at-eof", is_flag=True, hidden=True, help="Ctrl-C when standard input ends.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: events, the result.")
def move(
    name: str, target: str, mode: str, max_downtime: int, max_rounds: int, auto_converge: bool,
    tracker: str, verify: bool, tcp: str, address: str, skip: tuple[str, ...], explain: bool,
    dry_run: bool, bandwidth: int | None, stop_time: float, patience: float | None,
    remote_command: str, trace: Path | None, beside: tuple[str, ...], stop_at_eof: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Move a container to another host, with its open connections alive.

    The host is a name of the inventory ('migrate host ls'), or an address.

    Everything is checked before anything is frozen. Until the target has the whole copy and COMMIT
    is given, any failure and Ctrl-C leave the container running here.
    """
    from migrate.kernel import threads
    from migrate.move.outgoing import Wish

    threads.bound_starts()
    wish = Wish(
        mode, remote_command, bandwidth * 125_000 if bandwidth else None, stop_time,
        max_downtime / 1000, max_rounds, auto_converge, tracker, verify, skip, tcp,
        address, patience,
    )  # fmt: skip
    dry_run = dry_run or explain
    target = address_of(target)
    if stop_at_eof:
        _stop_at_eof()
    if beside:
        _plan_several((name, *beside), target, wish)
        return
    if as_json:
        _carry_out(name, target, wish, dry_run, trace, _json_event, _json_plan, _json_result)
        return
    from migrate.cli.moveview import MoveView

    with MoveView(name, target) as view:
        show = view.explanation if explain else view.plan
        _carry_out(name, target, wish, dry_run, trace, view.event, show, view.result)


def _carry_out(
    name: str, target: str, wish: Wish, dry_run: bool, trace: Path | None,
    event: Callable[[Event], None], plan: Callable[[Plan], None],
    result: Callable[[Result], None],
) -> None:  # fmt: skip
    from migrate.api import local as api
    from migrate.move.errors import MoveRefused

    if not dry_run:
        result(api.move(name, target, wish, trace=trace, on_event=event))
        return
    made = api.plan_move(name, target, wish, trace=trace, on_event=event)
    plan(made)
    if made.obstacles:
        raise MoveRefused.together(f"'{made.name}' can't move", made.obstacles)


def _plan_several(names: tuple[str, ...], target: str, wish: Wish) -> None:
    """For `migrate evacuate`: a line each, `{"of": NAME, "plan" or "error"}`; nothing is moved."""
    from migrate.api import local as api
    from migrate.move.errors import MoveRefused
    from migrate.move.plan import Plan

    for name, made in api.plan_moves(names, target, wish):
        if not isinstance(made, Plan):
            _print({"of": name, "error": made.to_wire()})
        elif made.obstacles:
            error = MoveRefused.together(f"'{made.name}' can't move", made.obstacles)
            _print({"of": name, "error": error.to_wire()})
        else:
            _print({"of": name, "plan": made.as_json()})


def _stop_at_eof() -> None:
    """For who runs this command from afar: when that ends, so does this, as by Ctrl-C."""
    import os
    import signal
    import threading

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, name="input", daemon=True).start()


def _print(value: object) -> None:
    # Who listened may be gone; the move has its own end.
    with contextlib.suppress(BrokenPipeError):
        click.echo(json.dumps(value))
        sys.stdout.flush()


def _json_event(event: Event) -> None:
    _print({"event": event.kind, "name": event.name, **event.data})


def _json_plan(plan: Plan) -> None:
    _print({"plan": plan.as_json()})


def _json_result(result: Result) -> None:
    _print({"result": asdict(result)})
