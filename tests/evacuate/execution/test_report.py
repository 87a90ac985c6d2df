"""The report and its forms: whole, and safe whatever names and errors hold."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from migrate.evacuate.execution.course import Outcome, State
from migrate.evacuate.execution.page import as_html, timeline
from migrate.evacuate.execution.report import Report, as_json, as_markdown, summary

HOSTILE = "<script>alert(1)</script>|a`b\n# x & \"y'"


def report(**fields: object) -> Report:
    outcomes = (
        Outcome("1", "web", "alpha", "beta", State.MOVED, "pre-copy", 10.0, 12.0, 0.05, 2_000_000,
                gap_seconds=0.06),
        Outcome("2", HOSTILE, "alpha", "beta", State.MOVED, "hybrid", 11.0, 13.0, 0.25, 3_000_000),
        Outcome("3", "old", "alpha", "gamma", State.MOVED, "cold", 12.0, 13.0, 4.0, 5_000,
                gap_seconds=1.0),
        Outcome("4", "bad", "alpha", "gamma", State.FAILED, "auto", 12.0, 12.5,
                error={"code": 91, "what": HOSTILE}),
    )  # fmt: skip
    values: dict[str, object] = {
        "source": "alpha", "begun": 10.0, "ended": 14.0, "outcomes": outcomes,
        "stay": {"kept": "labelled keep"},
    }  # fmt: skip
    return Report(**(values | fields))  # type: ignore[arg-type]


def test_the_figures() -> None:
    told = as_json(report())
    assert told["moved"] == 3
    assert not told["complete"]
    assert told["freeze_median_seconds"] == pytest.approx(0.15)  # a cold one was not frozen
    assert told["freeze_longest_seconds"] == 0.25
    assert told["gap_median_seconds"] == told["gap_longest_seconds"] == 0.06  # who could be seen
    assert told["bytes_sent"] == 5_005_000
    assert summary(report()) == (
        "3 of 5 containers left alpha in 4.0 s; frozen for 150 ms at the median, 250 at most; "
        "away for 60 ms at the median, 60 at most (1 answered echoes)"
    )


def test_when_it_is_complete() -> None:
    moved = report().outcomes[:3]
    assert report(outcomes=moved, stay={}).complete
    assert not report(outcomes=moved, stay={}, misplaced=("web runs twice",)).complete
    assert not report(outcomes=moved).complete


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)


def test_nothing_in_a_name_becomes_part_of_the_page() -> None:
    page = as_html(report(misplaced=(HOSTILE,), source=HOSTILE))
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.seen
    assert {"svg", "table", "li"} <= tags.seen


def test_the_picture_is_well_formed() -> None:
    root = ElementTree.fromstring(timeline(report()))
    assert len(root.findall("rect")) == 4
    for bar in root.findall("rect"):
        assert float(bar.get("x", "")) + float(bar.get("width", "")) <= 900


def test_markdown_keeps_its_table() -> None:
    text = as_markdown(report(misplaced=("x",)))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 6
    assert {line.replace("\\|", "").count("|") for line in table} == {10}
    assert "<script>" not in text
