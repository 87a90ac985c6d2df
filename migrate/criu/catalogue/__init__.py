"""CRIU 4.2.1's fatal log lines, by subject: what has caused each, and what mends it.

docs/criu-failures.md has them as a table.
"""

from __future__ import annotations

import re

from migrate.criu.catalogue.files import FILES
from migrate.criu.catalogue.known import Known
from migrate.criu.catalogue.memory import MEMORY
from migrate.criu.catalogue.mounts import MOUNTS
from migrate.criu.catalogue.restore import RESTORE
from migrate.criu.catalogue.sockets import SOCKETS
from migrate.criu.catalogue.tasks import TASKS
from migrate.criu.catalogue.terminals import TERMINALS

SUBJECTS = {
    "Files": FILES,
    "Sockets and networks": SOCKETS,
    "Terminals": TERMINALS,
    "Processes": TASKS,
    "Memory": MEMORY,
    "Mounts, namespaces, cgroups": MOUNTS,
    "Restores and images": RESTORE,
}
CATALOGUE = tuple(known for subject in SUBJECTS.values() for known in subject)
SOURCE = re.compile(r"(?:Error|Warn ) \(([\w./-]+):\d+\): ")


def by_file() -> dict[str, tuple[Known, ...]]:
    """The entries of each of CRIU's source files: a log can have very many lines."""
    found: dict[str, tuple[Known, ...]] = {}
    for known in CATALOGUE:
        found[known.file] = (*found.get(known.file, ()), known)
    return found


BY_FILE = by_file()


def find(line: str) -> Known | None:
    """What is known of a line in CRIU's log; None if nothing is."""
    source = SOURCE.search(line)
    of_that_file = BY_FILE.get(source[1], ()) if source else ()
    return next((known for known in of_that_file if known.matches(line)), None)
