"""The whole matrix, or moves to and fro with random faults: `python -m tests.move.faults.soak`.

Without options every cell is carried out once. `--moves N`: N random ones, and every third move
with no fault at all. At the end nothing may be left on either host that was not there at the
beginning, and nothing may have grown: memory and descriptors of processes, the disk. All that went
wrong is told; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass

from tests.forked import start_short
from tests.hosts import Lan
from tests.hosts.redis import MIGRATE
from tests.move.faults.cells import LATE, MODES, Cell, cells
from tests.move.faults.stage import NAME, Stage, Wrong, stage
from tests.move.faults.weights import Weight, grown
from tests.move.fixtures import counts_on

SLOW = 30.0  # seconds for a cell, which are told
SETTLING = 3.0  # seconds until what ended with the last move has gone


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--moves", type=int, default=0, help="so many random ones, not the matrix")
    parser.add_argument("--seed", type=int, default=20261127)
    parser.add_argument("--share", default="1/1", help="2/3: the second of three parts of these")
    parser.add_argument("--only", default="", help="cells in whose name this expression is found")
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
    if mode == "cold":  # as in Stage.carry_out
        made.remove()


def plan(given: argparse.Namespace) -> list[Cell | str]:
    """Cells, and modes for moves without a fault."""
    every = [cell for cell in cells() if re.search(given.only, str(cell))]
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
    wanted, begun = plan(given), time.monotonic()
    with Lan(start=start_short) as lan, stage(lan) as made:
        before = measured(made)
        wrong = carry_out(made, wanted)
        wrong += left(before, measured(made))
    print(f"{len(wanted)} moves in {time.monotonic() - begun:.0f} s, {len(wrong)} wrong",
          *wrong, sep="\n  ")  # fmt: skip
    return 1 if wrong else 0


def carry_out(made: Stage, wanted: list[Cell | str]) -> list[str]:
    """One after the other; what went wrong."""
    wrong: list[str] = []
    begun = time.monotonic()
    for number, step in enumerate(wanted, 1):
        last = time.monotonic()
        try:
            if isinstance(step, Cell):
                made.carry_out(step)
            else:
                plain(made, step)
        except Wrong as error:
            wrong.append(str(error))
            print(f"WRONG {error}", flush=True)
            made.clear()
        if (took := time.monotonic() - last) > SLOW:
            print(f"slow: {took:.0f} s for {step}", flush=True)
        if number % 25 == 0:
            took = time.monotonic() - begun
            print(f"{number} of {len(wanted)} in {took:.0f} s, {len(wrong)} wrong", flush=True)
            made.remove()
    return wrong


@dataclass(frozen=True)
class Measured:
    """Both hosts by name: with a container that has come there and back, and without."""

    moved: dict[str, Weight]
    empty: dict[str, Weight]
    traces: dict[str, list[str]]


def measured(made: Stage) -> Measured:
    """What is made once, and stays, is made by the moves before."""
    made.remove()
    made.source, made.target = made.hosts
    for mode in (*LATE, "pre-copy", "pre-copy"):
        plain(made, mode)
    time.sleep(SETTLING)
    moved = made.weights()
    made.remove()
    time.sleep(SETTLING)
    return Measured(moved, made.weights(), made.traces())


def left(before: Measured, after: Measured) -> list[str]:
    """What has come to stay, or has grown."""
    found = []
    for host, traces in after.traces.items():
        more = Counter(traces) - Counter(before.traces[host])
        found += [f"left on {host}: {count} times {what}" for what, count in more.items()]
        found += [
            f"grown on {host}: {what}" for what in grown(before.empty[host], after.empty[host])
        ]
        found += [
            f"grown on {host}, with a container: {what}"
            for what in grown(before.moved[host], after.moved[host])
        ]
        print(f"{host}: {before.empty[host]}, now {after.empty[host]}", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
