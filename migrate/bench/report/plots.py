"""The plots of a report, as PNG and SVG, by matplotlib, which is loaded here and nowhere else."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrate.bench.errors import BenchImpossible
from migrate.bench.report.readings import Line, Slice, Track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 24
"""In one plot; more can't be told apart."""
MOST_SLICES = 60
_SIZE = (9.0, 5.0)  # inches
_SETTINGS: Any = {
    "text.parse_math": False,  # a file's "$" is no formula, and a broken one no error
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "migrate",  # the same figures give the same file
    "font.size": 9.0,
}


@dataclass(frozen=True)
class Plot:
    """`name` is that of its files, without the ending."""

    name: str
    title: str
    svg: bytes
    png: bytes


def draw(
    lines: Sequence[Line], pause: tuple[str, list[Slice]] | None, tracks: Sequence[Track]
) -> list[Plot]:
    """A plot of each of the three that there is something for; raises BenchImpossible."""
    return [
        _drawn(name, title, paint)
        for name, title, paint in _wanted(list(lines), pause, list(tracks))
    ]


def write(plots: Sequence[Plot], directory: Path) -> None:
    """NAME.svg and NAME.png of each; raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        (directory / f"{plot.name}.svg").write_bytes(plot.svg)
        (directory / f"{plot.name}.png").write_bytes(plot.png)


def _wanted(
    lines: list[Line], pause: tuple[str, list[Slice]] | None, tracks: list[Track]
) -> Iterator[tuple[str, str, Callable[[Axes], None]]]:
    if lines:
        title = "Service gap by memory"
        yield "downtime", title, lambda axes: _lines(axes, lines[:MOST_LINES])
    if pause:
        load, slices = pause
        yield "pause", f"The pause of one move: {load}", lambda axes: _slices(axes, slices)
    if tracks:
        title = "A client's latency across a move"
        yield "latency", title, lambda axes: _tracks(axes, tracks[:MOST_LINES])


def _drawn(name: str, title: str, paint: Callable[[Axes], None]) -> Plot:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BenchImpossible(
            "plots need matplotlib", cause=str(error), mend="install 'migrate[bench]'"
        ) from error
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a character that no font has
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        axes.set_title(title)
        axes.grid(alpha=0.3)
        paint(axes)
        return Plot(name, title, _saved(figure, "svg"), _saved(figure, "png"))


def _saved(figure: Figure, kind: str) -> bytes:
    target = io.BytesIO()
    dated = {"Date": None} if kind == "svg" else {}
    figure.savefig(target, format=kind, dpi=120, metadata=dated)
    return target.getvalue()


def _lines(axes: Axes, lines: list[Line]) -> None:
    """Medians, with a bar from the least to the most; peers are dashed."""
    for line in lines:
        gaps = [point.gap for point in line.points]
        middles = [gap.median * 1000 for gap in gaps]
        below = [max(0.0, gap.median - gap.min) * 1000 for gap in gaps]
        above = [max(0.0, gap.max - gap.median) * 1000 for gap in gaps]
        axes.errorbar(
            [point.mib for point in line.points], middles, (below, above), label=line.label,
            marker="o", markersize=4, capsize=3, linestyle="--" if line.is_peer else "-",
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xlabel("memory, MiB")
    axes.set_ylabel("service gap, ms (median, least, most)")
    sizes = sorted({point.mib for line in lines for point in line.points})
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.minorticks_off()
    _log_milliseconds(axes)
    axes.legend()


def _slices(axes: Axes, slices: list[Slice]) -> None:
    """One row each, from the top; of too many the longest are kept."""
    longest = sorted(slices, key=lambda part: part.seconds)[-MOST_SLICES:]
    shown = [part for part in slices if part in longest]
    for row, part in enumerate(shown):
        begun, took = part.begun * 1000, part.seconds * 1000
        color = "C1" if part.name.startswith("target") else "C0"
        axes.barh(row, took, left=begun, color=color)
        axes.text(begun + took, row, f" {took:.1f}", va="center", fontsize=7)
    axes.set_yticks(range(len(shown)), [part.name for part in shown])
    axes.invert_yaxis()
    axes.margins(x=0.08)
    axes.set_xlabel("ms after the freeze")


def _tracks(axes: Axes, tracks: list[Track]) -> None:
    for track in tracks:
        axes.plot(
            [sent for sent, _ in track.samples], [took * 1000 for _, took in track.samples],
            linewidth=0.8, label=track.label,
        )  # fmt: skip
    _log_milliseconds(axes)
    axes.set_xlabel("s, from the end of the gap; a ping stands where it was sent")
    axes.set_ylabel("ms until the answer")
    axes.legend()


def _log_milliseconds(axes: Axes) -> None:
    """A logarithmic scale with numbers between the powers of ten: most gaps are of one decade."""
    from matplotlib.ticker import LogLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(which="minor", axis="y", alpha=0.15)
