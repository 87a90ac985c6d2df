"""Podman and runc in the place of our move: the client's clock, the rows, and a real small run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.bench.loads.memory import Memory
from migrate.bench.peers.rows import Once, Row
from migrate.bench.peers.turns import PEERS
from migrate.bench.report import readings
from migrate.bench.report.losses import losses
from migrate.bench.results import impossible, load
from migrate.bench.watching import PROGRAMS
from migrate.cli.bench import bench
from migrate.cli.benchpeers import NAMES

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, str(PROGRAMS / "datagrams.py")]


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with subprocess.Popen(
        [*PROGRAM, "serve", "1", "100", "random", str(port)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as made:  # fmt: skip
        assert made.stdout
        assert made.stdout.readline() == "ready\n"
        yield made, port
        made.kill()


def test_both_clocks_see_a_pause(server: tuple[subprocess.Popen[str], int]) -> None:
    process, port = server
    with subprocess.Popen(
        [*PROGRAM, "ask", str(port), "127.0.0.1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as client:  # fmt: skip
        assert client.stdin
        assert client.stdout

        def order(words: str) -> dict[str, float]:
            client.stdin.write(f"{words}\n")
            client.stdin.flush()
            told: dict[str, float] = json.loads(client.stdout.readline())
            return told

        begun = time.monotonic()
        order("ask r")
        order("mark")
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.7)
        seen = order("mark")
        assert 0.25 < seen["gap"] < time.monotonic() - begun
        assert seen["answers"] > 10
        tick, written = map(int, str(order("ask r")["answer"]).split())
        assert 0.25e6 < tick < (time.monotonic() - begun) * 1e6
        assert written > 5
        assert order("ask v") == {"answer": "0"}
        client.stdin.close()
        assert client.wait(60) == 0


def once(gap: float, whole: float) -> Once:
    return Once(gap, gap, whole, 1e6, {"checkpoint": gap / 2, "restore": gap / 2}, 0)


def peers_result(path: Path) -> Path:
    small, large = Memory(64), Memory(1024)
    rows = [
        Row("migrate pre-copy", False, small, (once(0.06, 1.0), once(0.07, 1.2))),
        Row("runc", True, small, (once(0.3, 0.5), once(0.4, 0.6))),
        Row("podman pre-checkpoint", True, small, (), "no soft-dirty"),
        Row("migrate pre-copy", False, large, (once(0.06, 2.0),)),
        Row("runc", True, large, (once(0.01, 3.0),)),
    ]
    path.write_text(json.dumps({"benchmark": "peers", "rows": [row.as_json() for row in rows]}))
    return path


def test_where_peers_do_better_is_told(tmp_path: Path) -> None:
    result = load(peers_result(tmp_path / "peers.json"))
    assert losses(result) == [
        "1 GiB, random, 1000 pages/s: 0.06 s of service gap, runc 0.01",
        "64 MiB, random, 1000 pages/s: 1.1 s for the whole, runc 0.55",
    ]
    assert impossible(result) == [
        "64 MiB, random, 1000 pages/s, podman pre-checkpoint: impossible here: no soft-dirty"
    ]
    names = [name for name in result.figures if name.endswith(": gap")]
    assert names[0] == "64 MiB, random, 1000 pages/s, migrate pre-copy: gap"
    assert names[1] == "64 MiB, random, 1000 pages/s, runc: gap"


def test_peers_are_drawn_beside_ours(tmp_path: Path) -> None:
    rows = readings.rows_of(load(peers_result(tmp_path / "peers.json")))
    lines = readings.lines(rows)
    assert [(line.label, line.is_peer, len(line.points)) for line in lines] == [
        ("migrate pre-copy, 1000 pages/s", False, 2), ("runc, 1000 pages/s", True, 2),
    ]  # fmt: skip


def test_an_unknown_peer_is_refused() -> None:
    done = CliRunner().invoke(bench, ["peers", "--peer", "vmware"])
    assert done.exit_code == 2
    assert "runc lazy-pages" in done.output
    assert tuple(peer.name for peer in PEERS) == NAMES


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
@pytest.mark.timeout(300)
def test_a_small_run(tmp_path: Path) -> None:
    """All sides once; what this kernel can't do is told with its reason."""
    output = tmp_path / "peers.json"
    done = subprocess.run(
        [Path(sys.executable).with_name("migrate"), "bench", "peers", "--mib", "16", "--runs", "1",
         "--output", output],
        capture_output=True, text=True, timeout=280, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(output.read_text())
    rows = {row.get("peer", "ours"): row for row in told["rows"]}
    tracking = "MEM_SOFT_DIRTY=y" in kernel_configuration()
    needs_tracking = {"podman pre-checkpoint", "runc pre-dump"}
    for name, row in rows.items():
        if name in needs_tracking and not tracking:
            assert "impossible" in row
            continue
        assert "impossible" not in row, row
        assert row["wrong"] == 0
        assert 0.01 < row["gap"]["median"] < 10
        # Two processes see the same pause, each as late as the machine lets it run.
        assert abs(row["tick"]["median"] - row["gap"]["median"]) < 0.3 + row["gap"]["median"] / 2
        assert row["gap"]["median"] < row["whole"]["median"]
        assert row["sent"]["median"] > (16 << 20)  # zstd, too, finds nothing to leave out
    assert set(rows) == {
        "ours", "podman", "podman zstd", "podman pre-checkpoint", "runc", "runc pre-dump",
        "runc lazy-pages",
    }  # fmt: skip


def kernel_configuration() -> str:
    import gzip

    packed = Path("/proc/config.gz")
    if packed.exists():
        return gzip.decompress(packed.read_bytes()).decode()
    return "\n".join(
        path.read_text() for path in Path("/boot").glob(f"config-{os.uname().release}")
    )
