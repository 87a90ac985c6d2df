"""migrate commit: an image of what a container has become."""

from __future__ import annotations

import click

from migrate.cli.names import name_argument


@click.command()
@name_argument
@click.argument("image")
@click.option("--no-pause", is_flag=True, help="Let it run while its files are read.")
def commit(name: str, image: str, no_pause: bool) -> None:
    """Make an image of a container: its layers, and what it has written as one more.

    The image is run as the container is. Volumes and memory are not in it.

    \b
    Example: migrate commit web web:patched
    """
    from migrate.runtime.commit import commit as act
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import find

    paths = Paths.from_environment()
    made = act(paths, find(paths, name), image, pause=not no_pause)
    click.echo(made.names[0] if made.names else made.id)
