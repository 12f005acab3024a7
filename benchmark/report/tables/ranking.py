"""Methods in order: ``places_table(scores of each metric)`` of a study, ``ranks_table(blocks)`` over studies.

The first is the ranking of the BraTS challenge, over the patients of the trained networks at hand; the second
compares what is beside a network (its objective, its options) over blocks of network, profile and dataset.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.report.data.effects import Array, mean
from benchmark.report.data.names import network_title, without_network
from benchmark.report.data.ranking import PERMUTATIONS, MeanRanks, brats_ranks, mean_ranks
from benchmark.report.data.scores import Scores, finite_mean
from benchmark.report.tables.captions import NETWORKS_ONLY, conditions
from benchmark.report.tables.gains import listed
from benchmark.report.tables.rows import policy
from benchmark.report.tables.table import P_PLACES, Block, Cell, Column, Row, Table

LEAST = 3
"""Methods, and blocks, from which on there is something to rank."""


@dataclass(frozen=True)
class Blocks:
    """The primary endpoint of methods over blocks of network, profile and dataset.

    Attributes:
        first: scores of the first block, whose metric it is.
        methods: titles without the network.
        names: of the blocks.
        values: [blocks, methods], means over trainings and patients.
        ranks: of the methods.
    """

    first: Scores
    methods: tuple[str, ...]
    names: tuple[str, ...]
    values: Array
    ranks: MeanRanks


def blocks(every: Sequence[Scores]) -> Blocks | None:
    """Return the methods that all blocks with the first one's baseline have; None where these are too few.

    Args:
        every: of all studies, one metric. Methods trained on complete data (PDT) have no part in it.
    """
    values: dict[str, dict[str, float]] = {}
    for scores in every:
        for method, trainings in scores.trainings(scores.endpoint).items():
            run = scores.study.first_run(method)
            if policy(run) == "pdt":
                continue
            network = run.config["backbone"]["name"]
            block = f"{network_title(network)}, {scores.study.title} ({scores.study.dataset})"
            label = without_network(method, network)
            value = float(mean(trainings).mean[0])
            if np.isfinite(value):
                values.setdefault(block, {})[label] = value
    # A block with a single method ranks nothing, and would leave none that all blocks have.
    values = {name: own for name, own in values.items() if len(own) >= LEAST}
    methods = [m for m in next(iter(values.values()), {}) if all(m in own for own in values.values())]
    if len(methods) < LEAST or len(values) < LEAST:
        return None
    table = np.array([[own[m] for m in methods] for own in values.values()])
    ranks = mean_ranks(table if every[0].higher_is_better else -table)
    return Blocks(every[0], tuple(methods), tuple(values), table, ranks)


def ranks_table(ranked: Blocks) -> Table:
    """Return the methods by mean rank over the blocks, the best first, with their endpoint in each block."""
    order = np.argsort(ranked.ranks.ranks, kind="stable")
    up = ranked.first.higher_is_better
    rows = tuple(
        Row(
            (ranked.methods[i],),
            (Cell(float(ranked.ranks.ranks[i])), *map(Cell, ranked.values[:, i].tolist())),
            ranked.methods[i],
        )
        for i in order.tolist()
    )
    return Table(
        name=f"mean-ranks-{ranked.first.metric}",
        kind="ranks",
        metric=ranked.first.metric,
        title=ranked.first.title,
        higher_is_better=up,
        policy=ranked.first.study.runs[0].metric_policy,
        labels=("Over", "Method"),
        columns=(
            Column("rank", "Mean rank", higher_is_better=False),
            *(Column(name, name, higher_is_better=up) for name in ranked.names),
        ),
        blocks=(Block(f"{len(ranked.names)} blocks", rows),),
        caption=f"over {len(ranked.names)} blocks of network, profile and dataset: the primary endpoint of "
        "each, a mean over trainings and patients, and the mean rank over the blocks. Mean ranks that differ "
        f"by less than {ranked.ranks.critical:.2f} (Nemenyi's critical difference at 5 %) are not told "
        f"apart; Friedman's test that all are alike: p = {ranked.ranks.p:.2g}.",
        heading=f"Mean ranks, {ranked.first.title}",
    )


def places_table(every: Sequence[Scores]) -> Table | None:
    """Return the study's methods in the order of the BraTS challenge's ranking.

    None where they are few, or no patient has every modality and was tested with every method.

    Args:
        every: of one study, one per metric. Distances count only where a policy does not reward a prediction
            of nothing, as `passion` does. A metric that some method lacks has no part.
    """
    first = every[0]
    methods = first.study.methods
    rewards = first.study.runs[0].metric_policy.startswith("passion")
    wanted = [s for s in every if s.higher_is_better or not rewards]
    used = [s for s in wanted if len(s.measured) == len(methods)]
    if len(methods) < LEAST or not used:
        return None
    items = np.concatenate([_by_patient(scores) for scores in used], axis=2)
    tested = np.isfinite(items).any(axis=2)  # [methods, patients]
    whole = tested.any(axis=0) & tested[tested.any(axis=1)].all(axis=0)
    if not whole.any():
        return None
    ranks, p = brats_ranks(items[:, whole])
    order = np.argsort(ranks, kind="stable").tolist()
    rows = tuple(Row((methods[i],), (Cell(float(ranks[i])), Cell(float(p[i]))), methods[i]) for i in order)
    return Table(
        name=f"{first.study.name}-places-{first.metric}",
        kind="places",
        metric=first.metric,
        title="Rank",
        higher_is_better=False,
        policy=first.study.runs[0].metric_policy,
        labels=("Study", "Method"),
        columns=(
            Column("rank", "Mean rank", higher_is_better=False),
            Column("p", "p to the next", decimals=P_PLACES),
        ),
        blocks=(Block(first.study.title, rows),),
        caption=f"on {first.study.dataset} as in the BraTS challenge: methods ranked for each patient, "
        f"region ({listed(first.plain)}) and metric ({listed([s.title for s in used])}), subsets and "
        f"trainings averaged first; mean over all. p: against the next method, {PERMUTATIONS:,} random swaps "
        f"of the two methods' ranks within patients; it is over {NETWORKS_ONLY} and says nothing of others.",
        heading="Ranking as in the BraTS challenge",
        conditions=conditions([first]),
    )


def _by_patient(scores: Scores) -> Array:
    """Means over subsets and the trainings that a patient tests, [methods, patients, plain regions].

    Larger is better; nan for a patient who lacks a modality.
    """
    weights = np.concatenate([scores.of_subsets(region)[-1:] for region in scores.plain])
    means = [finite_mean(trainings.values, axis=0) for trainings in scores.trainings(weights).values()]
    return np.array(means) * (1 if scores.higher_is_better else -1)
