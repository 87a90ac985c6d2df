"""Moves a program that does everything to its memory to and fro: `python -m tests.move.soak [N]`.

N moves (200), the modes with memory in turn, each with all pages of both copies compared before the
new one runs. It ends at the first one that fails, or page that is wrong.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

from migrate.bench.hosts import make_image
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE

PROGRAMS = Path(__file__).parent / "programs"
PROCESSES = 4
MODES = ("pre-copy", "hybrid", "post-copy", "stop-copy")


def wrong(host: Host) -> list[str]:
    """What the program complains of."""
    lines = host.run([MIGRATE, "logs", "stress"]).stdout.splitlines()
    return [line for line in lines if "WRONG" in line]


def main() -> int:
    """The exit status: 0 when all went well."""
    moves = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    frozen = []
    with Lan() as lan:
        source, target = lan.host("alpha"), lan.host("beta")
        make_image(lan.shared / "bench.tar", [source, target], MIGRATE)
        source.run([
            MIGRATE, "run", "-d", "--name", "stress", "-v", "/usr:/usr:ro",
            "-v", f"{PROGRAMS}:/bench:ro", "-e", "PYTHONDONTWRITEBYTECODE=1", "bench",
            "/usr/bin/python3", "/bench/stress.py", str(PROCESSES),
        ])  # fmt: skip
        for number in range(1, moves + 1):
            time.sleep(0.3)
            mode = MODES[number % len(MODES)]
            command = [
                MIGRATE, "move", "--verify", "--mode", mode, "stress", target.ssh_target, "--json",
            ]  # fmt: skip
            told = source.run(command).stdout.splitlines()[-1]
            frozen.append(json.loads(told)["result"]["freeze_seconds"])
            source, target = target, source
            if bad := wrong(source):
                print(f"move {number}:", *bad[:5], sep="\n  ")
                return 1
            if number % 10 == 0:
                median = statistics.median(frozen) * 1000
                print(f"{number} moves, no page wrong, {median:.0f} ms frozen (median)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
