"""What several commands print alike: tables and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click


def print_json(value: object) -> None:
    """Indented, keys sorted."""
    import json

    click.echo(json.dumps(value, indent=2, sort_keys=True))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as they must be, two spaces between them."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())
