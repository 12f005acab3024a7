"""Which tables a report has: ``contents(collected)``: the answer, then a section per dataset and per study.

A table is there only where the runs make it one: several profiles, parts switched off, several temperatures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmark.report.data.collect import Collected
from benchmark.report.data.runs import Study
from benchmark.report.data.scores import AVERAGE, Scores, metrics_of, scores_of
from benchmark.report.tables.answer import answer_table, number_table
from benchmark.report.tables.by_setting import ablation_tables, sweep_tables
from benchmark.report.tables.by_subset import profile_table, subset_table
from benchmark.report.tables.captions import conditions
from benchmark.report.tables.costs import costs_tables
from benchmark.report.tables.gains import Gain, gains
from benchmark.report.tables.ranking import Blocks, blocks, places_table, ranks_table
from benchmark.report.tables.reported import add_reported
from benchmark.report.tables.table import Table
from benchmark.report.tables.words import endpoint, sentences
from benchmark.report.tables.worth import marginal_table, shapley_table

COMPLETE = "complete"
"""The profile under which every case has every modality."""


@dataclass(frozen=True)
class Answer:
    """What is known of one study's primary endpoint.

    Attributes:
        scores: of the study in the first metric.
        gains: of its methods.
        heading: what the endpoint is.
        sentences: the gains in words.
    """

    scores: Scores
    gains: tuple[Gain, ...]
    heading: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """The answer, or the tables of one study, or those of several together.

    Attributes:
        kind: `answer`, `numbers` (of modalities), `profiles` (of a dataset) or `study`.
        title: such as ``phantom, mr2468``.
        study: whose tables; None where they are of several.
        scores: what they are made of: of a study, one per metric; of several, theirs in the first metric.
        tables: in the order of the page: for each kind, one per metric.
        conditions: of all numbers of the section; empty where each table has its own.
        answers: of every study, in the section that a report begins with; else none.
        ranked: the methods over networks, profiles and datasets, beside the answers where these are many.
    """

    kind: str
    title: str
    study: Study | None
    scores: tuple[Scores, ...]
    tables: tuple[Table, ...]
    conditions: str = ""
    answers: tuple[Answer, ...] = ()
    ranked: Blocks | None = None


def contents(collected: Collected, published: bool = False, margin: float | None = None) -> list[Section]:
    """Return the sections of a report; the answer, then each dataset with its profiles side by side first.

    Args:
        collected: the runs.
        published: put rows that others reported under ours, where dataset and profile are the same.
        margin: a difference of the primary endpoint below which two methods are called equivalent.
    """
    metrics = metrics_of(collected.cases)
    studies = collected.studies()
    scores = {
        (study.name, metric): scores
        for study in studies
        for metric, scores in scores_of(collected.cases, study).items()
    }
    sections = _answers([scores[study.name, metrics[0]] for study in studies], scores, margin)
    for dataset in dict.fromkeys(study.dataset for study in studies):
        own = [study for study in studies if study.dataset == dataset]
        main = [profile_table([scores[study.name, metric] for study in own]) for metric in metrics]
        if shown := [table for table in main if table]:
            if published:
                shown = [add_reported(table, dataset, _average_under(own)) for table in shown]
            first = tuple(scores[study.name, metrics[0]] for study in own)
            title = f"{dataset}, all profiles"
            sections.append(_section("profiles", title, None, first, shown))
        for study in own:
            here = tuple(scores[study.name, metric] for metric in metrics)
            tables = [subset_table(one) for one in here]
            tables += [answer_table(one, gains(one), primary=False) for one in here[1:]]
            tables += [table for make in MAKERS for one in here for table in make(one)]
            tables += [table] if (table := places_table(here)) else []
            tables += costs_tables(here[0])
            if published:
                tables = [_with_reported(table, study) for table in tables]
            sections.append(_section("study", f"{dataset}, {study.title}", study, here, tables))
    return sections


MAKERS: tuple[Callable[[Scores], Sequence[Table]], ...] = (
    ablation_tables,
    sweep_tables,
    lambda scores: [marginal_table(scores)],
    lambda scores: [shapley_table(scores)],
)
"""The further kinds of tables of a study, in the order of a report."""


def _section(
    kind: str, title: str, study: Study | None, scores: tuple[Scores, ...], tables: Sequence[Table]
) -> Section:
    """A section whose tables share their conditions."""
    said = conditions(scores)
    return Section(
        kind, title, study, scores, tuple(replace(table, conditions=said) for table in tables), said
    )


def _answers(
    every: Sequence[Scores], scores: dict[tuple[str, str], Scores], margin: float | None
) -> list[Section]:
    """What the studies say of their primary endpoints: of those with something to compare, if there are."""
    found = [(own, gains(own)) for own in every]
    if any(gained for _, gained in found):
        found = [(own, gained) for own, gained in found if gained]
    shown = tuple(own for own, _ in found)
    ranked = blocks(every)
    tables = [answer_table(own, gained, _complete(own, scores), margin) for own, gained in found]
    answers = tuple(
        Answer(own, tuple(gained), endpoint(own), sentences(gained, margin)) for own, gained in found
    )
    tables += [ranks_table(ranked)] if ranked else []
    numbers = tuple(number_table(own, gained) for own, gained in found)
    return [
        Section("answer", "The answer", None, shown, tuple(tables), answers=answers, ranked=ranked),
        Section("numbers", "By number of modalities", None, shown, numbers),
    ]


def _with_reported(table: Table, study: Study) -> Table:
    if table.kind != "subsets":
        return table
    return add_reported(table, study.dataset, lambda column: (study.profile, column))


def _average_under(studies: Sequence[Study]) -> Callable[[str], tuple[str, str]]:
    """Which profile's average a column holds, by its title."""
    profiles = {study.title: study.profile for study in studies if not study.variant}
    return lambda column: (profiles.get(column, column), AVERAGE)


def _complete(scores: Scores, every: dict[tuple[str, str], Scores]) -> Scores | None:
    """The same dataset's scores with complete training data, for a study with imperfect ones."""
    study = scores.study
    if study.profile == COMPLETE:
        return None
    beside = [
        other
        for (_, metric), other in every.items()
        if metric == scores.metric
        and (other.study.dataset, other.study.profile) == (study.dataset, COMPLETE)
        and other.study.variant in ("", study.variant)
    ]
    return beside[0] if beside else None
