"""migrate doctor: what works on this host, what is missing, what that costs, and the mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from migrate.move.doctor import Finding


@click.command()
@click.option("--fix", is_flag=True, help="Apply the mends that are safe, then look again.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def doctor(ctx: click.Context, fix: bool, as_json: bool) -> None:
    """Say what works on this host, and mend it.

    What can be tried is tried for real. The exit code is 0 only if a move would work. --fix sets
    sysctls, makes CRIU's feature cache, and provides CRIU and Debian packages; it never starts a
    service.
    """
    from migrate.errors import HostNotReady
    from migrate.move.doctor import examine, fit_for_move, mend, to_json
    from migrate.runtime.paths import Paths

    paths = Paths.from_environment()
    findings = examine(paths)
    if fix:
        mend(findings, lambda line: click.echo(line, err=as_json))
        findings = examine(paths)
    if as_json:
        click.echo(to_json(findings))
    else:
        show(findings)
    if not fit_for_move(findings):
        ctx.exit(HostNotReady.code)


def show(findings: list[Finding], where: str = "this host") -> None:
    """Print the table and one line that sums it up."""
    from rich.console import Console

    from migrate.move.doctor import fit_for_move, table

    Console(soft_wrap=False, highlight=False).print(table(findings))
    warnings = sum(f.status == "warning" for f in findings)
    also = f"; {warnings} warnings" if warnings > 1 else "; 1 warning" if warnings else ""
    fixable = any(f.fixable and f.status != "ok" for f in findings)
    hint = " ('migrate doctor --fix' mends some)" if fixable else ""
    if fit_for_move(findings):
        click.echo(f"\n{where} is ready for moves{also}{hint}")
    else:
        gone = [f.name for f in findings if f.needed_for_move and f.status != "ok"]
        click.echo(f"\n{where} is not ready for moves: {', '.join(gone)}{also}{hint}")
