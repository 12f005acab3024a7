"""Slices of tested cases with outlines of label and predictions: ``panel(rows, study)``.

The subsets grow from the modality that training lacked most, so that a row shows what each one more brings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.evaluation.example_slices import Example
from benchmark.report.data.names import modality_title
from benchmark.report.data.runs import Study
from benchmark.report.figures.outlines import TILE, draw_outline, draw_regions, draw_slice, legend
from benchmark.report.figures.style import STYLE
from datasets.vocabulary import Subset, subset_name

LETTERS = 13
"""Letters of a row's title to an inch."""


@dataclass(frozen=True)
class PanelRow:
    """One row of a panel: a case as one run segments it.

    Attributes:
        title: what stands at its left.
        example: the slice.
        scores: by name of the subset, what is written into the picture, such as ``Dice 81.2 %``.
    """

    title: str
    example: Example
    scores: Mapping[str, str]


def panel(rows: Sequence[PanelRow], study: Study) -> Figure:
    """Draw a row per case: the label, then the prediction for each of the growing subsets.

    The ground of a prediction is the modality that its subset has more than the one before.
    """
    description = study.description
    chain = growing_subsets(study)
    regions = [r for r in description.regions if r.name in description.plain_regions]
    shape = np.max([row.example.label.shape for row in rows], axis=0)
    height, width = TILE * shape / shape.max()
    titles = [fill(row.title, max(8, int(LETTERS * height))) for row in rows]
    left, top, gap = 0.2 + 0.12 * max(title.count("\n") + 1 for title in titles), 0.55, 0.04
    columns = len(chain) + 1
    size = left + columns * (width + gap), top + len(rows) * (height + gap)
    with rc_context(STYLE):
        figure = Figure(figsize=size)
        axes = figure.subplots(len(rows), columns, squeeze=False)
        figure.subplots_adjust(
            left / size[0], 0, 1, 1 - top / size[1], wspace=gap / width, hspace=gap / height
        )
        for line, row, title in zip(axes, rows, titles, strict=True):
            example = row.example
            ground = next((v for v in example.volumes if v.any()), example.volumes[0])
            draw_slice(line[0], ground, shape)
            draw_regions(line[0], example.label, regions)
            for axis, subset in zip(line[1:], chain, strict=True):
                newest = description.modalities.index(subset[-1])
                draw_slice(axis, example.volumes[newest], shape)
                name = subset_name(subset, description.modalities)
                if name in example.predictions:
                    draw_regions(axis, example.predictions[name], regions)
                    draw_outline(axis, example.label > 0, color="white", linewidth=0.6, linestyle="-")
                    _write(axis, row.scores.get(name, ""))
                else:
                    _write(axis, "not in this case")
            line[0].set_ylabel(title, size=7.5)
        heads = ["Label", *("+ " * (i > 0) + modality_title(s[-1]) for i, s in enumerate(chain))]
        for axis, head in zip(axes[0], heads, strict=True):
            axis.set_title(head, size=9)
        outer = Line2D([], [], color="white", linewidth=0.8)
        legend(figure, [region.name for region in regions], {"label (outermost)": outer})
    return figure


def growing_subsets(study: Study) -> list[Subset]:
    """Return one modality, then two, up to all; the one most often lacking in training comes first.

    Each ends with the modality that it has more than the one before. Where nobody knows what training lacked,
    they come as in the study.
    """
    realised = study.runs[0].content["data"]["availability"]["realised"]
    order = sorted(study.description.modalities, key=lambda m: -realised.get(m, 0))
    return [tuple(order[: i + 1]) for i in range(len(order))]


def _write(axis: Axes, text: str) -> None:
    axis.text(0.03, 0.03, text, transform=axis.transAxes, color="white", size=6.5, va="bottom")
