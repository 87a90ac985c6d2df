"""The rows of `migrate bench network`, and its traffic over a real connection."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from migrate.bench.network import MUST_HOLD, Row, as_json, missed
from migrate.bench.watching import PROGRAMS
from tests.ports import held_port


def test_what_must_hold_is_the_median_of_the_excess() -> None:
    good = Row("overlay", "to", [0.12, 0.5, 0.11], [0.1, 0.1, 0.1])
    bad = Row("routed", "idle", [0.2, 0.3, 0.11], [0.1, 0.1, 0.1])
    assert good.excess.median == pytest.approx(0.02)
    assert missed([good]) == []
    assert missed([good, bad]) == ["routed, idle: 100 ms more than the freeze, 30 must hold"]
    told = json.loads(json.dumps(as_json([good, bad], "pre-copy", None)))
    assert told["rows"][0]["must_hold"] == {"excess": {"most": MUST_HOLD}}


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    program = [sys.executable, "-S", str(PROGRAMS / "traffic.py")]
    with (
        held_port() as port,
        subprocess.Popen([*program, "serve", str(port)], stdout=subprocess.PIPE, text=True) as made,
    ):
        assert made.stdout
        assert made.stdout.readline() == "ready\n"
        yield made, port
        made.kill()


def test_the_client_sees_a_silence_of_the_server(server) -> None:
    process, port = server
    client = subprocess.Popen(
        [sys.executable, "-S", str(PROGRAMS / "traffic.py"), "ask", "127.0.0.1", str(port)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert client.stdin
    assert client.stdout

    def mark() -> dict[str, float]:
        client.stdin.write("mark\n")
        client.stdin.flush()
        told: dict[str, float] = json.loads(client.stdout.readline())
        return told

    assert client.stdout.readline() == "connected\n"
    begun = time.monotonic()
    mark()
    process.send_signal(19)
    time.sleep(0.3)
    process.send_signal(18)
    time.sleep(1)
    seen = mark()
    assert all(0.2 < seen[kind] < time.monotonic() - begun for kind in ("to", "from", "idle"))
    assert seen["answers"] > 10
    process.kill()
    assert client.wait(60) != 0
    assert "Connection" in client.communicate()[1]
