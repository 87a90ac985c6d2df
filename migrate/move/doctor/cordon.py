"""Whether the host takes containers."""

from __future__ import annotations

from collections.abc import Iterator

from migrate.move.doctor.finding import Finding, good, lacking
from migrate.runtime import cordon
from migrate.runtime.paths import Paths


def check(paths: Paths) -> Iterator[Finding]:
    """One finding; a cordoned host is a warning, since moves away from it work."""
    try:
        found = cordon.read(paths)
    except OSError as error:
        yield lacking("cordon", str(error), "not known", "run it as root")
        return
    if found is None:
        yield good("cordon", "none: the host takes containers")
    else:
        yield lacking("cordon", f"{found}", "no container is made, started, restored or moved here",
                      "migrate host uncordon")  # fmt: skip
