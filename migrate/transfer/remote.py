"""The command line that finds migrate at the other host and runs it, as its agent above all."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

INSTALLED_COMMAND = "/opt/migrate/bin/migrate"
COMMAND_VARIABLE = "MIGRATE_REMOTE_COMMAND"
MISSING_MARKER = "migrate-agent-missing"
MISSING_STATUS = 127

# No '!' and no newline: csh expands the first and dislikes the second, even within quotes.
_LOOKUP = (
    'for c in "$@"; do p=$(command -v "$c" 2>/dev/null) && [ -x "$p" ] && exec "$p" {}; '
    "done; echo {}: tried $* >&2; exit {}"
)


def candidates(command: str | None = None) -> list[str]:
    """Where to look, in this order: `command` or MIGRATE_REMOTE_COMMAND, /opt, PATH, our own."""
    explicit = command or os.environ.get(COMMAND_VARIABLE)
    own = str(Path(sys.prefix) / "bin" / "migrate")
    return [*([explicit] if explicit else []), INSTALLED_COMMAND, "migrate", own]


def agent_command_line(command: str | None = None, arguments: tuple[str, ...] = ()) -> str:
    """`migrate_command_line` for `migrate agent ARGUMENTS`."""
    return migrate_command_line(("agent", *arguments), command)


def migrate_command_line(arguments: tuple[str, ...], command: str | None = None) -> str:
    """One line for the remote user's shell that becomes `<migrate> ARGUMENTS`.

    It exits with MISSING_STATUS, with MISSING_MARKER on standard error, where there is none.
    """
    script = _LOOKUP.format(shlex.join(arguments), MISSING_MARKER, MISSING_STATUS)
    return shlex.join(["exec", "sh", "-c", script, "sh", *candidates(command)])
