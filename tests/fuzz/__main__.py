"""`python -m tests.fuzz [NAME...] [--seconds N]`: each fuzzer so long (600 s); findings are kept.

No crash, no more than 1 GiB of memory, no input that takes longer than 20 s, nothing written beside
the directory. An input that was a finding is left in the directory `fuzz-findings`; when its cause
is mended, it belongs into tests/fuzz/corpus/NAME.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS

MEMORY, SLOW = 1024, 20  # MiB; seconds for one input
FINDINGS = Path("fuzz-findings")


def fuzz(name: str, seconds: int) -> subprocess.CompletedProcess[str]:
    """Run one; its output is libFuzzer's."""
    FINDINGS.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", name, f"-max_total_time={seconds}",
         f"-rss_limit_mb={MEMORY}", f"-timeout={SLOW}", f"-artifact_prefix={FINDINGS}/{name}-",
         "-print_final_stats=1"],
        capture_output=True, text=True, check=False, errors="replace",
    )  # fmt: skip


def inputs_of(output: str) -> str:
    """How many inputs were tried, as libFuzzer tells it at its end."""
    for line in output.splitlines():
        if "number_of_executed_units" in line:
            return line.split()[-1]
    return "?"


def main() -> int:
    """The exit status: 0 when nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*TARGETS, []], metavar="NAME")
    parser.add_argument("--seconds", type=int, default=600, help="for each (600)")
    given = parser.parse_args()
    status = 0
    for name in given.names or TARGETS:
        done = fuzz(name, given.seconds)
        words = "nothing found" if done.returncode == 0 else "FOUND SOMETHING"
        print(f"{name}: {inputs_of(done.stderr)} inputs, {words}", flush=True)
        if done.returncode:
            status = 1
            print(done.stderr[-4000:], flush=True)
    if FINDINGS.is_dir() and not any(FINDINGS.iterdir()):
        FINDINGS.rmdir()
    return status


if __name__ == "__main__":
    sys.exit(main())
