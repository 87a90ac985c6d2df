"""One HTML page of results: where we lose, the plots, a table of each. It loads nothing.

Every text that comes from a file is escaped, the plots are images in the page itself (a script in
an image is never run), and the page's own policy forbids whatever else there might be.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from migrate.bench.report.plots import Plot
from migrate.bench.results import Figure, Result, impossible, printable

_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>migrate: benchmarks</title><style>
body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
img { max-width: 100% } table { border-collapse: collapse; margin: 0 0 1em }
td, th { padding: .15em .8em; text-align: left; border-bottom: 1px solid #ddd }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.missed { color: #b00 } .note { color: #666 }
</style></head><body>
<h1>migrate: benchmarks</h1>
<p class="note">Medians, with least and most, in the unit of each benchmark: seconds and bytes where
none is named. Machines are noisy: compare figures of one run, not those of two.</p>
"""


def page(
    results: Sequence[Result], plots: Sequence[Plot], losses: Mapping[str, Sequence[str]]
) -> str:
    """The page; `losses`: sentences by a result's file name."""
    parts = [_HEAD, "<h2>Where we lose</h2>", *_lost(losses)]
    for plot in plots:
        parts.append(f"<h2>{escape(plot.title)}</h2>")
        parts.append(_image(plot))
    for result in results:
        parts += _result(result)
    return "\n".join([*parts, "</body></html>\n"])


def _lost(losses: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if not any(losses.values()):
        yield "<p>Nowhere, in these results.</p>"
        return
    yield "<ul>"
    for name, sentences in losses.items():
        for sentence in sentences:
            yield f"<li>{escape(printable(name))}: {escape(sentence)}</li>"
    yield "</ul>"


def _image(plot: Plot) -> str:
    data = base64.b64encode(plot.svg).decode()
    return f'<p><img alt="{escape(plot.title)}" src="data:image/svg+xml;base64,{data}"></p>'


def _result(result: Result) -> Iterator[str]:
    date = printable(str(result.told.get("date", "")))
    yield f"<h2>{escape(result.benchmark)}</h2>"
    about = " · ".join(filter(None, [printable(result.path.name), date, result.machine]))
    yield f'<p class="note">{escape(about)}</p>'
    yield "<table><tr><th>figure</th><th>median</th><th>least</th><th>most</th>"
    yield "<th>must hold</th></tr>"
    yield from map(_row, result.figures.values())
    yield "</table>"
    for sentence in impossible(result):
        yield f'<p class="note">{escape(sentence)}</p>'
    for complaint in result.missed:
        yield f'<p class="missed">missed: {escape(complaint)}</p>'


def _row(figure: Figure) -> str:
    numbers = (figure.median, figure.least, figure.most)
    cells = "".join(f'<td class="number">{number:.4g}</td>' for number in numbers)
    limit = escape(str(figure.limit)) if figure.limit else ""
    limit = limit if figure.holds else f'<span class="missed">{limit}: missed</span>'
    return f"<tr><td>{escape(figure.name)}</td>{cells}<td>{limit}</td></tr>"
