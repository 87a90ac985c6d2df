"""Two commits of this project in one run: a worktree of each, and one benchmark by both in turns.

What else the machine does meanwhile then falls on both alike (A B A B ...).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from migrate.bench.errors import BenchImpossible
from migrate.bench.series import Series

SETUP = ("make", "setup")
COMMAND = ".venv/bin/migrate"


def compare(
    checkout: Path, commits: tuple[str, str], words: Sequence[str], turns: int, directory: Path,
    report: Callable[[str], None],
) -> tuple[Path, Path]:  # fmt: skip
    """Run `migrate bench WORDS` by both in turns; the files with the runs of each together.

    The files are A.json and B.json of `directory`. Raises BenchImpossible.
    """
    told: tuple[list[Any], list[Any]] = ([], [])
    with contextlib.ExitStack() as stack:
        trees = [stack.enter_context(worktree(checkout, commit, report)) for commit in commits]
        for turn in range(turns):
            for tree, commit, done in zip(trees, commits, told, strict=True):
                report(f"turn {turn + 1} of {turns}, {commit}")
                done.append(_run(tree, words))
    directory.mkdir(parents=True, exist_ok=True)
    files = (directory / "A.json", directory / "B.json")
    for file, commit, done in zip(files, commits, told, strict=True):
        file.write_text(json.dumps({**together(done), "commit": commit}, indent=1) + "\n")
    return files


@contextlib.contextmanager
def worktree(checkout: Path, commit: str, report: Callable[[str], None]) -> Iterator[Path]:
    """That commit beside the checkout, ready to run; it is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="migrate-bench-") as name:
        tree = Path(name) / "tree"
        report(f"a worktree of {commit}")
        _call(checkout, "git", "worktree", "add", "--detach", str(tree), commit)
        try:
            _call(tree, *SETUP)
            yield tree
        finally:
            _call(checkout, "git", "worktree", "remove", "--force", str(tree))


def _run(tree: Path, words: Sequence[str]) -> dict[str, Any]:
    output = tree.parent / "result.json"
    output.unlink(missing_ok=True)
    _call(tree, str(tree / COMMAND), "bench", *words, "--output", str(output))
    told: dict[str, Any] = json.loads(output.read_bytes())
    return told


def _call(place: Path, *words: str) -> None:
    done = subprocess.run(
        words, cwd=place, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise BenchImpossible(
            f"{' '.join(words[:3])} failed", cause=(done.stderr or done.stdout).strip()[-400:],
            mend="name two commits of this checkout, and a benchmark that both have",
        )  # fmt: skip


def together(told: Sequence[Any]) -> Any:
    """One result of several of the same shape: the runs of each series are put together.

    What is no series stays as the first has it, but for what is wrong or missed: all of it is told.
    """
    first = told[0]
    if isinstance(first, list) and all(
        isinstance(other, list) and len(other) == len(first) for other in told
    ):
        return [together(same) for same in zip(*told, strict=True)]
    if not isinstance(first, dict) or not all(isinstance(other, dict) for other in told):
        return first
    if {"median", "runs"} <= first.keys():
        runs = tuple(float(run) for other in told for run in other.get("runs", ()))
        return Series("", runs).as_json()
    return {key: _of_all(key, [other[key] for other in told if key in other]) for key in first}


def _of_all(key: str, values: Sequence[Any]) -> Any:
    if key == "wrong":
        return sum(values)
    if key in ("missed", "errors"):
        return list(dict.fromkeys(line for lines in values for line in lines))
    return together(values)
