"""Which tables a report has: ``contents(collected)``, a section per dataset and per study.

A table is there only where the runs make it one: several profiles, parts switched off, several temperatures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmark.report.data.collect import Collected
from benchmark.report.data.runs import Study
from benchmark.report.data.scores import AVERAGE, Scores, metrics_of, score
from benchmark.report.tables.by_setting import ablation_tables, settings_table, sweep_tables
from benchmark.report.tables.by_subset import profile_table, subset_table
from benchmark.report.tables.reported import add_reported
from benchmark.report.tables.table import Table
from benchmark.report.tables.worth import marginal_table, shapley_table

COMPLETE = "complete"
"""The profile under which every case has every modality."""


@dataclass(frozen=True)
class Section:
    """The tables of one study, or those of a dataset's profiles together.

    Attributes:
        title: such as ``phantom, mr2468``.
        dataset: whose.
        study: whose tables; None where they are of several.
        scores: what they are made of: of a study, one per metric; of several, theirs in the first metric.
        tables: in the order of the page: for each kind, one per metric.
    """

    title: str
    dataset: str
    study: Study | None
    scores: tuple[Scores, ...]
    tables: tuple[Table, ...]


def contents(collected: Collected, published: bool = False) -> list[Section]:
    """Return the sections of a report; each dataset begins with its profiles side by side, if there are.

    Args:
        collected: the runs.
        published: put rows that others reported under ours, where dataset and profile are the same.
    """
    metrics = metrics_of(collected)
    studies = collected.studies()
    sections = []
    for dataset in dict.fromkeys(study.dataset for study in studies):
        own = [study for study in studies if study.dataset == dataset]
        scores = {
            (study.name, metric): score(collected, study, metric) for study in own for metric in metrics
        }
        main = [profile_table([scores[study.name, metric] for study in own]) for metric in metrics]
        if found := [table for table in main if table]:
            if published:
                found = [add_reported(table, dataset, _average_under(own)) for table in found]
            first = tuple(scores[study.name, metrics[0]] for study in own)
            sections.append(Section(f"{dataset}, all profiles", dataset, None, first, tuple(found)))
        for study in own:
            parts = [
                (scores[study.name, metric], _complete(own, study, scores, metric)) for metric in metrics
            ]
            tables = [table for make in MAKERS for here, complete in parts for table in make(here, complete)]
            if published:
                tables = [_with_reported(table, study) for table in tables]
            here = tuple(scores[study.name, metric] for metric in metrics)
            sections.append(Section(f"{dataset}, {study.title}", dataset, study, here, tuple(tables)))
    return sections


def _settings(scores: Scores, complete: Scores | None) -> Sequence[Table]:
    table = settings_table(scores, complete)
    return [table] if table else []


MAKERS: tuple[Callable[[Scores, Scores | None], Sequence[Table]], ...] = (
    lambda scores, _: [subset_table(scores)],
    _settings,
    lambda scores, _: ablation_tables(scores),
    lambda scores, _: sweep_tables(scores),
    lambda scores, _: [marginal_table(scores)],
    lambda scores, _: [shapley_table(scores)],
)
"""The kinds of tables of a study, in the order of a report."""


def _with_reported(table: Table, study: Study) -> Table:
    if table.kind != "subsets":
        return table
    return add_reported(table, study.dataset, lambda column: (study.profile, column))


def _average_under(studies: Sequence[Study]) -> Callable[[str], tuple[str, str]]:
    """Which profile's average a column holds, by its title."""
    profiles = {study.title: study.profile for study in studies if not study.variant}
    return lambda column: (profiles.get(column, column), AVERAGE)


def _complete(
    studies: Sequence[Study], study: Study, scores: dict[tuple[str, str], Scores], metric: str
) -> Scores | None:
    """The same dataset's scores with complete training data, for a study with imperfect ones."""
    if study.profile == COMPLETE:
        return None
    found = [s for s in studies if s.profile == COMPLETE and s.variant in ("", study.variant)]
    return scores[found[0].name, metric] if found else None
