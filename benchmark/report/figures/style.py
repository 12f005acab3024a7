"""What all figures share: ``save(figure, Path("figures/phantom-mr2468-dice"))``, looks of methods, dots.

The files hold no date and no random identifier, so equal data give equal bytes.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

DPI = 200
SCREEN = 0.65
"""Of that a screen needs so much: 130 dpi, a third more than the 96 of a page."""
METADATA: dict[str, dict[str, None]] = {
    "png": {},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What of a format's metadata is left out."""
FORMATS = tuple(METADATA)
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "passion-bench",
    "pdf.fonttype": 42,  # journals refuse matplotlib's default, fonts of type 3
    "font.size": 9,
    "axes.titlesize": 10,
    "font.family": "DejaVu Sans",
    "hatch.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titley": 1.0,  # where it would be put, had matplotlib looked for ticks above the axis
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A6D00")
"""Okabe and Ito's palette for the colour-blind, its darker colours first; its yellow darkened."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (5, 2, 1, 2)), (0, (1, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "////", "....", "\\\\\\\\", "xx", "--", "++", "oo")
MOST = len(COLOURS)
"""Methods that one figure can show so that they are told apart."""
NEUTRAL = "#8c8c8c"
LEAST = 1.0
"""Per cent or mm that an axis covers at least."""
GAP = 0.35
"""Space in columns between the subsets and their average."""
LEGEND = {"letter": 0.072, "handle": 0.6, "line": 0.19, "lines": 2}
"""Inches of a letter, of a handle with its gaps and of a line, and the lines that figures have room for."""
WIDTH = 7.2
"""Inches across a page's two columns."""


@dataclass(frozen=True)
class Look:
    """How one method is drawn, in every figure of a study."""

    colour: str
    dash: Any
    marker: str
    hatch: str


def looks(names: Sequence[str]) -> dict[str, Look]:
    """Return a look for each of the first `MOST` names."""
    return {
        name: Look(COLOURS[i], DASHES[i % len(DASHES)], MARKERS[i], HATCHES[i])
        for i, name in enumerate(names[:MOST])
    }


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure that arranges its parts; to be made and filled within ``rc_context(STYLE)``."""
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, stem: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write ``<stem>.png`` (200 dpi) and what else of `FORMATS` is asked for; return the paths."""
    paths = []
    with rc_context(STYLE):
        _arrange(figure)
        for kind in formats:
            path = stem.with_name(f"{stem.name}.{kind}")
            content = io.BytesIO()
            if kind == "png":
                _drawn(figure, DPI).save(content, "PNG", dpi=(DPI, DPI))
            else:
                figure.savefig(content, format=kind, metadata=METADATA[kind])
            path.write_bytes(content.getvalue())
            paths.append(path)
    return paths


def screen(figure: Figure) -> Image.Image:
    """Return a figure as a page shows it."""
    with rc_context(STYLE):
        _arrange(figure)
        return _drawn(figure, round(SCREEN * DPI))


def _arrange(figure: Figure) -> None:
    """Give everything its place, once for all formats."""
    if engine := figure.get_layout_engine():
        for axis in figure.axes:
            axis.spines[:].set_in_layout(False)  # slow to measure; pads have room for their ticks
        engine.execute(figure)
        figure.set_layout_engine(None)


