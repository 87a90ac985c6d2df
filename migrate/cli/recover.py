"""migrate recover: settle moves that were cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from migrate.cli.names import complete_containers

if TYPE_CHECKING:
    from migrate.api.local import Settled


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_containers)
@click.option(
    "--at",
    "address",
    default="",
    metavar="USER@HOST",
    help="Ask the target at this address instead of the one in the journal.",
)
@click.option(
    "--force-source",
    is_flag=True,
    help="If the target does not answer: let the copy here run. Only when you know that the "
    "target's is gone for good: else two run.",
)
@click.option(
    "--force-target",
    is_flag=True,
    help="If the target does not answer: destroy the copy here. Only when you know that it runs "
    "there: else none is left.",
)
@click.option(
    "--patience",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help="For how long a target that does not answer is asked again. [default: it is asked once; "
    "60 without a page sent where it lacks memory]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def recover(
    names: tuple[str, ...], address: str, force_source: bool, force_target: bool,
    patience: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Settle moves and restores that were cut off: all here, or those of the containers NAMES.

    Asks the other side where the journal alone can't tell. A container whose target does not answer
    stays frozen; run it again when the target is back. If it never comes back, look yourself where
    the container is, and say so with --force-source or --force-target.
    """
    import json

    from migrate.api import local as api
    from migrate.kernel import threads
    from migrate.move.progress import Event

    threads.bound_starts()

    def report(event: Event) -> None:
        if event.kind == "note":
            click.echo(event.name, err=True)

    force = _decided(names, force_source, force_target)
    outcomes = []
    found = api.recover(names, at=address, force=force, patience=patience, on_event=report)
    for settled in found:
        outcomes.append(settled)
        if not as_json:
            click.echo(f"{settled.container}: {_words(settled)}")
    if as_json:
        click.echo(json.dumps([_as_dict(settled) for settled in outcomes], indent=2))
    elif not outcomes:
        click.echo("nothing is open on this host")
    _raise_open(outcomes)


def _decided(
    names: tuple[str, ...], source: bool, target: bool
) -> Literal["", "source", "target"]:  # fmt: skip
    """Which side a person has found to have the container; warns of what that can do."""
    from migrate.errors import UsageError

    if not (source or target):
        return ""
    if (source and target) or len(names) != 1:
        raise UsageError(
            "--force-source and --force-target want the name of one container, and one of them",
            cause="each is a decision about one container",
        )
    name = names[0]
    words = (
        f"if the target does not answer, the copy of '{name}' here runs on; should the target have "
        f"one, too, remove it there before anything else ('migrate rm -f {name}')"
        if source
        else f"if the target does not answer, the copy of '{name}' here is destroyed; should the "
        "target have none, it is gone"
    )
    click.echo(f"warning: {words}", err=True)
    return "source" if source else "target"


def _as_dict(settled: Settled) -> dict[str, str]:
    if not settled.role:
        return {"container": settled.container, "outcome": settled.outcome}
    return {"container": settled.container, "move": settled.move, "role": settled.role,
            "peer": settled.peer, "outcome": settled.outcome}  # fmt: skip


def _raise_open(outcomes: list[Settled]) -> None:
    """Raises MoveUncertain, PagesOwed for what could not be settled."""
    from migrate.move.errors import MoveUncertain, PagesOwed
    from migrate.move.transaction import Source

    doubtful = [o.container for o in outcomes if o.outcome == Source.COMMITTING]
    if doubtful:
        raise MoveUncertain(
            f"still held frozen: {', '.join(doubtful)}",
            cause="the target does not answer, and may have taken over",
            mend="make the target reachable, then run 'migrate recover' again; if it is gone for "
            "good, see --force-source and --force-target",
        )
    owing = [o.container for o in outcomes if o.outcome == Source.SERVING]
    if owing:
        raise PagesOwed(
            f"memory that is needed elsewhere is still here: {', '.join(owing)}",
            cause="the target does not answer",
            mend="make the target reachable, then run 'migrate recover' again; keep this host up",
        )


def _words(settled: Settled) -> str:
    peer = settled.peer
    if not settled.role:
        return "as it was before the restore that was cut off; stopped"
    if settled.role == "target":
        wiped = "wiped here; it stays on its source"
        return wiped if settled.outcome == "aborted" else f"here: {settled.outcome}"
    return {
        "aborted": "rolled back; it runs here",
        "committed": f"finished; it runs on {peer}",
        "committing": f"undecided; held frozen until {peer} answers",
        "serving": f"it runs on {peer}; memory that it needs is here, held until {peer} answers",
    }.get(settled.outcome, settled.outcome)
