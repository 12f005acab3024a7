"""Which figures a report has: ``pictures(collected, section)``, one after the other.

A figure is there only where the runs give it something to show: tests, records of an epoch, kept slices.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from benchmark.examples import ROLES, Example
from benchmark.report.collect import Collected, Run, Study
from benchmark.report.contents import Section
from benchmark.report.figures.curves import loss_curves, preference_curves
from benchmark.report.figures.heat_map import heat_map
from benchmark.report.figures.panel import Row, dice_by_subset, panel
from benchmark.report.figures.style import MOST
from benchmark.report.figures.subsets import boxes, differences
from benchmark.report.figures.trends import over_missing, over_number
from benchmark.report.figures.worth import contributions
from benchmark.report.scores import metrics_of, score


@dataclass(frozen=True)
class Picture:
    """One figure of a report.

    Attributes:
        name: of its files, such as ``phantom-mr2468-dice``.
        title: its heading.
        text: what is drawn how, in sentences: the caption.
        alt: what a reader who cannot see it is told.
        inches: how wide it is.
        metric: the one it shows; empty where it shows none.
    """

    name: str
    title: str
    text: str
    alt: str
    inches: float
    metric: str = ""


Drawn = tuple[Picture, Figure]


def pictures(collected: Collected, section: Section) -> Iterator[Drawn]:
    """Draw the figures of one section of the report, each to be saved before the next is asked for."""
    first, *_ = metrics_of(collected)
    if section.study is None:
        studies = [study for study in collected.studies() if study.dataset == section.dataset]
        yield from _missing(collected, studies, first, section.dataset)
        return
    study = section.study
    for metric in metrics_of(collected):
        yield from _of_metric(collected, section, study, metric)
    scores = score(collected, study, first)
    yield _drawn(
        f"{study.name}-number-{first}",
        f"{scores.title} against the number of modalities present",
        "Mean over all subsets of a size and over the test cases; lines: 95 % bootstrap interval over the "
        "cases." + _first_methods(study),
        f"Line per method: {scores.title} with one to all modalities present, one panel per region",
        over_number(scores),
        first,
    )
    yield from _missing(collected, [study], first, study.name)
    yield from _curves(study)
    yield from _panels(collected, study)


def _of_metric(collected: Collected, section: Section, study: Study, metric: str) -> Iterator[Drawn]:
    tables = {table.kind: table for table in section.tables if table.metric == metric}
    scores, table = score(collected, study, metric), tables["subsets"]
    yield _drawn(
        table.name,
        f"{table.title}, methods by subsets",
        "Bright is better; dots say which modalities were present.",
        f"Heat map of {table.title}, methods by subsets, one panel per region; the numbers are in the table",
        heat_map(table),
        metric,
    )
    if figure := differences(table):
        yield _drawn(
            f"{study.name}-difference-{metric}",
            f"Difference in {table.title} to the baseline",
            "Mean over the cases of method minus baseline, seeds averaged first; lines: 95 % bootstrap "
            "interval. Filled: Wilcoxon signed-rank test with p < 0.05 after Holm's correction over the "
            "table; hollow: not." + _first_methods(study),
            f"Points with intervals: difference of {table.title} to the baseline for every subset, "
            "one panel per region; the numbers are in the table of tests",
            figure,
            metric,
        )
    yield _drawn(
        f"{study.name}-boxes-{metric}",
        f"{table.title} of the test cases",
        "Box: quartiles and median over the cases, seeds averaged first; whiskers: farthest case within 1.5 "
        "box heights; dots: cases beyond." + _first_methods(study),
        f"Box plots of {table.title} over the test cases for every subset, one panel per region",
        boxes(scores),
        metric,
    )
    yield _drawn(
        f"{study.name}-worth-{metric}",
        f"What each modality is worth in {table.title}",
        "Points: mean over the cases; lines: 95 % bootstrap interval. The matched marginal contribution is "
        "the mean change where the modality is added to a subset, the Shapley value that over all orders."
        + _first_methods(study),
        f"Points with intervals: contribution of each modality to {table.title}, a column per region; "
        "the numbers are in the tables",
        contributions(tables["marginal"], tables["shapley"]),
        metric,
    )


def _missing(collected: Collected, studies: Sequence[Study], metric: str, name: str) -> Iterator[Drawn]:
    every = [score(collected, study, metric) for study in studies]
    if figure := over_missing(every):
        yield _drawn(
            f"{name}-missing-{metric}",
            f"{every[0].title} against missing rate",
            "What a network makes of one modality alone, against the share of training cases that lacked it; "
            "mean over the test cases." + _first_methods(studies[0]),
            f"Line per method: {every[0].title} with one modality alone against its missing rate in training",
            figure,
            metric,
        )


def _curves(study: Study) -> Iterator[Drawn]:
    over = "Lines: mean over the runs of a method; bands: from the lowest to the highest run."
    if figure := preference_curves(study):
        yield _drawn(
            f"{study.name}-preference",
            "Relative preference and beta",
            "Below zero, a modality lags behind the others; beta is the weight that its gradient gets in "
            f"answer. {over}",
            "Relative preference and beta over the epochs, one line per modality",
            figure,
        )
    if figure := loss_curves(study):
        yield _drawn(
            f"{study.name}-loss",
            "Losses",
            f"Mean of each part of the loss over an epoch's training cases. {over}" + _first_methods(study),
            "Each part of the loss over the epochs, one line per method",
            figure,
        )


def _panels(collected: Collected, study: Study) -> Iterator[Drawn]:
    """The common case by method, and each method's worst, median and best, by its first run."""
    kept = {method: study.first_run(method) for method in study.methods[:MOST]}
    ground = "Ground: the modality that the subset has more than the one before. "
    if any(study.runs[0].content["data"]["availability"]["realised"].values()):
        ground += "The first is the one that training lacked most. "
    common = [(run, e) for run in kept.values() for e in run.examples if ROLES[0] in e.roles]
    if common and len({example.case for _, example in common}) == 1:
        yield _drawn(
            f"{study.name}-slices",
            f"Case {common[0][1].case} by method",
            f"The first test case, in the slice where the label is largest. {ground}"
            "Numbers: Dice of the whole case, mean over regions." + _first_methods(study),
            f"Slices of case {common[0][1].case} with outlines of the label and of each method's prediction "
            "for growing subsets of modalities",
            panel([Row(run.method, e, _dice(collected, study, run, e)) for run, e in common], study),
        )
    for i, (method, run) in enumerate(kept.items()):
        of_role = {role: e for role in ROLES[1:] for e in run.examples if role in e.roles}
        if of_role:
            yield _drawn(
                f"{study.name}-slices-{i + 1}",
                f"Worst, median and best case of {method}",
                f"By mean Dice of seed {run.config['seed']}, each in the slice where its label is largest. "
                f"{ground}Numbers: Dice of the whole case, mean over regions.",
                f"Slices of the worst, the median and the best case of {method} with outlines of the label "
                "and of the predictions for growing subsets of modalities",
                panel(
                    [
                        Row(f"{role}: {_short(e.case)}", e, _dice(collected, study, run, e))
                        for role, e in of_role.items()
                    ],
                    study,
                ),
            )


def _dice(collected: Collected, study: Study, run: Run, example: Example) -> dict[str, str]:
    rows = collected.cases
    return dice_by_subset(rows[rows["run"] == run.folder], example.case, study)


def _drawn(name: str, title: str, text: str, alt: str, figure: Figure, metric: str = "") -> Drawn:
    return Picture(name, title, text, alt, float(figure.get_figwidth()), metric), figure


def _short(case: str) -> str:
    """The end of a long name, which is what tells cases apart."""
    return case if len(case) <= 14 else f"…{case[-12:]}"


def _first_methods(study: Study) -> str:
    count = len(study.methods)
    return f" Shown are the first {MOST} of {count} methods." if count > MOST else ""
