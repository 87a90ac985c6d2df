"""migrate host: set up other hosts, and see whether they are ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from migrate.transfer.ssh import Connection


@click.group()
def host() -> None:
    """Set up other hosts."""


def _open(address: str) -> Connection:
    from migrate.transfer.ssh import open_session
    from migrate.transfer.target import Target

    return open_session(Target.parse(address))


@host.command()
@click.argument("target", metavar="USER@HOST[:PORT]")
@click.option("--force", is_flag=True, help="Also if the same is installed there already.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.pass_context
def setup(ctx: click.Context, target: str, force: bool, as_json: bool) -> None:
    """Install migrate and CRIU on another host, in /opt/migrate.

    It needs nothing but sshd, python3 >= 3.11 and root; all comes from this host, over one SSH
    connection. An older installation is replaced in one step, or not at all. The exit code is 0
    only if a move to that host would work.
    """
    from migrate.errors import HostNotReady
    from migrate.move.doctor import fit_for_move
    from migrate.move.installing import set_up
    from migrate.runtime.paths import Paths

    with _open(target) as connection:
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


@host.command()
@click.argument("target", metavar="USER@HOST[:PORT]")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def check(ctx: click.Context, target: str, as_json: bool) -> None:
    """Run 'migrate doctor' on another host."""
    from migrate.cli.doctor import show
    from migrate.errors import HostNotReady
    from migrate.move.doctor import fit_for_move, to_json
    from migrate.move.installing import examine

    with _open(target) as connection:
        findings = examine(connection)
    if as_json:
        click.echo(to_json(findings))
    else:
        show(findings, target)
    if not fit_for_move(findings):
        ctx.exit(HostNotReady.code)
