"""What the commands of `migrate bench` have in common: options, and where results go."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

output_option = click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the result to this file, as JSON.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def runs_option(text: str, default: int = 5) -> Callable[[F], F]:
    """How many runs count; `text` is its help."""
    return click.option(
        "--runs", type=click.IntRange(min=1), default=default, show_default=True, help=text
    )


def say(text: str) -> None:
    """Progress, on stderr."""
    click.echo(text, err=True)


def save(output: Path | None, value: dict[str, Any]) -> None:
    """Write a result, if it was asked for."""
    if output:
        output.write_text(json.dumps(value, indent=1) + "\n")
