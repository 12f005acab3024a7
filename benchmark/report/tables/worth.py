"""What each modality is worth: its matched marginal contribution and its Shapley value over the subsets.

marginal_table(scores), shapley_table(scores)

Of modality m among M, with v(S) the score of a case's subset S:

- matched marginal contribution: the mean of v(S + m) - v(S) over all non-empty S without m;
- Shapley value: the mean of v(S + m) - v(S) over all orders in which the modalities can come, so over all S
  without m, the empty one too, with weight |S|! (M - |S| - 1)! / M! (L. S. Shapley, 1953).

The score of the empty set is 0 for metrics of which more is better, and the mean over the single modalities
of the case for distances, which have no natural one. It shifts all Shapley values alike: neither their order
nor their spread depends on it.
"""

from collections.abc import Callable, Sequence
from math import factorial

import numpy as np

from benchmark.report.data.effects import Array, Effect, mean
from benchmark.report.data.names import modality_title
from benchmark.report.data.scores import Scores
from benchmark.report.tables.captions import caption, intervals
from benchmark.report.tables.rows import marked
from benchmark.report.tables.table import Block, Cell, Column, Row, Table
from datasets.vocabulary import Subset, parse_subset

SPREAD = "spread"


def marginal_table(scores: Scores) -> Table:
    """Return the matched marginal contribution of each modality, by region and method, with its interval."""
    return _table(
        scores,
        "marginal",
        marginal_weights,
        "What each modality adds",
        "matched marginal contribution of each modality: the mean change of the score where it is added to a "
        "subset, over all non-empty subsets without it",
    )


def shapley_table(scores: Scores) -> Table:
    """Return the Shapley value of each modality, by region and method, with its interval."""
    empty = "0" if scores.higher_is_better else "the mean over the single modalities"
    return _table(
        scores,
        "shapley",
        lambda subsets, modalities: shapley_weights(subsets, modalities, scores.higher_is_better),
        "Shapley value of each modality",
        f"Shapley value of each modality over the subsets, the score of the empty set being {empty}",
    )


def marginal_weights(subsets: Sequence[Subset], modalities: Sequence[str]) -> Array:
    """Return the weights [modalities, subsets] with which scores of all non-empty subsets add up to it."""
    place = {frozenset(subset): i for i, subset in enumerate(subsets)}
    weights = np.zeros((len(modalities), len(subsets)))
    pairs = 2 ** (len(modalities) - 1) - 1
    for row, modality in zip(weights, modalities, strict=True):
        for subset, i in place.items():
            if modality not in subset:
                row[place[subset | {modality}]] += 1 / pairs
                row[i] -= 1 / pairs
    return weights


def shapley_weights(
    subsets: Sequence[Subset], modalities: Sequence[str], empty_is_zero: bool = True
) -> Array:
    """Return the weights [modalities, subsets] with which scores of all non-empty subsets add up to it.

    The empty set has score 0, or that of the mean over the single modalities.
    """
    place = {frozenset(subset): i for i, subset in enumerate(subsets)}
    count = len(modalities)
    weights = np.zeros((count, len(subsets)))
    for row, modality in zip(weights, modalities, strict=True):
        for subset in [frozenset(), *place]:
            if modality in subset:
                continue
            weight = factorial(len(subset)) * factorial(count - len(subset) - 1) / factorial(count)
            row[place[subset | {modality}]] += weight
            if subset:
                row[place[subset]] -= weight
            elif not empty_is_zero:
                for single in modalities:
                    row[place[frozenset({single})]] -= weight / count
    return weights


def _table(
    scores: Scores,
    kind: str,
    weigh: Callable[[Sequence[Subset], Sequence[str]], Array],
    heading: str,
    lead: str,
) -> Table:
    study = scores.study
    modalities = study.description.modalities
    subsets = [parse_subset(name, modalities) for name in scores.subsets]
    weights = weigh(subsets, modalities)
    # Of every modality in every region: [modalities x regions, regions, subsets].
    of_regions = np.kron(weights[:, None], np.eye(len(scores.regions))[..., None])
    trainings = scores.trainings(of_regions.astype(np.float64))
    worth = [mean(of_method) for of_method in trainings.values()]
    blocks = tuple(_block(scores, i, worth) for i in range(len(scores.regions)))
    return Table(
        name=f"{study.name}-{kind}-{scores.metric}",
        kind=kind,
        metric=scores.metric,
        title=scores.title,
        higher_is_better=scores.higher_is_better,
        policy=study.runs[0].metric_policy,
        labels=("Region", "Method"),
        columns=(
            *(Column(m, modality_title(m)) for m in modalities),
            Column(SPREAD, "Spread", higher_is_better=False),
        ),
        blocks=blocks,
        caption=caption(
            study,
            f": {lead}; mean over {{tested}} that have every modality, with its 95 % interval over "
            f"{intervals(study.runs)}. Spread: largest minus smallest of the modalities, the lower the "
            "fairer",
        ),
        heading=f"{heading}, {scores.title}",
    )


def _block(scores: Scores, region: int, worth: Sequence[Effect]) -> Block:
    """The rows of a region, from what the modalities are worth by method in all regions."""
    methods, here = scores.study.methods, np.s_[region :: len(scores.regions)]
    ends = np.array([(own.mean[here], own.low[here], own.high[here]) for own in worth])
    spreads = np.ptp(ends[:, 0], axis=1, keepdims=True)
    marks = marked(spreads, [True] * len(methods), higher_is_better=False)
    rows = (
        Row((method,), (*map(_cell, *own), Cell(float(spread), mark=mark)), method, effect.tables[0])
        for method, own, effect, [spread], [mark] in zip(methods, ends, worth, spreads, marks, strict=True)
    )
    return Block(scores.regions[region], tuple(rows), scores.regions[region])


def _cell(middle: float, low: float, high: float) -> Cell:
    return Cell(float(middle), interval=(float(low), float(high)) if np.isfinite(low) else ())
