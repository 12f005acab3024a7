"""A new patient's segmentation over the images it was made from: ``quick_look(slices, names, regions)``."""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmark.evaluation.example_slices import Example
from benchmark.report.data.names import modality_title
from benchmark.report.figures.outlines import TILE, draw_regions, draw_slice, legend
from benchmark.report.figures.style import STYLE
from datasets.vocabulary import Region

SCALE = 2.0
"""Of a panel's tiles: here the images are what one looks at."""


def quick_look(slices: Sequence[Example], modalities: Sequence[str], regions: Sequence[Region]) -> Figure:
    """Draw a row per slice, its images and each of them again with the outlines of the segmentation.

    Args:
        slices: one or more of a patient, whose `label` is the segmentation.
        modalities: names of their volumes, in order.
        regions: up to four, whose outlines are drawn.
    """
    shape = np.array(slices[0].label.shape)
    height, width = SCALE * TILE * shape / shape.max()
    top, gap, columns = 0.55, 0.04, 2 * len(modalities)
    size = columns * (width + gap), top + len(slices) * (height + gap)
    with rc_context(STYLE):
        figure = Figure(figsize=size)
        axes = figure.subplots(len(slices), columns, squeeze=False)
        figure.subplots_adjust(0, 0, 1, 1 - top / size[1], wspace=gap / width, hspace=gap / height)
        for line, example in zip(axes, slices, strict=True):
            for m in range(len(modalities)):
                for axis in line[2 * m : 2 * m + 2]:
                    draw_slice(axis, example.volumes[m], shape)
                draw_regions(line[2 * m + 1], example.label, regions)
        for axis, name in zip(axes[0, ::2], modalities, strict=True):
            axis.set_title(modality_title(name), size=9)
        legend(figure, [region.name for region in regions], {})
    return figure
