"""migrate wait: until containers have ended."""

from __future__ import annotations

import click

from migrate.cli.names import names_argument
from migrate.cli.output import print_json


@click.command()
@names_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def wait(names: tuple[str, ...], as_json: bool) -> None:
    """Wait until all of these containers have ended, and print their exit statuses in that order.

    One that has ended already is told at once; 255 is one that nobody has recorded.

    \b
    Example: migrate wait job1 job2
    """
    from migrate.runtime.lifecycle.wait import wait as act
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import find

    paths = Paths.from_environment()
    records = [find(paths, name) for name in names]
    found = []
    for record in records:
        status = act(paths, record)
        found.append({"name": record.name, "exit_status": status})
        if not as_json:
            click.echo(status)
    if as_json:
        print_json(found)
