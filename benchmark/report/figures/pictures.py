"""Which figures a report has: ``pictures(section)``, one after the other.

A figure is there only where the runs give it something to show: tests, records of an epoch, kept slices.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from benchmark.evaluation.example_slices import ROLES, Example
from benchmark.report.data.runs import Run, Study
from benchmark.report.data.scores import Scores, finite_mean, under_several
from benchmark.report.figures.answer import MOST as MOST_LINES
from benchmark.report.figures.answer import forest, rank_diagram
from benchmark.report.figures.choice import chosen, chosen_text, only_rows
from benchmark.report.figures.curves import (
    VALIDATION,
    loss_curves,
    preference_curves,
    with_epochs,
    with_preference,
)
from benchmark.report.figures.heat_map import MOST_ROWS, heat_map
from benchmark.report.figures.panel import PanelRow, panel
from benchmark.report.figures.style import MOST
from benchmark.report.figures.subsets import box_text, boxes, differences
from benchmark.report.figures.trends import over_missing, over_number
from benchmark.report.figures.worth import contributions
from benchmark.report.tables.captions import intervals
from benchmark.report.tables.contents import Section
from benchmark.report.tables.gains import listed

MOST_PANELS = 4
"""Methods that have panels of their own: curves of their modalities, their worst, median and best cases."""
OVER_RUNS = "Lines: mean over the runs of a method; bands: from the lowest to the highest run."


@dataclass(frozen=True)
class Picture:
    """One figure of a report.

    Attributes:
        name: of its files, such as ``phantom-mr2468-dice``.
        title: its heading.
        text: what is drawn how, in sentences: the caption.
        alt: what a reader who cannot see it is told.
        inches: width and height.
        metric: the one it shows; empty where it shows none.
        uri: the figure itself as an address that needs no network, for a page; empty before it is drawn.
    """

    name: str
    title: str
    text: str
    alt: str
    inches: tuple[float, float]
    metric: str = ""
    uri: str = ""


Drawn = tuple[Picture, Figure]


def pictures(section: Section, brief: bool = False) -> Iterator[Drawn]:
    """Draw the figures of one section of the report, each to be saved before the next is asked for.

    `brief` is for reports of many studies: without the worst, median and best cases of single methods, and of
    the metrics after the first with the heat map alone.
    """
    if section.study is None:
        yield from {"answer": _of_answers, "numbers": _over_numbers, "profiles": _over_profiles}[
            section.kind
        ](section)
        return
    first = section.scores[0]
    shown = chosen([first], MOST)
    for scores in section.scores:
        yield from _of_metric(section, scores, shown, brief and scores is not first)
    study, which = section.study, _shown(section.scores, shown)
    yield from _missing([first.of_methods(shown)], study.name, which)
    yield from _preference(section)
    yield from _losses(section)
    yield from _panels(section, study.of_methods(shown), 0 if brief else MOST_PANELS)


def _of_answers(section: Section) -> Iterator[Drawn]:
    """The gains of each dataset's studies, and the ranks of the methods over all of them."""
    for dataset in dict.fromkeys(answer.scores.study.dataset for answer in section.answers):
        own = [a for a in section.answers if a.gains and a.scores.study.dataset == dataset]
        if not own:
            continue
        methods = list(dict.fromkeys(gain.method for answer in own for gain in answer.gains))
        shown = chosen(_with_any([answer.scores for answer in own], methods), MOST_LINES)
        title, runs = own[0].scores.title, [run for answer in own for run in answer.scores.study.runs]
        yield _drawn(
            f"{dataset}-gains",
            f"Gain over the baseline in mean {title}, {dataset}",
            f"Points: method minus the baseline of its network, mean of {listed(own[0].scores.plain)} over "
            f"all subsets; lines: 95 % interval over {intervals(runs)}, thin where over patients alone."
            + _shown([answer.scores.of_methods(methods) for answer in own], shown),
            f"Forest plot: gain of each method over its baseline in mean {title}, a panel per study; the "
            "numbers are in the tables",
            forest(own, shown),
            own[0].scores.metric,
        )
    if section.ranked:
        yield _drawn(
            "mean-ranks",
            "Mean ranks of the methods",
            f"Over {len(section.ranked.names)} blocks of network, profile and dataset, the best at the left. "
            "Methods that a bar joins differ by less than the critical difference.",
            "Critical-difference diagram of the methods' mean ranks; the numbers are in the table",
            rank_diagram(section.ranked),
            section.ranked.first.metric,
        )


