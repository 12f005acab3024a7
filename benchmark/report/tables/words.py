"""The gains of a study in words, for the beginning of a report: ``sentences(gains(scores), margin=1.0)``.

PASSION +2.6 [1.0, 4.2] over the baseline on mmFormer, 3 trainings a side: too few for a test
"""

import math
from collections.abc import Sequence

from benchmark.report.data.effects import LEVEL, Effect
from benchmark.report.data.scores import Scores
from benchmark.report.tables.captions import counted, of_whole
from benchmark.report.tables.gains import Gain, listed
from benchmark.report.tables.render import number, p_value

MOST = 16
"""Gains of a study up to which each is said."""


def endpoint(scores: Scores) -> str:
    """Return what the primary endpoint of a study is."""
    of_gains = f"; gains{whole}" if (whole := of_whole(scores)) else ""
    return (
        f"{scores.study.dataset}, {scores.study.title}: mean {scores.title} of {listed(scores.plain)} over "
        f"all {len(scores.subsets)} subsets of modalities and {counted(len(scores.names), 'test case')}"
        + of_gains
    )


def sentences(every: Sequence[Gain], margin: float | None = None) -> tuple[str, ...]:
    """Return a sentence per gain; of more than `MOST`, of the largest and the smallest of each network.

    With a `margin`, they say whether two methods are equivalent within it.
    """
    if not every:
        return ("No method has a baseline of its own network and policy to be compared with.",)
    if len(every) <= MOST:
        return tuple(_sentence(gain, margin) for gain in every)
    said: list[Gain] = []
    for network in dict.fromkeys(gain.network for gain in every):
        ordered = sorted((g for g in every if g.network == network), key=lambda g: -g.value()[0])
        said += [ordered[0], ordered[-1]] if len(ordered) > 1 else ordered
    last = f"Said are the largest and the smallest gain of each network, of {len(every)}; the table has all."
    return (*(_sentence(gain, margin) for gain in said), last)


def trainings_of(effect: Effect) -> str:
    """``3 trainings a side``, ``6 trainings of 3 seeds a side``, ``3 and 4 trainings, not paired``."""
    repeat = [len(side) for side in effect.sides]
    several = list(effect.tables) != repeat
    if len(repeat) == 1:
        seeds = f" of {counted(repeat[0], 'seed')}" * several
        common = ", those that both have" * (effect.unpaired > 0)
        return f"{counted(effect.tables[0], 'training')}{seeds} a side{common}"
    seeds = f" of {repeat[0]} and {repeat[1]} seeds" * several
    return f"{effect.tables[0]} and {effect.tables[1]} trainings{seeds}, not paired"


def _sentence(gain: Gain, margin: float | None) -> str:
    reference = gain.reference.removeprefix(gain.network).strip()
    text = (
        f"{gain.label} {_interval(gain)} over the {reference} on {gain.network}, "
        f"{trainings_of(gain.effect)}: {_verdict(gain.p, gain.effect)}"
    )
    if margin is not None and not math.isnan(gain.p):
        p = float(gain.effect.equivalence(margin)[0])
        text += f"; {'' if p < LEVEL else 'not shown to be '}equivalent within {margin:g} ({_p(p)})"
    last = len(gain.effect.mean) - 1
    if last > 1 and gain.value()[0] * gain.value(last)[0] < 0:
        text += f"; with all {last} modalities {_interval(gain, last)}"
    return text


def _verdict(p: float, effect: Effect) -> str:
    if effect.of_these_networks:
        return "of these trained networks, nothing is known of others"
    if math.isnan(p):
        return "too few for a test"
    if p < LEVEL:
        return _p(p)
    detectable = number(float(effect.detectable[0]), 1)
    return f"no difference shown ({_p(p)}); the interval of a gain of {detectable} would likely leave out 0"


def _interval(gain: Gain, column: int = 0) -> str:
    """``+2.6 [1.0, 4.2]``, with true minuses."""
    value, low, high = gain.value(column)
    sign = "+" if value > 0 else ""
    ends = "" if math.isnan(low) else f" [{number(low, 1)}, {number(high, 1)}]"
    return f"{sign}{number(value, 1)}{ends}"


def _p(p: float) -> str:
    return f"p {'' if p < 0.001 else '= '}{p_value(p)}"
