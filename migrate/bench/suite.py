"""Several benchmarks one after the other, each by its own command, with a result for each.

What `migrate bench run` runs: benchmarks by name, in the short form or the full one, or what a file
says. Such a file is TOML: a table for each result, named as its file will be, with `benchmark` and
`options`, the words of its command:

    [small-moves]
    benchmark = "downtime"
    options = ["--mib", "16", "--mode", "pre-copy", "--runs", "9"]
"""

from __future__ import annotations

import re
import subprocess
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from migrate.bench.errors import BenchImpossible


@dataclass(frozen=True)
class Run:
    """One result: NAME.json of `migrate bench BENCHMARK OPTIONS`."""

    name: str
    benchmark: str
    options: tuple[str, ...] = ()


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SHORT = (
    Run("overhead", "overhead"),
    Run("downtime", "downtime", _words("--mib 64 --mib 1024 --runs 3 --latency")),
    Run("peers", "peers", _words("--runs 1")),
    Run("scale", "scale", _words("--runs 1")),
    Run("network", "network", _words("--runs 2")),
    Run("tracked", "tracked", _words("--mib 256 --runs 3")),
    Run("evacuate", "evacuate", _words("--containers 4 --mib 32 --parallel 2 --runs 1")),
    Run("runtime", "runtime"),
    Run("transfer", "transfer", _words("--mib 256 --runs 3")),
)
FULL = (
    Run("overhead", "overhead", _words("--runs 9")),
    Run("must-hold", "downtime", _words("--must-hold --latency")),
    Run(
        "downtime", "downtime",
        _words("--mib 16 --mib 64 --mib 256 --mib 1024 --mib 4096 --latency"),
    ),
    Run("downtime-idle", "downtime", _words("--mib 16 --mib 1024 --rate 0")),
    Run("downtime-fast", "downtime", _words("--mib 256 --mib 1024 --rate 10000")),
    Run(
        "workloads", "downtime",
        _words(
            "--workload text --workload zero --workload files --workload connections "
            "--workload numeric --workload postgres --workload nginx --workload tree "
            "--workload tree-python --mode pre-copy"
        ),
    ),
    Run("peers", "peers", _words("--mib 16 --mib 64 --mib 256 --mib 1024 --mib 4096")),
    Run("peers-text", "peers", _words("--mib 1024 --kind text")),
    Run("peers-gigabit", "peers", _words("--mib 64 --mib 1024 --link 1000")),
    Run("scale", "scale", _words("--full --runs 10")),
    Run("network", "network"),
    Run("tracked", "tracked"),
    Run("evacuate", "evacuate"),
    Run("runtime", "runtime"),
    Run("transfer", "transfer"),
    Run("transfer-gigabit", "transfer", _words("--link 1000")),
)  # fmt: skip


class _Told(msgspec.Struct, forbid_unknown_fields=True):
    benchmark: str
    options: list[str] = []


def of_names(names: Sequence[str], *, full: bool) -> list[Run]:
    """The runs of these benchmarks; without names, of all. Raises BenchImpossible."""
    runs = FULL if full else SHORT
    known = {run.benchmark for run in runs}
    if unknown := [name for name in names if name not in known]:
        raise BenchImpossible(
            f"there is no benchmark {unknown[0]!r}", mend=f"name some of {', '.join(sorted(known))}"
        )
    return [run for run in runs if not names or run.benchmark in names]


def of_file(path: Path) -> list[Run]:
    """What the file says; raises BenchImpossible."""
    try:
        told = msgspec.convert(tomllib.loads(path.read_text()), dict[str, _Told])
        if bad := [name for name in told if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)]:
            raise ValueError(f"{bad[0]!r} is no name of a file")
        known = {run.benchmark for run in SHORT}
        if wrong := [one.benchmark for one in told.values() if one.benchmark not in known]:
            raise ValueError(f"there is no benchmark {wrong[0]!r}")
        if not told:
            raise ValueError("it names no benchmark")
    except (OSError, ValueError) as error:  # those of TOML and of msgspec are such, too
        raise BenchImpossible(
            f"{path} does not say what to run", cause=str(error),
            mend="give each result a table with 'benchmark' and 'options'",
        ) from error  # fmt: skip
    return [Run(name, one.benchmark, tuple(one.options)) for name, one in told.items()]


def run_all(
    runs: Sequence[Run], migrate: Sequence[str], directory: Path, report: Callable[[str], None]
) -> list[str]:  # fmt: skip
    """One after the other; a sentence for each that fails. The others run all the same.

    `migrate`: the command itself.
    """
    directory.mkdir(parents=True, exist_ok=True)
    failed = []
    for number, run in enumerate(runs):
        words = [*migrate, "bench", run.benchmark, *run.options]
        report(f"[{number + 1}/{len(runs)}] {' '.join(words[len(migrate) :])}")
        output = directory / f"{run.name}.json"
        output.unlink(missing_ok=True)  # of another time: it would pass for this one's
        begun = time.monotonic()
        code = subprocess.run(
            [*words, "--output", output], check=False, stdin=subprocess.DEVNULL
        ).returncode
        report(f"[{number + 1}/{len(runs)}] took {time.monotonic() - begun:.0f} s")
        if code:
            failed.append(f"{run.name}: exit code {code}")
    return failed
