"""What the records of training say over the epochs: ``preference_curves(study)``, ``loss_curves(study)``.

Lines are means over a method's runs; several runs add a band from the lowest to the highest.
"""

from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.report.data.names import modality_title
from benchmark.report.data.runs import Run, Study, guarded
from benchmark.report.figures.style import STYLE, WIDTH, Look, legend, looks, new_figure, zero_line

Curve = Mapping[int, float]
"""Epoch -> value."""
PANELS_A_ROW = 4
VALIDATION = "validation Dice"
"""Title of the looks at the validation cases, in the panel after those of the loss."""
TERMS = {"preference": ("relative preference", 0), "beta": ("beta", 1)}
"""What is drawn per modality: its title, and the value that means no imbalance."""


def preference_curves(study: Study) -> Figure | None:
    """Draw relative preference and beta over the epochs, a row per method; None where no run has them."""
    records = {run.folder: _per_modality(run) for run in study.runs}
    having = [run for run in study.runs if any(records[run.folder].values())]
    methods = [m for m in study.methods if any(run.method == m for run in having)]
    if not methods:
        return None
    modalities = study.description.modalities
    with rc_context(STYLE):
        figure = new_figure(WIDTH, 1.9 * len(methods) + 0.9)
        axes = figure.subplots(len(methods), 2, sharex=True, sharey="col", squeeze=False)
        for row, method in zip(axes, methods, strict=True):
            runs = [run for run in having if run.method == method]
            for axis, (term, (title, neutral)) in zip(row, TERMS.items(), strict=True):
                series = [records[run.folder][term] for run in runs]
                for modality, look in looks(modalities).items():
                    curves = [own[modality] for own in series if modality in own]
                    _draw_curve(axis, curves, look, modality_title(modality))
                zero_line(axis, neutral)
                axis.set_ylabel(title)
            row[0].set_title(method, loc="left", fontweight="bold")
        for axis in axes[-1]:
            axis.set_xlabel("epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend(figure, *axes[0, 0].get_legend_handles_labels())
    return figure


def with_preference(study: Study) -> list[str]:
    """The methods whose first run has something for `preference_curves`."""
    return [m for m in study.methods if any(_per_modality(study.first_run(m)).values())]


def with_epochs(study: Study) -> list[str]:
    """The methods whose first run has more than one epoch: `loss_curves` draws a line of them."""
    first = {m: _losses(study.first_run(m)) for m in study.methods}
    return [m for m, parts in first.items() if any(len(curve) > 1 for curve in parts.values())]


def loss_curves(study: Study) -> Figure | None:
    """Draw parts of the loss, and validation, over the epochs, a line per method; None without records."""
    losses = {run.folder: _losses(run) for run in study.runs}
    parts = list(dict.fromkeys(part for own in losses.values() for part in own if part != VALIDATION))
    parts += [VALIDATION] if any(VALIDATION in own for own in losses.values()) else []
    if not parts:
        return None
    rows = -(-len(parts) // PANELS_A_ROW)
    columns = min(len(parts), PANELS_A_ROW)
    with rc_context(STYLE):
        figure = new_figure(WIDTH, 2.0 * rows + 0.6)
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis, part in zip(axes.flat, parts, strict=False):
            for method, look in looks(study.methods).items():
                curves = [losses[run.folder].get(part, {}) for run in study.runs if run.method == method]
                _draw_curve(axis, [curve for curve in curves if curve], look, method)
            axis.set_title(part, loc="left")
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            low, high = axis.get_ylim()
            axis.set_ylim(min(0, low), high + 0.05 * (high - min(0, low)))
        for axis in axes.flat[len(parts) :]:
            axis.set_visible(False)
        figure.supxlabel("epoch", size=9)
        # The total comes first and every method has it.
        legend(figure, *axes[0, 0].get_legend_handles_labels())
    return figure


def _per_modality(run: Run) -> dict[str, dict[str, dict[int, float]]]:
    """Values by term, modality and epoch."""

    def read() -> dict[str, dict[str, dict[int, float]]]:
        series: dict[str, dict[str, dict[int, float]]] = {term: {} for term in TERMS}
        for line in run.log:
            for modality, values in line.get("modality", {}).items():
                for term in TERMS.keys() & values.keys():
                    series[term].setdefault(modality, {})[line["epoch"]] = values[term]
        return series

    return guarded(run.path, read)


def _losses(run: Run) -> dict[str, dict[int, float]]:
    def read() -> dict[str, dict[int, float]]:
        series: dict[str, dict[int, float]] = {}
        for line in run.log:
            for part, value in line["loss"].items():
                series.setdefault(part, {})[line["epoch"]] = value
            if "validation" in line:
                series.setdefault(VALIDATION, {})[line["epoch"]] = line["validation"]
        return series

    return guarded(run.path, read)


def _draw_curve(axis: Axes, curves: Sequence[Curve], look: Look, label: str) -> None:
    if not curves:
        return
    epochs = sorted(set().union(*curves))
    at = [[curve[epoch] for curve in curves if epoch in curve] for epoch in epochs]
    means = [sum(values) / len(values) for values in at]
    axis.plot(epochs, means, linestyle=look.dash, color=look.colour, label=label, linewidth=1.6)
    if len(curves) > 1:
        bounds = [min(values) for values in at], [max(values) for values in at]
        axis.fill_between(epochs, *bounds, color=look.colour, alpha=0.15, linewidth=0)
