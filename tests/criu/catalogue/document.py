"""docs/criu-failures.md, made of the catalogue: `python -m tests.criu.catalogue.document`."""

from __future__ import annotations

from pathlib import Path

from migrate.criu.catalogue import SUBJECTS
from migrate.criu.catalogue.known import Known

DOCUMENT = Path(__file__).parents[3] / "docs/criu-failures.md"
HEAD = """\
# CRIU's failures in words

When CRIU gives up a dump or a restore, `migrate` reads its log, looks for the first line that it
understands, and tells its cause and what to do, with CRIU's own line quoted. These are the lines
that it knows of CRIU 4.2.1 (`migrate/criu/catalogue/`), as formats of printf, with the source file
and the function that prints each. A line that stands here more than once tells several causes; what
else is in it decides. Where no line is known, the first error is quoted, and the log's place told.

This file is made of the catalogue, and a test compares the two:
`.venv/bin/python -m tests.criu.catalogue.document` writes it.
"""


def row(known: Known) -> str:
    line = f"`{known.line.strip()}`".replace("|", r"\|")
    source = f"{known.file}, {known.function}"
    return f"| {known.name} | {line}<br>{source} | {known.cause} | {known.mend} |"


def text() -> str:
    parts = [HEAD]
    for subject, entries in SUBJECTS.items():
        parts += ["", f"## {subject}", "", "| name | CRIU's line | cause | what to do |"]
        parts += ["|---|---|---|---|", *map(row, entries)]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(text())
