"""Modules are loaded beside, in a process of their own; one that is missing harms nobody."""

from __future__ import annotations

import subprocess
import sys

import pytest

from migrate.move.loadahead import AT_SOURCE, AT_TARGET

PROGRAM = """
import sys
from migrate.move.loadahead import load_ahead
names = {names}
assert not set(names) & set(sys.modules)
load_ahead(("no_such_module", *names))()
print(*(name in sys.modules for name in names))
"""


@pytest.mark.parametrize("names", [AT_SOURCE, AT_TARGET])
def test_what_is_needed_later_is_there(names: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(names=names)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) == {"True"}, done.stderr
