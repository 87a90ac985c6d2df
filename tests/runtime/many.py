"""Many containers at once: started, listed, execed into, paused, resumed, stopped, removed.

`python -m tests.runtime.many [--count 200] [--kill-points 60]` is the long form: it goes through
all of it with 200 containers, then through the kill tests at many more lines.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.engine import Engine, eventually
from tests.rootfs import busybox_rootfs

AT_ONCE = 8
"""Commands that run at a time; the containers are all there together."""
PS_MUST_HOLD = 0.5
"""Seconds of `migrate ps` in an interpreter of its own, at most."""
_LIMIT = 120.0


def together(engine: Engine, commands: Sequence[Sequence[str | Path]]) -> list[str]:
    """Run them, AT_ONCE at a time, each in a process; what each printed. All must succeed."""
    waiting, running, printed = list(commands), [], []
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            words = waiting.pop(0)
            running.append((words, engine.start(*words)))
        words, process = running.pop(0)
        out, error = process.communicate(timeout=_LIMIT)
        assert process.returncode == 0, (words, process.returncode, out, error)
        printed.append(out.strip())
    return printed


def go_through(engine: Engine, count: int, report: Callable[[str], None]) -> float:
    """All verbs with `count` containers; the median time of `migrate ps` with them, in seconds."""
    names = [f"m{number}" for number in range(count)]

    def every(verb: str, *options: str, words: Sequence[str] = ()) -> list[str]:
        begun = time.monotonic()
        printed = together(engine, [[verb, *options, name, *words] for name in names])
        report(f"{verb}: {time.monotonic() - begun:.1f} s")
        return printed

    run = [["run", "-d", "--name", n, "--rootfs", engine.rootfs, "sleep", "1000"] for n in names]
    begun = time.monotonic()
    engine.identifiers.update(together(engine, run))
    report(f"run: {time.monotonic() - begun:.1f} s")
    took = sorted(time_of_ps(engine, count) for _ in range(5))[2]
    report(f"ps: {took:.3f} s")
    hosts = {str(entry["name"]): entry["id"] for entry in listed(engine)}
    assert every("exec", words=("hostname",)) == [hosts[name] for name in names]
    every("pause")
    assert {entry["status"] for entry in listed(engine)} == {"paused"}
    every("resume")
    every("stop", "-t", "0")
    assert {entry["status"] for entry in listed(engine)} == {"stopped"}
    engine.ok("rm", *names)
    assert eventually(lambda: engine.leftovers() == []), engine.leftovers()
    return took


def listed(engine: Engine) -> list[dict[str, object]]:
    """What `ps -a --json` tells."""
    found: list[dict[str, object]] = json.loads(engine.ok("ps", "-a", "--json"))
    return found


def time_of_ps(engine: Engine, count: int) -> float:
    """Seconds of `migrate ps`, which must name `count` containers."""
    begun = time.monotonic()
    done = subprocess.run(
        [Path(sys.executable).with_name("migrate"), "ps", "-q"], env=engine.environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    took = time.monotonic() - begun
    assert len(done.stdout.split()) == count, done.stdout
    return took


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--kill-points", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mm", dir="/tmp") as place:
        engine = Engine(Path(place) / "engine", busybox_rootfs(Path(place) / "root"))
        took = go_through(engine, given.count, lambda text: print(text, flush=True))
    if took > PS_MUST_HOLD:
        sys.exit(f"migrate ps took {took:.3f} s with {given.count} containers")
    tests = ["tests/runtime/test_kill.py", "tests/oci/test_kill.py"]
    environment = os.environ | {"MIGRATE_KILL_POINTS": str(given.kill_points)}
    command = [sys.executable, "-m", "pytest", "-q", "-o", "timeout=1800", *tests]
    sys.exit(subprocess.run(command, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
