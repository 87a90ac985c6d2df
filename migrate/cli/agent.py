"""migrate agent: the far end of another host's connection."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import click


@click.command(hidden=True)
@click.option("--data", "token", help="Serve a data connection of this move instead.")
def agent(token: str | None) -> None:
    """Serve another host over standard input and output (docs/protocol.md)."""
    from migrate.runtime.paths import Paths

    paths = Paths.from_environment()
    if token is not None:
        from migrate.move.journal import incoming
        from migrate.transfer.receiver import receive_stdio

        sys.exit(receive_stdio(incoming(paths), token))
    from migrate.criu.errors import CriuMissing
    from migrate.criu.provide import prime_feature_cache
    from migrate.move import methods
    from migrate.transfer.agent import serve_stdio

    with contextlib.suppress(CriuMissing):  # facts and preflight tell it
        prime_feature_cache()
    session: dict[str, Any] = {}
    serve_stdio(
        methods.methods(paths), capabilities=methods.CAPABILITIES, session=session,
        on_close=methods.on_close(session),
    )  # fmt: skip
