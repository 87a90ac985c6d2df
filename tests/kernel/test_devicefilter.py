from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from migrate.kernel.devicefilter import attach, program_of
from migrate.runtime.cgroups.layout import detect
from tests.engine import eventually

LOOK = """
echo $$ > "$1/cgroup.procs"
for d in null zero full; do
    (: < /dev/$d) 2>/dev/null && echo "r $d"
    (: > /dev/$d) 2>/dev/null && echo "w $d"
done
"""


def _removed(group: Path) -> bool:
    """Whether it is: who has just ended in it may be counted for a moment still."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def test_an_empty_list_is_a_program_that_denies():
    assert program_of([]).endswith(bytes.fromhex("b7000000 00000000 95000000 00000000"))


@pytest.mark.root
def test_the_last_rule_that_fits_decides(tmp_path: Path):
    root = detect().v2
    assert root, "this needs a cgroup v2 hierarchy"
    group = root / f"migrate-devices-{os.getpid()}"
    group.mkdir()
    try:
        attach(group, [
            (True, "a *:* rwm"), (False, "c 1:* w"), (True, "c 1:3 rwm"), (False, "c 1:7 rwm"),
            (True, "b 7:0 rwm"),
        ])  # fmt: skip
        told = subprocess.run(
            ["sh", "-c", LOOK, "sh", group], capture_output=True, text=True, check=False
        )
        assert told.stdout.split("\n")[:-1] == ["r null", "w null", "r zero"], told.stderr
        attach(group, [(True, "c 1:3 w"), (True, "c 1:7 rwm")])  # in place of the other one
        told = subprocess.run(
            ["sh", "-c", LOOK, "sh", group], capture_output=True, text=True, check=False
        )
        assert told.stdout.split("\n")[:-1] == ["w null", "r full", "w full"], told.stderr
    finally:
        assert eventually(lambda: _removed(group))
