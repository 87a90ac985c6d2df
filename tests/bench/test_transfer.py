"""Our data connections beside others: the same bytes arrive, and what they cost is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migrate.bench import transfer
from migrate.bench.errors import BenchMissed
from migrate.bench.report.losses import losses
from migrate.bench.results import load
from migrate.bench.sending import FILES, PAGES, SSH, TCP
from tests.hosts import leftovers, snapshot

MIB = 12


@pytest.mark.root
@pytest.mark.hosts
@pytest.mark.alone
def test_four_ways_to_send_the_same(tmp_path: Path) -> None:
    before = snapshot()
    outcome = transfer.run(MIB, 400, 1, print)
    assert leftovers(before, set()) == []
    rows = {(row.what, row.unit): row for row in outcome.rows}
    assert len(rows) == 6
    for row in outcome.rows:
        assert [side.name for side in row.sides] == [FILES, PAGES, TCP, SSH]
        assert all(len(side.runs) == 1 and side.median > 0 for side in row.sides)
    wire = {kind: rows[f"{MIB} MiB, {kind}", "bytes on the wire"] for kind in transfer.KINDS}
    for way in (FILES, PAGES, TCP, SSH):
        assert 1.0 < wire["random"].side(way).median / (MIB << 20) < 1.1, way
    assert wire["text"].side(PAGES).median < 0.5 * (MIB << 20)
    assert wire["text"].side(TCP).median > MIB << 20
    rate = rows[f"{MIB} MiB, random", "bytes/s"]
    assert all(side.median < 400 * 125_000 * 1.1 for side in rate.sides)  # the link's
    path = tmp_path / "transfer.json"
    path.write_text(json.dumps(outcome.as_json()))
    result = load(path)
    assert result.figures[f"{MIB} MiB, random, bytes/s: {TCP}"].median == rate.side(TCP).median
    # Ciphers cost CPU time, and headers bytes; the report has to say so.
    assert any("CPU s/GiB" in line for line in losses(result))


def test_other_bytes_than_were_sent_are_found(tmp_path: Path) -> None:
    sent, place = tmp_path / "sent", tmp_path / "place"
    place.mkdir()
    sent.write_bytes(b"x" * 3_000_000)
    for name, content in (
        ("data", b"x" * 3_000_000),
        ("data@8192", bytes(8192) + b"x" * 3_000_000),
    ):
        (place / name).write_bytes(content)
        transfer._check(sent, place, "a way")
        assert list(place.iterdir()) == []
    for wrong in (b"x" * 2_999_999 + b"y", b"x" * 2_999_999):
        (place / "data").write_bytes(wrong)
        with pytest.raises(BenchMissed, match="other bytes"):
            transfer._check(sent, place, "a way")


@pytest.mark.parametrize("kind", transfer.KINDS)
def test_what_is_sent(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import zstandard

    monkeypatch.setattr(transfer, "DISTINCT", 2 << 20)
    transfer._write(tmp_path / "data", kind, 3)
    content = (tmp_path / "data").read_bytes()
    assert len(content) == 3 << 20
    assert (content[: 1 << 20] == content[2 << 20 :]) is (kind == "text")
    share = len(zstandard.compress(content[: 1 << 20], 1)) / (1 << 20)
    assert share < 0.5 if kind == "text" else share > 0.99
