"""What the commands that make and remove containers tell the other hosts of their networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import Record


def tell_come(paths: Paths, record: Record) -> None:
    """A container is here now. What can't be told is a warning: the network works without."""
    from migrate.runtime.networks import spanning

    if spanning(record.network.driver):
        from migrate.move import telling

        _warn(telling.come(paths, record), record.network.name)


def tell_come_by_id(identifier: str) -> None:
    """The same of the container with this id."""
    from migrate.runtime import records
    from migrate.runtime.paths import Paths

    paths = Paths.from_environment()
    tell_come(paths, records.find(paths, identifier))


def tell_gone(paths: Paths, records: Iterable[Record]) -> None:
    """Containers are no more, and neither here nor elsewhere."""
    from migrate.runtime.networks import spanning

    for record in records:
        if spanning(record.network.driver):
            from migrate.move import telling

            _warn(telling.gone(paths, record), record.network.name)


def _warn(complaints: Iterable[str], network: str) -> None:
    for complaint in complaints:
        click.echo(f"warning: {complaint}", err=True)
        click.echo(f"  next: 'migrate network sync {network}' tells it later", err=True)
