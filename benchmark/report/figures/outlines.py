"""Slices with outlines on them, as pictures show them: ``draw_slice``, ``draw_regions``, ``legend``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from datasets.vocabulary import Region

TILE = 1.3
"""Inches of a picture's edge."""
OUTLINES: tuple[tuple[str, Any], ...] = (
    ("#56B4E9", "-"),
    ("#F0E442", (0, (4, 1.2))),
    ("#FF6B1A", (0, (1.2, 0.8))),
    ("#CC79A7", (0, (5, 1, 1, 1))),
)
"""Colour and dash of the regions' outlines, bright as the ground is dark."""


def draw_slice(axis: Axes, grey: NDArray[np.uint8], shape: NDArray[np.int64]) -> None:
    """Draw a slice [rows, columns] of grey values in a picture of `shape`."""
    room = np.zeros(shape, dtype=np.uint8)
    room[: grey.shape[0], : grey.shape[1]] = grey
    axis.imshow(room, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axis.set(xticks=[], yticks=[], xlim=(-1, shape[1]), ylim=(shape[0], -1))  # room for outlines at its edge
    axis.spines[:].set_visible(False)


def draw_regions(axis: Axes, classes: NDArray[np.uint8], regions: Sequence[Region]) -> None:
    """Draw the outlines of regions of class indices [rows, columns]."""
    for region, (colour, dash) in zip(regions, OUTLINES, strict=False):
        mask = np.isin(classes, region.classes)
        draw_outline(axis, mask, color=colour, linewidth=1.1, linestyle=dash)


def draw_outline(axis: Axes, mask: NDArray[np.bool_], color: str, linewidth: float, linestyle: Any) -> None:
    """Draw the outline of a mask [rows, columns] with a dark halo."""
    if mask.any():
        edged = np.pad(mask.astype(float), 1)
        ys, xs = (np.arange(-1, n + 1) for n in mask.shape)
        halo = withStroke(linewidth=linewidth + 1.2, foreground="black")  # or grey would hide it
        # `Axes.contour` draws the same, and takes six times as long.
        lines: Any = contour_generator(xs, ys, edged).lines(0.5)
        style: dict[str, Any] = {"colors": color, "linewidths": linewidth, "linestyles": [linestyle]}
        axis.add_collection(LineCollection(lines, path_effects=[halo], **style), autolim=False)


def legend(figure: Figure, regions: Sequence[str], others: Mapping[str, Line2D]) -> None:
    """Say above all slices which outline is which region, and what `others` are."""
    lines = [Line2D([], [], color=c, linestyle=d, linewidth=1.5) for c, d in OUTLINES[: len(regions)]]
    figure.legend(
        [*lines, *others.values()],
        [*regions, *others],
        loc="upper center",
        ncols=len(regions) + len(others),
        facecolor="#333333",
        edgecolor="none",
        framealpha=1,
        labelcolor="white",
        fontsize=8,
        borderaxespad=0.2,
        columnspacing=1.5,
    )
