"""migrate checkpoint and restore: a container saved on this host, and brought back."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click

from migrate.cli.check import skip_option
from migrate.cli.names import name_argument
from migrate.cli.sizes import human_size

QUIET_FOR = 1.0  # seconds: what is quicker needs no progress
LINE_EVERY = 1.0


class _Lines:
    """Progress on stderr: a line a phase and a second, once it has taken longer than one."""

    def __init__(self, what: str, *, silent: bool) -> None:
        self._what, self._silent = what, silent
        self._begun = self._shown = time.monotonic()
        self._phase = ""

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        early = now - self._begun < QUIET_FOR
        if self._silent or early or (phase == self._phase and now - self._shown < LINE_EVERY):
            return
        self._shown, self._phase = now, phase
        amount = f" {human_size(done)} of {human_size(total)}" if total else ""
        click.echo(f"{self._what}: {phase}{amount}", err=True)


@click.command(epilog="Example: migrate checkpoint redis -o /backup/redis.tar.zst --leave-running")
@name_argument
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR",
    help="Where to: a file, or a directory (empty, or its name ending in '/').  "
    "[default: ./NAME.checkpoint.tar.zst]",
)
@click.option("--leave-running", is_flag=True, help="Let the container run on afterwards.")
@click.option(
    "--recipient",
    "recipients",
    metavar="KEY",
    multiple=True,
    help="Encrypt it so that the holder of KEY alone can restore it: age's 'age1...', or an SSH "
    "public key.",
)
@skip_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def checkpoint(
    name: str, output: str | None, leave_running: bool, recipients: tuple[str, ...],
    skip: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Save the running container NAME to a file or directory, with memory and files.

    The container is stopped when its checkpoint is whole on disk, and 'migrate restore' brings it
    back as it was, open connections included. On any failure, and on Ctrl-C, it runs on and there
    is no output.
    """
    from migrate.api import local as api

    count = _Lines(name, silent=as_json)
    saved = api.checkpoint(
        name, output, leave_running=leave_running, skip=skip, recipients=recipients,
        on_progress=count,
    )  # fmt: skip
    if as_json:
        _print_json(asdict(saved))
        return
    after = "it runs on" if saved.running else "it is stopped"
    click.echo(
        f"{saved.name} saved to {saved.path}: {human_size(saved.size)}, "
        f"frozen for {saved.freeze_seconds * 1000:.1f} ms; {after}"
    )


@click.command(epilog="Example: migrate restore redis.checkpoint.tar.zst --name redis2")
@click.argument("source", metavar="FILE|DIR", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Make a new container of that name of it.")
@click.option(
    "--identity",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The secret key of an encrypted one: of age's, or an SSH private key.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def restore(source: Path, name: str | None, identity: Path | None, as_json: bool) -> None:
    """Bring a container back from its checkpoint, running as it was.

    The whole checkpoint is verified first; nothing is touched if it is damaged. The container's
    own files and volumes are replaced by those of the checkpoint. If its host has it no more, it
    is made anew.
    """
    from migrate.api import local as api
    from migrate.cli.peers import tell_come_by_id

    count = _Lines(str(source), silent=as_json)
    result = api.restore(source, name=name, identity=identity, on_progress=count)
    tell_come_by_id(result.container)
    if as_json:
        _print_json(asdict(result))
        return
    click.echo(
        f"{result.name} ({result.container}) runs: {human_size(result.size)} "
        f"restored in {result.restore_seconds * 1000:.1f} ms"
    )


def _print_json(value: object) -> None:
    json.dump(value, sys.stdout)
    click.echo()
