"""The whole matrix, or moves to and fro with random faults: `python -m tests.move.faults.soak`.

Without options every cell is carried out once. `--moves N`: N random ones, and every third move
with no fault at all. At the end nothing may be left on either host that was not there at the
beginning. All that went wrong is told; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

from tests.hosts import Lan
from tests.hosts.redis import MIGRATE
from tests.move.faults.cells import MODES, Cell, cells
from tests.move.faults.stage import NAME, Stage, Wrong, stage
from tests.move.fixtures import counts_on


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--moves", type=int, default=0, help="so many random ones, not the matrix")
    parser.add_argument("--seed", type=int, default=20261127)
    parser.add_argument("--share", default="1/1", help="2/3: the second of three parts of these")
    parser.add_argument("--only", default="", help="cells whose name has this in it")
    return parser.parse_args()


def plain(made: Stage, mode: str) -> None:
    """A move with no fault, which must be well; raises Wrong."""
    if made.source.run([MIGRATE, "ps", "-q"]).stdout == "":
        made.start()
    done = made.source.run(
        [MIGRATE, "move", "--mode", mode, "--stop-time", "0", NAME, made.target.ssh_target],
        check=False, timeout=120,
    )  # fmt: skip
    if done.returncode:
        raise Wrong(f"a plain move in mode {mode}: {done.stderr}")
    made.source, made.target = made.target, made.source
    if not counts_on(made.source):
        raise Wrong(f"it stands still after a plain move in mode {mode}")


def plan(given: argparse.Namespace) -> list[Cell | str]:
    """Cells, and modes for moves without a fault."""
    every = [cell for cell in cells() if given.only in str(cell)]
    share, shares = (int(word) for word in given.share.split("/"))
    chosen = random.Random(given.seed)
    chosen.shuffle(every)
    quick = [cell for cell in every if cell.fault != "cut"]
    moves = [
        chosen.choice(MODES) if number % 3 == 2 else chosen.choice(quick)
        for number in range(given.moves)
    ]
    return (moves or list(every))[share - 1 :: shares]


def main() -> int:
    """The exit status: 0 when all went well."""
    given = arguments()
    wanted, wrong, begun = plan(given), [], time.monotonic()
    with Lan() as lan, stage(lan) as made:
        for mode in ("pre-copy", "post-copy"):  # what is made once, and stays
            plain(made, mode)
        made.remove()
        before = made.traces()
        for number, step in enumerate(wanted, 1):
            try:
                if isinstance(step, Cell):
                    made.carry_out(step)
                else:
                    plain(made, step)
            except Wrong as error:
                wrong.append(str(error))
                print(f"WRONG {error}", flush=True)
                made.clear()
            if number % 25 == 0:
                took = time.monotonic() - begun
                print(f"{number} of {len(wanted)} in {took:.0f} s, {len(wrong)} wrong", flush=True)
                made.remove()
        made.remove()
        time.sleep(1)
        for host, traces in made.traces().items():
            left = Counter(traces) - Counter(before[host])
            wrong += [f"left on {host}: {count} times {what}" for what, count in left.items()]
    print(f"{len(wanted)} moves, {len(wrong)} wrong", *wrong, sep="\n  ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