def _over_numbers(section: Section) -> Iterator[Drawn]:
    for scores in section.scores:
        shown = chosen([scores], MOST)
        study = scores.study
        yield _drawn(
            f"{study.name}-number-{scores.metric}",
            f"{scores.title} against the number of modalities present, {study.title}",
            "Mean over all subsets of a size and over the test cases; lines: 95 % interval over "
            f"{intervals(study.runs)}." + _shown([scores], shown),
            f"Line per method: {scores.title} with one to all modalities present, one panel per region",
            over_number(scores.of_methods(shown)),
            scores.metric,
        )


def _over_profiles(section: Section) -> Iterator[Drawn]:
    compared = _with_any(section.scores, under_several(section.scores))
    shown = chosen(compared, MOST)
    yield from _missing(_with_any(compared, shown), section.scores[0].study.dataset, _shown(compared, shown))


def _with_any(every: Sequence[Scores], methods: Sequence[str]) -> list[Scores]:
    """Narrow the scores to some methods and leave out studies that have none of them."""
    return [scores for scores in (s.of_methods(methods) for s in every) if scores.study.runs]


def _shown(every: Sequence[Scores], shown: Sequence[str], lead: str = "Shown are") -> str:
    """Which of the methods are shown, for a caption; nothing where all are."""
    methods = dict.fromkeys(method for scores in every for method in scores.study.methods)
    return chosen_text(len(methods), shown, every[0].title, lead)


def _of_metric(section: Section, scores: Scores, shown: Sequence[str], brief: bool) -> Iterator[Drawn]:
    assert section.study is not None
    tables = {table.kind: table for table in section.tables if table.metric == scores.metric}
    name, metric, which = section.study.name, scores.metric, _shown(section.scores, shown)
    rows = chosen([section.scores[0]], MOST_ROWS)
    table = only_rows(tables["subsets"], rows)
    yield _drawn(
        table.name,
        f"{table.title}, methods by subsets",
        "Bright is better; dots say which modalities were present." + _shown(section.scores, rows),
        f"Heat map of {table.title}, methods by subsets, one panel per region; the numbers are in the table",
        heat_map(table),
        metric,
    )
    if brief:
        return
    table = only_rows(table, shown)
    if figure := differences(table):
        yield _drawn(
            f"{name}-difference-{metric}",
            f"Difference in {table.title} to the baseline",
            f"Method minus baseline; lines: 95 % interval over {intervals(section.study.runs)}. One of "
            "twenty such intervals lies beside zero where there is no difference." + which,
            f"Points with intervals: difference of {table.title} to the baseline for every subset, "
            "one panel per region; the numbers are in the table's file of differences",
            figure,
            metric,
        )
    yield _drawn(
        f"{name}-boxes-{metric}",
        f"{table.title} of the test cases",
        box_text(scores) + which,
        f"{table.title} of the test cases for every subset, one panel per region",
        boxes(scores.of_methods(shown)),
        metric,
    )
    yield _drawn(
        f"{name}-worth-{metric}",
        f"What each modality is worth in {table.title}",
        f"Points: means; lines: 95 % interval over {intervals(section.study.runs)}. The matched marginal "
        "contribution is the mean change where the modality is added to a subset, the Shapley value that "
        "over all orders." + which,
        f"Points with intervals: contribution of each modality to {table.title}, a column per region; "
        "the numbers are in the tables",
        contributions(*(only_rows(tables[kind], shown) for kind in ("marginal", "shapley"))),
        metric,
    )


def _missing(every: Sequence[Scores], name: str, which: str) -> Iterator[Drawn]:
    if figure := over_missing(every):
        title, metric = every[0].title, every[0].metric
        yield _drawn(
            f"{name}-missing-{metric}",
            f"{title} against missing rate",
            "What a network makes of one modality alone, against the share of training cases that lacked it; "
            "mean over the test cases." + which,
            f"Line per method: {title} with one modality alone against its missing rate in training",
            figure,
            metric,
        )


def _preference(section: Section) -> Iterator[Drawn]:
    study, scores = section.study, section.scores[0]
    assert study is not None
    having = with_preference(study)
    shown = chosen([scores.of_methods(having)], MOST_PANELS) if having else []
    if figure := preference_curves(study.of_methods(shown)):
        which = chosen_text(len(having), shown, scores.title, "Of those with such records, shown are")
        yield _drawn(
            f"{study.name}-preference",
            "Relative preference and beta",
            "Below zero, a modality lags behind the others; beta is the weight that its gradient gets in "
            f"answer. {OVER_RUNS}{which}",
            "Relative preference and beta over the epochs, one line per modality",
            figure,
        )