def _drawn(figure: Figure, dpi: int) -> Image.Image:
    """Return a picture with a palette: half the size, and to the eye the same."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    flat = pixels.view(np.uint32).ravel()
    # Of equal neighbours one is enough to find the palette, and they are most of a figure.
    starts = np.flatnonzero(np.diff(flat, prepend=~flat[:1]))
    edges = Image.fromarray(pixels.reshape(-1, 4)[None, starts, :3]).quantize(256, dither=Image.Dither.NONE)
    indices = np.repeat(np.asarray(edges)[0], np.diff(starts, append=len(flat)))
    picture = Image.fromarray(indices.reshape(pixels.shape[:2]))
    picture.putpalette(edges.getpalette() or [])
    return picture


def places(columns: int, with_average: bool) -> list[float]:
    """Where columns stand on the x-axis: 0, 1, 2, ..., an average as the last one set a little apart."""
    return [i + (GAP if with_average and i == columns - 1 else 0) for i in range(columns)]


def offsets(count: int, width: float = 0.7) -> list[float]:
    """Return places around 0, within `width`, for `count` things side by side."""
    return [width * ((i + 0.5) / count - 0.5) for i in range(count)]


def draw_presence(
    axis: Axes,
    modalities: Sequence[str],
    present: Sequence[Sequence[bool]],
    average: bool = True,
    narrow: bool = False,
) -> None:
    """Fill an axis with a column of dots per subset, full where a modality is present.

    After them stands the word for their average, upright where columns are `narrow`.
    """
    for face, full in (("black", True), ("white", False)):
        dots = [(x, y) for x, column in enumerate(present) for y, on in enumerate(column) if on == full]
        if dots:
            axis.plot(
                *zip(*dots, strict=True),
                "o",
                markersize=5.5,
                markerfacecolor=face,
                markeredgecolor="black",
                mew=0.8,
            )
    axis.set_yticks(range(len(modalities)), modalities)
    axis.set_ylim(len(modalities) - 0.5, -0.5)
    if average:
        middle = (len(modalities) - 1) / 2
        axis.text(len(present) + GAP, middle, "Average", ha="center", va="center", rotation=90 * narrow)
    axis.spines[:].set_visible(False)
    axis.xaxis.set_visible(False)
    axis.tick_params(left=False)


@dataclass(frozen=True)
class Point:
    """A value with the ends of its interval, none where these are nan."""

    x: float
    value: float
    low: float = math.nan
    high: float = math.nan


def draw_points(axis: Axes, points: Sequence[Point], look: Look) -> None:
    """Draw values as markers on the lines of their intervals; all of a method at once, as that is faster."""
    lines = [p for p in points if math.isfinite(p.low) and math.isfinite(p.high)]
    if lines:
        at, lows, highs = zip(*((p.x, p.low, p.high) for p in lines), strict=True)
        axis.vlines(at, lows, highs, colors=look.colour, linewidth=1.2, zorder=2)
    xs, values = [point.x for point in points], [point.value for point in points]
    axis.plot(xs, values, look.marker, color=look.colour, markersize=4.5, zorder=3)


def zero_line(axis: Axes, at: float = 0) -> None:
    """Draw the line of no effect."""
    axis.axhline(at, color=NEUTRAL, linewidth=0.8, zorder=1)


def widen(axis: Axes) -> None:
    """Keep differences that nobody could see from filling an axis; to be called when all is drawn."""
    low, high = axis.get_ylim()
    if high - low < LEAST:
        middle = (low + high) / 2
        axis.set_ylim(middle - LEAST / 2, middle + LEAST / 2)


def legend(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Put one legend above all panels, in as many columns as fit; the figure grows with its lines."""
    width, height = figure.get_size_inches()
    columns = next((n for n in range(len(names), 1, -1) if _legend_width(names, n) <= width), 1)
    more = max(0, -(-len(names) // columns) - LEGEND["lines"])
    figure.set_size_inches(width, height + more * LEGEND["line"])
    figure.legend(
        handles,
        names,
        loc="outside upper center",
        ncols=columns,
        frameon=False,
        handlelength=2.6,
    )


def _legend_width(names: Sequence[str], columns: int) -> float:
    """Inches that a legend takes: of each column its longest name and a handle."""
    parts = np.array_split(np.array([len(name) for name in names]), columns)
    return float(sum(LEGEND["letter"] * part.max() + LEGEND["handle"] for part in parts))


def method_legend(figure: Figure, look_of: Mapping[str, Look]) -> None:
    """Explain the markers and lines of the methods."""
    handles = [
        Line2D([], [], color=look.colour, linestyle=look.dash, marker=look.marker, markersize=4.5)
        for look in look_of.values()
    ]
    legend(figure, handles, list(look_of))
