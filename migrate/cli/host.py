"""migrate host: which hosts there are; set them up, and see whether they are ready."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrate.cli.hostcordon import cordon, uncordon
from migrate.cli.hostentries import add, label, rm
from migrate.cli.hostlist import ls
from migrate.cli.hostnames import host_argument, inventory_option, target_of

if TYPE_CHECKING:
    from migrate.transfer.ssh import Connection


@click.group()
def host() -> None:
    """Keep an inventory of hosts, set them up, and cordon them."""


for _command in (add, ls, rm, label, cordon, uncordon):
    host.add_command(_command)


def _open(text: str, inventory: Path | None) -> Connection:
    from migrate.transfer.ssh import open_session

    return open_session(target_of(text, inventory))


@host.command(epilog="Example: migrate host setup root@10.0.0.3")
@host_argument()
@click.option("--force", is_flag=True, help="Also if the same is installed there already.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@inventory_option
@click.pass_context
def setup(
    ctx: click.Context, target: str, force: bool, as_json: bool, inventory: Path | None
) -> None:
    """Install migrate and CRIU on another host, in /opt/migrate.

    It needs nothing but sshd, python3 >= 3.11 and root; all comes from this host, over one SSH
    connection. An older installation is replaced in one step, or not at all. The exit code is 0
    only if a move to that host would work.
    """
    from migrate.errors import HostNotReady
    from migrate.move.doctor import fit_for_move
    from migrate.move.installing import set_up
    from migrate.runtime.paths import Paths

    with _open(target, inventory) as connection:
        outcome = set_up(
            connection, Paths.from_environment(), lambda line: click.echo(line, err=as_json),
            force=force,
        )  # fmt: skip
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(outcome)))
    else:
        from migrate.cli.doctor import show

        show([f for f in outcome.findings if f.status != "ok"], target)
    if not fit_for_move(outcome.findings):
        ctx.exit(HostNotReady.code)


@host.command(epilog="Example: migrate host check web1")
@host_argument()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@inventory_option
@click.pass_context
def check(ctx: click.Context, target: str, as_json: bool, inventory: Path | None) -> None:
    """Run 'migrate doctor' on another host."""
    from migrate.cli.doctor import show
    from migrate.errors import HostNotReady
    from migrate.move.doctor import fit_for_move, to_json
    from migrate.move.installing import examine

    with _open(target, inventory) as connection:
        findings = examine(connection)
    if as_json:
        click.echo(to_json(findings))
    else:
        show(findings, target)
    if not fit_for_move(findings):
        ctx.exit(HostNotReady.code)
