"""migrate check: what stands against a move or a checkpoint; and the option --skip-check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click
from click.shell_completion import CompletionItem

from migrate.cli.hostnames import address_of, complete_hosts
from migrate.cli.names import name_argument
from migrate.cli.output import print_json, print_table

if TYPE_CHECKING:
    from migrate.checkpoint.preflight import Verdict
    from migrate.errors import MigrateError

_Function = TypeVar("_Function", bound=Callable[..., object])


def _complete_checks(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:  # fmt: skip
    from migrate.move.preflight.source import SKIPPABLE

    return [CompletionItem(name) for name in SKIPPABLE if name.startswith(incomplete)]


def _known_checks(
    _ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:  # fmt: skip
    if not given:
        return given
    from migrate.move.preflight.source import SKIPPABLE

    for name in given:
        if name not in SKIPPABLE:
            raise click.BadParameter(f"'{name}' is none of {', '.join(SKIPPABLE)}")
    return given


def skip_option(function: _Function) -> _Function:
    """The option --skip-check, several times."""
    return click.option(
        "--skip-check", "skip", metavar="CHECK", multiple=True, callback=_known_checks,
        shell_complete=_complete_checks,
        help="Go on whatever this check of 'migrate check' finds; what then fails, is undone.",
    )(function)  # fmt: skip


@click.command(epilog="Example: migrate check redis root@10.77.0.3")
@name_argument
@click.argument(
    "target", metavar="[HOST|USER@HOST[:PORT]]", required=False, shell_complete=complete_hosts
)
@click.option(
    "--mode",
    type=click.Choice(["auto", "cold", "stop-copy", "pre-copy", "hybrid", "post-copy"]),
    default="auto", show_default=True, help="The mode of the move, as in 'migrate move'.",
)  # fmt: skip
@skip_option
@click.option("--remote-command", metavar="PATH", default="",
              help="Where migrate is at the target, if not in a usual place.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def check(
    name: str, target: str | None, mode: str, skip: tuple[str, ...], remote_command: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Say whether NAME can move to HOST, and what stands against it.

    Nothing is touched or frozen. Every obstacle is told with its cause and its mend. Without HOST:
    whether NAME can be checkpointed here. The exit code is 0 only if nothing stands against it.
    """
    from migrate.api import local as api
    from migrate.checkpoint.errors import NotDumpable
    from migrate.checkpoint.preflight import obstacles
    from migrate.move.errors import MoveRefused
    from migrate.move.outgoing import Wish

    if target is None:
        verdicts: Sequence[Verdict] = api.check_checkpoint(name, skip)
        refusal: type[MigrateError] = NotDumpable
        what = f"'{name}' can't be checkpointed"
    else:
        wish = Wish(mode, remote_command, skip=skip)
        verdicts = api.plan_move(name, address_of(target), wish).verdicts
        refusal, what = MoveRefused, f"'{name}' can't move"
    found = obstacles(verdicts)
    if as_json:
        print_json({"possible": not found, "checks": [v.as_json() for v in verdicts]})
    else:
        _show(verdicts)
    if found:
        click.get_current_context().exit(refusal.together(what, found).code)


def _show(verdicts: Sequence[Verdict]) -> None:
    """A table of all, and what was found in words."""
    rows = [(v.check, v.as_json()["state"], v.subject) for v in verdicts]
    print_table(("CHECK", "STATE", "LOOKS AT"), rows)
    for verdict in verdicts:
        for error in verdict.obstacles:
            click.echo(f"\n{verdict.check}: {error}")
    left = sum(len(v.obstacles) for v in verdicts if not v.skipped)
    click.echo(f"\n{left} obstacles" if left != 1 else "\n1 obstacle")
