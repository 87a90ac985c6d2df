"""Every fuzzer for a moment, from a fixed seed, and every input that was a finding once."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from tests.fuzz import targets

RUNS = 400
pytestmark = pytest.mark.root  # layers have devices and owners


@pytest.mark.parametrize("name", targets.TARGETS)
def test_seeds_and_what_was_found_once(name: str) -> None:
    """The seeds also with single bytes changed, which needs no instrumentation."""
    chosen, target = random.Random(name), targets.TARGETS[name]
    with targets.Place() as place:
        for seed in targets.seeds(name):
            place.attempt(target, seed)
            for _ in range(20):
                changed = bytearray(seed or b"\0")
                changed[chosen.randrange(len(changed))] = chosen.randrange(256)
                place.attempt(target, bytes(changed))


@pytest.mark.parametrize(
    "name", ["control", "data", "layer", "checkpoint", "pagemap", "agent", "network-news"]
)
def test_what_strangers_send_is_fuzzed(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", name, f"-runs={RUNS}", "-seed=1",
         "-max_total_time=10", "-rss_limit_mb=1024", "-timeout=20", "-artifact_prefix=/dev/null"],
        capture_output=True, text=True, check=False, errors="replace", timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
