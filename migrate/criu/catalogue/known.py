"""What is known of one line in CRIU's log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

CONVERSION = re.compile(r"%(?P<alternate>#)?0?\d*(?:l|ll|z|j)?(?P<kind>[cdioupsx])")
VALUES = {
    "c": ".", "d": r"-?\d+", "i": r"-?\d+", "u": r"\d+", "o": "[0-7]+", "x": "[0-9a-f]+",
    "p": r"(?:0x[0-9a-f]+|\(nil\))", "s": ".*",
}  # fmt: skip

CLOSE = "close it first, or stop the program and move it with --mode cold"
"""The mend where nothing better is known."""


@dataclass(frozen=True)
class Known:
    """A fatal line of CRIU's, what has caused it, and what mends it.

    `file` and `function` say where CRIU 4.2.1's source prints it. `line` is what is printed there,
    as a format of printf(3), with the file's own prefix ("mnt: "), up to the end of the line; what
    CRIU's pr_perror adds, ": %s" for the error number's text, belongs to it. `about` is a regular
    expression that must be found in the line besides, where one format tells several causes. An
    `effect` follows other errors as well, and tells a cause only where none stands before it. A
    `warning` counts only where no error is understood.
    """

    name: str
    file: str
    function: str
    line: str
    cause: str
    mend: str
    about: str = ""
    effect: bool = False
    warning: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What matches the line in the log, from "Error (" or "Warn  (" to its end.

        Before it stand the time, the pid, and "pie: " where code inside a task has printed it;
        after the level the source file and the line there (CRIU, criu/include/log.h, pr_err).
        """
        line = self.line.rstrip()  # as the log's lines are
        parts, end = [], 0
        for found in CONVERSION.finditer(line):
            parts.append(re.escape(line[end : found.start()]))
            parts.append(("(?:0x)?" if found["alternate"] else "") + VALUES[found["kind"]])
            end = found.end()
        parts.append(re.escape(line[end:]))
        level = "Warn  " if self.warning else "Error "
        return re.compile(rf"{level}\({re.escape(self.file)}:\d+\): {''.join(parts)}$")

    def matches(self, line: str) -> bool:
        """Whether a line of the log is this one."""
        found = self.pattern.search(line)
        return bool(found and re.search(self.about, found[0]))
