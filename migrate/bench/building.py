"""Programs in C that a benchmark needs, built with the machine's compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from migrate.bench.errors import BenchImpossible

_COMPILERS = ("cc", "gcc", "clang", "tcc")
_TIME_LIMIT = 60.0  # seconds


def build(source: Path, into: Path) -> Path:
    """The program in the directory `into`, named as its source; raises BenchImpossible."""
    made = into / source.stem
    found = os.environ.get("CC") or next(filter(None, map(shutil.which, _COMPILERS)), None)
    if found is None:
        raise BenchImpossible(
            f"{source.name} can't be built", cause="no C compiler on this machine",
            mend="run 'make setup', which installs one",
        )  # fmt: skip
    done = subprocess.run(
        [found, "-O1", "-o", made, source], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False, timeout=_TIME_LIMIT,
    )  # fmt: skip
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if "error:" in line]
        cause = (complaints or ["the compiler said no word of it"])[0]
        raise BenchImpossible(f"{source.name} can't be built", cause=cause)
    return made
