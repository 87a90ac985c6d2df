"""The report as one HTML page, with a picture of who moved when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape

from migrate.evacuate.execution.course import Outcome, State
from migrate.evacuate.execution.report import HEAD, Report, rows, summary

_COLOURS = {
    State.MOVED: "#2b7a78", State.FAILED: "#b23a48", State.INTERRUPTED: "#999999",
    State.UNSETTLED: "#e09f3e",
}  # fmt: skip
_WIDTH, _LEFT, _ROW = 900, 180, 22  # of the picture; of the names in it; of each line, in pixels
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:72em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ddd;"
    "padding:.3em .6em;text-align:left;vertical-align:top}th{background:#f4f4f4}"
    "svg{width:100%;height:auto;font:12px sans-serif}"
)


def as_html(report: Report) -> str:
    """The page; it needs nothing from elsewhere."""
    title = f"{'Return to' if report.returned else 'Evacuation of'} {report.source}"
    begun = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(report.begun))
    parts = [
        "<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1><p>Begun {begun}. {escape(summary(report))}.</p>",
    ]  # fmt: skip
    if report.outcomes:
        parts += ["<h2>When</h2>", timeline(report), "<h2>Containers</h2>", _table(report.outcomes)]
    if report.stay:
        items = "".join(
            f"<li><b>{escape(name)}</b>: {escape(why)}</li>" for name, why in report.stay.items()
        )
        parts += ["<h2>Not moved</h2>", f"<ul>{items}</ul>"]
    if report.misplaced:
        items = "".join(f"<li>{escape(words)}</li>" for words in report.misplaced)
        parts += ["<h2>To be looked at</h2>", f"<ul>{items}</ul>"]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _table(outcomes: Sequence[Outcome]) -> str:
    head = "".join(f"<th>{word.capitalize()}</th>" for word in HEAD)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows(outcomes)
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def timeline(report: Report) -> str:
    """An SVG: a line for each container, a bar from begin to end, its freeze beside it."""
    shown = sorted((o for o in report.outcomes if o.begun > 0), key=lambda o: o.begun)
    span = max(report.ended - report.begun, 0.001)
    scale = (_WIDTH - _LEFT - 80) / span
    height = (len(shown) + 1) * _ROW + 10
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="timeline">']
    for tick in range(5):
        x = _LEFT + span * tick / 4 * scale
        parts.append(
            f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height - _ROW}" stroke="#ddd"/>'
            f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">'
            f"{span * tick / 4:.1f} s</text>"
        )
    for number, o in enumerate(shown):
        y = number * _ROW
        x = _LEFT + (o.begun - report.begun) * scale
        width = max((o.ended - o.begun) * scale, 1.0)
        colour = _COLOURS.get(o.state, "#999999")
        frozen = f"{o.freeze_seconds * 1000:.0f} ms" if o.state is State.MOVED else str(o.state)
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(o.name[:24])}</text>'
            f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="14" rx="2" fill="{colour}">'
            f"<title>{escape(o.name)}: {escape(o.origin)} to {escape(o.target)}</title></rect>"
            f'<text x="{x + width + 5:.1f}" y="{y + 15}">{frozen}</text>'
        )
    return "".join([*parts, "</svg>"])
