"""What the client remembers of its pings: those around the longest silence, and no more."""

from __future__ import annotations

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from migrate.bench.workloads import pinger
from migrate.bench.workloads.pinger import AROUND, Watch


def watched(monkeypatch: pytest.MonkeyPatch, *answers: float, took: float = 0.0005) -> Watch:
    monkeypatch.setattr(pinger.time, "monotonic", lambda: 0.0)
    watch = Watch()
    for now in answers:
        watch.answered(now - took, now)
    return watch


def test_the_pings_around_the_longest_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [n / 1000 for n in range(1, 3001)]
    after = [3.5 + n / 1000 for n in range(3000)]
    watch = watched(monkeypatch, *before, *after)
    assert watch.gap == pytest.approx(0.5)
    samples = watch.latency()
    assert len(samples) == 2 * AROUND + 1
    assert samples[0][0] == pytest.approx(-0.5 - (AROUND - 1) / 1000 - 0.0005)
    assert samples[AROUND] == (-0.0005, 0.0005)
    assert samples[-1][0] == pytest.approx(AROUND / 1000 - 0.0005)


def test_a_longer_silence_later_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watched(monkeypatch, 0.001, 0.101, 0.102, 0.302, 0.303)
    assert watch.gap == pytest.approx(0.2)
    assert [sent for sent, _ in watch.latency()] == [
        pytest.approx(t - 0.3025) for t in (0.001, 0.101, 0.102, 0.302, 0.303)
    ]


def test_what_else_was_done_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watched(monkeypatch, 0.001)
    monkeypatch.setattr(pinger.time, "monotonic", lambda: 9.0)
    watch.resume()
    watch.answered(9.001, 9.002)
    assert watch.gap == pytest.approx(0.002)


def test_the_head_of_a_file_over_http(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("some")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.func.protocol_version = "HTTP/1.1"  # type: ignore[attr-defined]
    handler.func.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = pinger.HttpPinger("127.0.0.1", server.server_port)
        assert [client.ask("/file"), client.ask("/file"), client.ask("/none")] == [
            "200", "200", "404",
        ]  # fmt: skip
        client._channel.close()
        server.shutdown()
