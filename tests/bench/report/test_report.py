"""The page and the plots: whole, of what files say, and nothing in them that files could add."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from migrate.bench.comparison import Comparison
from migrate.bench.errors import BenchImpossible
from migrate.bench.goals import with_limits
from migrate.bench.loads.memory import Memory
from migrate.bench.report import readings, tracefile
from migrate.bench.results import load
from migrate.bench.rows import Row, machine
from migrate.bench.series import Series
from migrate.cli.bench import bench

PNG = b"\x89PNG\r\n\x1a\n"
SVG = "{http://www.w3.org/2000/svg}"
NASTY = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>$\\frac{ &amp;\x1b[2J\0"


def row(mib: int, mode: str, *gaps: float, **more: Any) -> dict[str, Any]:
    samples = ((-0.2, 0.001), (-gaps[0], gaps[0]), (0.001, 0.001))
    made = Row(
        mode, Memory(mib), Series("gap", gaps), None, Series("freeze", gaps), None, None,
        {"freeze": 0.004, "dump": 0.03, "restore": 0.02}, 70 << 20, mib << 20, (), 0, (),
        latency=samples,
    )  # fmt: skip
    return with_limits(made) | more


def write(path: Path, *rows: dict[str, Any], **more: Any) -> Path:
    whole = {"benchmark": "downtime", "rows": list(rows), "missed": [], **machine(), **more}
    path.write_text(json.dumps(whole))
    return path


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def images(self) -> list[ElementTree.Element]:
        head = "data:image/svg+xml;base64,"
        sources = [value for name, value in self.attributes if name == "src"]
        assert all(source.startswith(head) for source in sources)
        return [ElementTree.fromstring(base64.b64decode(s[len(head) :])) for s in sources]


def report(directory: Path, *more: str) -> Result:
    return CliRunner().invoke(bench, ["report", str(directory), *more])


def made(tmp_path: Path, *more: str) -> Page:
    done = report(tmp_path, "--html", str(tmp_path / "page.html"), *more)
    assert done.exit_code == 0, done.output
    return Page((tmp_path / "page.html").read_text())


def words(image: ElementTree.Element) -> str:
    return " ".join("".join(text.itertext()) for text in image.iter(f"{SVG}text"))


def test_the_page_has_the_figures_and_the_plots(tmp_path: Path) -> None:
    rows = [row(mib, mode, 0.05 * mib / 64, 0.0612, 0.07) for mib in (64, 1024)
            for mode in ("pre-copy", "stop-copy")]  # fmt: skip
    rows[3]["peer"] = "podman"
    write(tmp_path / "one.json", *rows)
    page = made(tmp_path, "--plots", str(tmp_path / "plots"))
    assert page.tags.count("script") == 0
    assert {name for name, _ in page.attributes} <= {
        "lang", "charset", "http-equiv", "content", "class", "src", "alt",
    }  # fmt: skip
    for expected in ("64 MiB, random, 1000 pages/s, pre-copy: gap", "0.0612", "at most 0.1"):
        assert expected in page.text
    downtime, pause, latency = page.images
    assert all(image.tag == f"{SVG}svg" for image in page.images)
    for expected in ("pre-copy, 1000 pages/s", "podman, 1000 pages/s", "1024", "service gap, ms"):
        assert expected in words(downtime)
    assert "1 GiB, random, 1000 pages/s, pre-copy" in words(pause)
    assert [w for w in ("freeze", "dump", "restore", "30.0", "20.0") if w in words(pause)] == [
        "freeze", "dump", "restore", "30.0", "20.0",
    ]  # fmt: skip
    assert "ms until the answer" in words(latency)
    files = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert files == [f"{name}.{kind}" for name in ("downtime", "latency", "pause")
                     for kind in ("png", "svg")]  # fmt: skip
    for path in (tmp_path / "plots").glob("*.png"):
        assert path.read_bytes().startswith(PNG)
        assert path.stat().st_size > 5000
    for path in (tmp_path / "plots").glob("*.svg"):
        assert ElementTree.fromstring(path.read_bytes()).tag == f"{SVG}svg"


def test_the_page_says_where_we_lose(tmp_path: Path) -> None:
    slow = write(tmp_path / "slow.json", row(1024, "pre-copy", 0.5), missed=["a gap of 500 ms"])
    sides = (Series("migrate-oci run", (0.3, 0.3)), Series("crun run", (0.1, 0.05)))
    compared = Comparison(
        "run of /bin/true", "s", sides, ("migrate-oci run",),
        ratio_of=("migrate-oci run", "crun run"), limits={"ratio": {"most": 3.0}},
    )  # fmt: skip
    assert compared.ratio == Series("ratio", (0.3 / 0.1, 0.3 / 0.05))
    assert compared.missed() == ["run of /bin/true: ratio 4.5, at most 3 must hold"]
    runtime = {"benchmark": "runtime", "rows": [compared.as_json()], "missed": [], **machine()}
    (tmp_path / "runtime.json").write_text(json.dumps(runtime))
    lines = report(tmp_path).output.splitlines()
    lost = lines[lines.index("where we lose:") + 1 :]
    assert sorted(line.strip() for line in lost) == [
        "runtime.json: run of /bin/true: migrate-oci run 0.3 s, crun run 0.075",
        "slow.json: missed: a gap of 500 ms",
    ]
    page = made(tmp_path)
    assert "run of /bin/true: migrate-oci run 0.3 s, crun run 0.075" in page.text
    assert "at most 3: missed" in page.text
    slow.unlink()
    (tmp_path / "runtime.json").write_text(
        json.dumps(runtime | {"rows": [compared.as_json() | {"more_is_better": True}]})
    )
    assert "where we lose" not in report(tmp_path).output
    assert "Nowhere, in these results." in made(tmp_path).text


def test_limits_count_where_a_result_does_not_judge_itself(tmp_path: Path) -> None:
    told = {"benchmark": "overhead", "ratio": 2.5, "must_hold": 2.0}
    (tmp_path / "overhead.json").write_text(json.dumps(told))
    output = report(tmp_path).output
    assert "missed: ratio is 2.5, at most 2 must hold" in output
    assert "a move takes 2.50 times as long as raw criu" in output


def test_what_files_say_is_text_and_nothing_else(tmp_path: Path) -> None:
    nasty = row(64, NASTY, 0.1, what=NASTY, peer=NASTY, phases={NASTY: 0.1, "_x": 0.2})
    nasty["load"] |= {"name": NASTY, "kind": NASTY}
    write(tmp_path / "a<b>.json", nasty, benchmark=NASTY, missed=[NASTY], date=NASTY, kernel=NASTY)
    done = report(tmp_path)
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    page = made(tmp_path, "--plots", str(tmp_path / "plots"))
    assert set(page.tags) <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "ul", "li", "img",
        "table", "tr", "th", "td", "span",
    }  # fmt: skip
    assert page.tags.count("img") == 3
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "a<b>.json" in page.text
    for image in page.images:
        assert not [e for e in image.iter() if e.tag.endswith(("script", "foreignObject"))]
        assert "onerror=alert(2)" in words(image)


def test_a_page_of_results_without_plots(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"benchmark": "evacuate", "ratio": 1.1, "must_hold": 1.3}')
    page = made(tmp_path, "--plots", str(tmp_path / "plots"))
    assert "img" not in page.tags
    assert list((tmp_path / "plots").iterdir()) == []
    assert "at most 1.3" in page.text


@pytest.mark.parametrize("wrong", [
    {"gap": 3}, {"load": []}, {"load": {"mib": "x"}}, {"phases": {"a": "b"}}, {"latency": [[1]]},
    {"latency": [[0, 0]] * (readings.MOST_SAMPLES + 1)}, {"ours": 3}, {"gap": {"median": 1}},
])  # fmt: skip
def test_a_malformed_row_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    write(tmp_path / "a.json", row(64, "pre-copy", 0.1) | wrong)
    done = report(tmp_path, "--html", str(tmp_path / "page.html"))
    assert isinstance(done.exception, BenchImpossible)
    assert not (tmp_path / "page.html").exists()


def test_a_trace_alone_is_of_no_use(tmp_path: Path) -> None:
    write(tmp_path / "a.json", row(64, "pre-copy", 0.1))
    assert report(tmp_path, "--trace", str(tmp_path / "a.json")).exit_code == 2


def test_a_page_that_can_not_be_written(tmp_path: Path) -> None:
    write(tmp_path / "a.json", row(64, "pre-copy", 0.1))
    done = report(tmp_path, "--html", str(tmp_path / "nowhere" / "page.html"))
    assert isinstance(done.exception, BenchImpossible)


def event(pid: int, tid: int, name: str, ts: float, dur: float) -> dict[str, Any]:
    return {"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": ts, "dur": dur, "args": {}}


def trace(path: Path, *events: dict[str, Any]) -> Path:
    named = {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": "source"}}
    path.write_text(json.dumps({"traceEvents": [named, *events], "otherData": {}}))
    return path


def test_the_pause_of_a_trace(tmp_path: Path) -> None:
    path = trace(
        tmp_path / "t.trace", event(1, 1, "rounds", 0, 900_000), event(1, 2, "dump", 1e6, 30_000),
        event(2, 1, "move.restore", 1.03e6, 500_000), event(1, 2, "restore", 1.03e6, 20_000),
    )  # fmt: skip
    parts = {part.name: (part.begun, part.seconds) for part in tracefile.read(path)}
    assert parts == {
        "source: dump": (0.0, 0.03), "source: restore": (0.03, 0.02),
        "target: move.restore": (0.03, pytest.approx(0.03)),  # cut where the pause is over
    }  # fmt: skip
    write(tmp_path / "a.json", row(64, "pre-copy", 0.1))
    image = made(tmp_path, "--trace", str(path)).images[1]
    assert "target: move.restore" in words(image)
    assert "t.trace" in words(image)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"traceEvents": []}', '{"traceEvents": [{}]}',
                                  "[" * 100_000])  # fmt: skip
def test_other_files_are_no_traces(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t"
    path.write_text(text)
    with pytest.raises(BenchImpossible):
        tracefile.read(path)


def test_the_later_row_of_a_load_counts(tmp_path: Path) -> None:
    result = load(write(tmp_path / "a.json", row(64, "pre-copy", 0.1), row(64, "pre-copy", 0.3)))
    (line,) = readings.lines(readings.rows_of(result))
    assert [(point.mib, point.gap.median) for point in line.points] == [(64.0, 0.3)]
