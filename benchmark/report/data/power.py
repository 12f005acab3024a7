"""How many trainings and patients a gain takes, from the variances of finished runs.

    spread = variances(passion, baseline)                # of two `Trainings`, paired
    power(spread, gain=2, trainings=5, patients=100)     # chance of p < 0.05
    trainings_needed(spread, gain=2, patients=100)       # None: not with any number

The model is that of `effects`: the difference between two methods varies with the training, with the patient,
and with both. More trainings take away the first, more patients the second.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import nctdtr, stdtrit

from benchmark.report.data.effects import LEAST, LEVEL, POWER, Trainings, paired_differences, repeats

MOST = 1000
"""Trainings a side beyond which none are counted."""


@dataclass(frozen=True)
class Variances:
    """Of the difference between two methods, in the unit of the scores squared.

    Attributes:
        training: between trainings, of the mean over all patients there are.
        patient: between patients, of the mean over all trainings there could be.
        rest: of one patient in one training, beyond both.
    """

    training: float
    patient: float
    rest: float


def variances(method: Trainings, reference: Trainings) -> Variances | None:
    """Return the variances of the first column's differences, by the analysis of variance.

    None where they are not paired, or in trainings of several splits, or where there are fewer than two that
    repeat, or of patients with a value in each.
    """
    paired = paired_differences(method, reference)
    if paired is None or len({key.split for key in paired.keys}) > 1:
        return None
    values = repeats(paired).values[..., 0]
    values = values[:, np.isfinite(values).all(axis=0)]
    trainings, patients = values.shape
    if trainings < 2 or patients < 2:
        return None
    of_trainings, of_patients = values.mean(axis=1), values.mean(axis=0)
    rest = values - of_trainings[:, None] - of_patients + values.mean()
    left = float((rest**2).sum() / ((trainings - 1) * (patients - 1)))
    return Variances(
        max(0.0, float(of_trainings.var(ddof=1)) - left / patients),
        max(0.0, float(of_patients.var(ddof=1)) - left / trainings),
        left,
    )


def pooled(every: Sequence[Variances]) -> Variances:
    """Return the mean of several: those of the methods of a study."""
    parts = np.mean([(v.training, v.patient, v.rest) for v in every], axis=0).tolist()
    return Variances(*parts)


def power(spread: Variances, gain: float, trainings: int, patients: int) -> float:
    """Return the chance that so many trainings a side and patients show a true gain at `LEVEL`."""
    rest = spread.rest / (trainings * patients)
    of_trainings = spread.training / trainings + rest
    of_patients = spread.patient / patients + rest
    variance = of_trainings + of_patients - rest
    if variance == 0:
        return 1.0
    freedom = variance**2 / (
        of_trainings**2 / (trainings - 1)
        + of_patients**2 / (patients - 1)
        + rest**2 / ((trainings - 1) * (patients - 1))
    )
    beyond = stdtrit(freedom, 1 - LEVEL / 2)
    return float(1 - nctdtr(freedom, abs(gain) / np.sqrt(variance), beyond))


def trainings_needed(spread: Variances, gain: float, patients: int) -> int | None:
    """Return the fewest trainings a side, `LEAST` at least, that show a true gain with chance `POWER`.

    None where more than `MOST` do not either, for want of patients.
    """
    low, high = LEAST, MOST
    if power(spread, gain, high, patients) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        if power(spread, gain, middle, patients) < POWER:
            low = middle + 1
        else:
            high = middle
    return low
