"""migrate agent: the far end of another host's connection."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import Any

import click


@click.command(hidden=True)
@click.option("--data", "token", help="Serve a data connection of this move instead.")
@click.option(
    "--as",
    "sender",
    default="",
    metavar="NAME",
    help='For command="..." in authorized_keys: the key can run nothing else, and is NAME in '
    "/etc/migrate/policy.toml.",
)
def agent(token: str | None, sender: str) -> None:
    """Serve another host over standard input and output (docs/protocol.md)."""
    from migrate.kernel import threads
    from migrate.runtime.paths import Paths

    threads.bound_starts()
    if sender:
        token = _asked(os.environ.get("SSH_ORIGINAL_COMMAND", ""))
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
        methods.methods(paths, sender), capabilities=methods.CAPABILITIES, session=session,
        on_close=methods.on_close(session),
    )  # fmt: skip


def _asked(original: str) -> str | None:
    """What the client's command line (`transfer/remote.py`) asks for: a data connection's token.

    It is not run, whatever it is; None is for the agent itself. Raises NotTheAgent.
    """
    from migrate.move.errors import NotTheAgent

    found = re.search(r'exec "\$p" agent(?: --data ([0-9a-f]{32}))?;', original)
    if found is None:
        raise NotTheAgent("this key can run nothing but 'migrate agent'")
    return found[1]