def _losses(section: Section) -> Iterator[Drawn]:
    study, scores = section.study, section.scores[0]
    assert study is not None
    having = with_epochs(study) or study.methods
    shown = chosen([scores.of_methods(having)], MOST)
    if figure := loss_curves(study.of_methods(shown)):
        which = chosen_text(len(having), shown, scores.title, "Of those with several epochs, shown are")
        titles = [axis.get_title("left") for axis in figure.axes]
        looked = "; mean Dice of the validation cases, where runs looked at them" * (VALIDATION in titles)
        yield _drawn(
            f"{study.name}-loss",
            "Losses",
            f"Mean of each part of the loss over an epoch's training cases{looked}. {OVER_RUNS}{which}",
            "Each part of the loss over the epochs, one line per method",
            figure,
        )


def _panels(section: Section, study: Study, single: int) -> Iterator[Drawn]:
    """The common case by method, and the worst, median and best of the leading methods, by first runs."""
    assert section.study is not None
    kept = {method: study.first_run(method) for method in study.methods}
    ground = "Ground: the modality that the subset has more than the one before. "
    if any(study.runs[0].content["data"]["availability"]["realised"].values()):
        ground += "The first is the one that training lacked most. "
    examples = {method: run.examples for method, run in kept.items()}
    common = [(m, e) for m, own in examples.items() for e in own if ROLES[0] in e.roles]
    dice = next((scores for scores in section.scores if scores.metric == "dice"), None)
    if common and len({example.case for _, example in common}) == 1:
        rows = [PanelRow(m, e, dice_by_subset(dice, kept[m], e)) for m, e in common]
        yield _drawn(
            f"{study.name}-slices",
            f"Case {common[0][1].case} by method",
            f"The first test case, in the slice where the label is largest. {ground}"
            "Numbers: Dice of the whole case, mean over regions." + _shown(section.scores, study.methods),
            f"Slices of case {common[0][1].case} with outlines of the label and of each method's prediction "
            "for growing subsets of modalities",
            panel(rows, study),
        )
    extremes = chosen([section.scores[0].of_methods(study.methods)], single)
    which = _shown(section.scores, extremes, "There is such a figure of")
    for i, method in enumerate(extremes):
        run, own = kept[method], examples[method]
        roles = [[role for role in ROLES[1:] if role in e.roles] for e in own]
        found = sorted(
            (ROLES.index(of[0]), f"{', '.join(of)}: {_short(e.case)}", e)
            for of, e in zip(roles, own, strict=True)
            if of
        )
        if len(found) > 1:  # a study of one test case has shown it above
            rows = [PanelRow(title, e, dice_by_subset(dice, run, e)) for _, title, e in found]
            yield _drawn(
                f"{study.name}-slices-{i + 1}",
                f"Worst, median and best case of {method}",
                f"By mean Dice of seed {run.config['seed']}, each in the slice where its label is largest. "
                f"{ground}Numbers: Dice of the whole case, mean over regions.{which}",
                f"Slices of the worst, the median and the best case of {method} with outlines of the label "
                "and of the predictions for growing subsets of modalities",
                panel(rows, study),
            )


def dice_by_subset(dice: Scores | None, run: Run, example: Example) -> dict[str, str]:
    """Return a case's Dice by name of the subset, mean over the plain regions, as written into its slices.

    Empty where no Dice was recorded.
    """
    if dice is None:
        return {}
    values = dice.values[dice.study.runs.index(run), dice.names.index(example.case)]
    means = finite_mean(values[np.isin(dice.regions, dice.plain)], axis=0)
    return {s: f"{v:.1f} %" for s, v in zip(dice.subsets, means, strict=True) if np.isfinite(v)}


def _drawn(name: str, title: str, text: str, alt: str, figure: Figure, metric: str = "") -> Drawn:
    width, height = figure.get_size_inches().tolist()
    return Picture(name, title, text, alt, (width, height), metric), figure


def _short(case: str) -> str:
    """The end of a long name, which is what tells cases apart."""
    return case if len(case) <= 14 else f"…{case[-12:]}"
