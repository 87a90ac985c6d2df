"""migrate recover: settle moves that were cut off."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import click

from migrate.cli.names import complete_containers

if TYPE_CHECKING:
    from migrate.runtime.paths import Paths


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_containers)
@click.option(
    "--at",
    "address",
    default="",
    metavar="USER@HOST",
    help="Ask the target at this address instead of the one in the journal.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def recover(names: tuple[str, ...], address: str, as_json: bool) -> None:  # fmt: skip
    """Settle moves and restores that were cut off: all here, or those of the containers NAMES.

    Asks the other side where the journal alone can't tell. A container whose target does not answer
    stays frozen; run it again when the target is back.
    """
    import json

    from migrate.move import journal
    from migrate.move.progress import Event
    from migrate.move.recovery import recover as settle
    from migrate.move.transaction import Target
    from migrate.runtime import records
    from migrate.runtime.paths import Paths

    def report(event: Event) -> None:
        if event.kind == "note":
            click.echo(event.name, err=True)

    paths = Paths.from_environment()
    paths.make()
    entries = [e for e in journal.read_all(paths) if e.role == "source" or e.state != Target.DONE]
    known = {word for e in entries for word in (e.name, e.container)}
    for name in set(names) - known:
        records.find(paths, name)
    open_entries = [e for e in entries if not names or {e.name, e.container} & set(names)]
    outcomes = []
    for entry in open_entries:
        outcome = settle(paths, entry, address=address, report=report)
        outcomes.append({"container": entry.name, "move": entry.move, "role": entry.role,
                         "peer": entry.peer, "outcome": outcome})  # fmt: skip
        if not as_json:
            click.echo(f"{entry.name}: {_words(entry.role, outcome, entry.peer)}")
    for name in _undo_restores(paths, names):
        outcomes.append({"container": name, "outcome": "restore undone"})
        if not as_json:
            click.echo(f"{name}: as it was before the restore that was cut off; stopped")
    if as_json:
        click.echo(json.dumps(outcomes, indent=2))
    elif not outcomes:
        click.echo("nothing is open on this host")
    _raise_open(outcomes)


def _raise_open(outcomes: list[dict[str, str]]) -> None:
    """Raises MoveUncertain, PagesOwed for what could not be settled."""
    from migrate.move.errors import MoveUncertain, PagesOwed
    from migrate.move.transaction import Source

    doubtful = [o["container"] for o in outcomes if o["outcome"] == Source.COMMITTING]
    if doubtful:
        raise MoveUncertain(
            f"still held frozen: {', '.join(doubtful)}",
            cause="the target does not answer, and may have taken over",
            mend="make the target reachable, then run 'migrate recover' again",
        )
    owing = [o["container"] for o in outcomes if o["outcome"] == Source.SERVING]
    if owing:
        raise PagesOwed(
            f"memory that is needed elsewhere is still here: {', '.join(owing)}",
            cause="the target does not answer",
            mend="make the target reachable, then run 'migrate recover' again; keep this host up",
        )


def _undo_restores(paths: Paths, names: Collection[str]) -> Iterator[str]:
    """The names of the containers whose restore was cut off, now put back."""
    from migrate.checkpoint.bring_back import undo_cut_off
    from migrate.runtime import records

    for record in records.load_all(paths):
        own = paths.container(record.identifier)
        if names and not {record.name, record.identifier} & set(names):
            continue
        if own.before_restore.exists():
            with records.locked(own, "recover"):
                if undo_cut_off(paths, record.identifier):
                    yield record.name


def _words(role: str, outcome: str, peer: str) -> str:
    if role == "target":
        return {"aborted": "wiped here; it stays on its source"}.get(outcome, f"here: {outcome}")
    return {
        "aborted": "rolled back; it runs here",
        "committed": f"finished; it runs on {peer}",
        "committing": f"undecided; held frozen until {peer} answers",
        "serving": f"it runs on {peer}; memory that it needs is here, held until {peer} answers",
    }.get(outcome, outcome)
