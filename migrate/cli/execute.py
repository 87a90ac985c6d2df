"""migrate exec: one more program in a running container."""

from __future__ import annotations

import click

from migrate.cli.names import name_argument
from migrate.cli.values import environment_value


@click.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.option(
    "-e", "--env", "environment", multiple=True, callback=environment_value, metavar="KEY=VALUE",
    help="Set a variable; KEY alone takes the caller's value.",
)  # fmt: skip
@click.option("-w", "--workdir", "directory", metavar="DIR", help="The directory to run it in.")
@click.option(
    "-u", "--user", metavar="USER[:GROUP]", help="By the container's own names, or numbers."
)
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("-i", "--interactive", is_flag=True, help="Pass the input on (it always is).")
@name_argument
@click.argument("arguments", nargs=-1, required=True, metavar="PROGRAM [ARGS...]")
def execute(
    *, name: str, arguments: tuple[str, ...], environment: tuple[str, ...], directory: str | None,
    user: str | None, tty: bool, interactive: bool,
) -> int:  # fmt: skip
    """Run PROGRAM in a running container, with its status as exit status.

    Standard input, output and error are the caller's. 127 means that there is no such program, 126
    that it can't be executed.

    \b
    Examples: migrate exec web ls -l /
              migrate exec -t web sh
    """
    from migrate.runtime.lifecycle.execute import Program
    from migrate.runtime.lifecycle.execute import execute as run_in
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import find

    paths = Paths.from_environment()
    program = Program(arguments, environment, directory, user, terminal=tty)
    return run_in(paths, find(paths, name), program)
