"""`python -m tests.states [--runc] [KIND...]`: each program alone, over two checkpoints.

The tests run all of them in one container; this tells which one it was. With --runc each is run
under runc, too, and the exit status tells whether runc keeps one that migrate does not. As root.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.states import under_migrate, under_runc
from tests.states.building import ALL, build


def compare(programs: Path, kinds: list[str]) -> int:
    """A table of both; how many kinds runc keeps and migrate does not."""
    behind, seen = 0, Counter[tuple[str, str]]()
    print(f"{'kind':28}{'runc':10}migrate")
    for kind in kinds:
        theirs, why_theirs = under_runc.outcome(programs, kind)
        ours, why_ours = under_migrate.outcome(programs, kind)
        seen[theirs, ours] += 1
        behind += theirs == "kept" != ours
        print(f"{kind:28}{theirs:10}{ours}", flush=True)
        for who, why in (("runc", why_theirs), ("migrate", why_ours)):
            if why:
                print(f"    {who}: {why}", flush=True)
    for (theirs, ours), count in sorted(seen.items()):
        print(f"{count:4} kinds: runc {theirs}, migrate {ours}")
    return behind


def alone(programs: Path, kinds: list[str]) -> int:
    """How many migrate does not keep."""
    wrong = 0
    for kind in kinds:
        word, why = under_migrate.outcome(programs, kind)
        wrong += word != "kept"
        print(f"{kind}: {word}{why and f': {why}'}", flush=True)
    return wrong


def main() -> int:
    """Exit status: whether any was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.states")
    parser.add_argument("--runc", action="store_true", help="under runc, too, and compare")
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mgst") as directory:
        programs = Path(directory)
        programs.chmod(0o755)
        kinds = wanted.kinds or ALL
        build(programs, kinds)
        return int(bool((compare if wanted.runc else alone)(programs, kinds)))


if __name__ == "__main__":
    sys.exit(main())
