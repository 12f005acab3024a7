"""Metric policies: named sets of rules for empty masks, penalties and lesions.

policy = POLICIES["brats-2023"]
policy = find_policy("brats")       # also by a name of before edition 2
"""

from dataclasses import dataclass
from typing import Literal

from bench_errors import InputError
from bench_registry import unknown


@dataclass(frozen=True)
class LesionRules:
    """How a mask falls into lesions that are scored one by one.

    Attributes:
        dilation: how many voxels the reference grows (18-neighbourhood; in a slice the 8-neighbourhood)
            before its connected components are taken: parts whose growths touch are one lesion.
        min_volume: lesions of the reference that are not larger than so many mm³ are not scored.
    """

    dilation: int
    min_volume: float


@dataclass(frozen=True)
class MetricPolicy:
    """The rules where a metric has no natural value.

    Attributes:
        name: what configurations call it.
        source: whose rules they are.
        one_empty: HD95 in mm where exactly one of two masks is empty, and of a lesion that is missed or
            invented; `diagonal`: that of the image as it is stored.
        lesions: how lesions are told apart where Dice and HD95 are means over lesions; None: they are those
            of whole masks.
    """

    name: str
    source: str
    one_empty: float | Literal["diagonal"]
    lesions: LesionRules | None = None

    @property
    def worst(self) -> str:
        """``373.13 mm`` or ``the image's diagonal``."""
        return "the image's diagonal" if self.one_empty == "diagonal" else f"{self.one_empty} mm"


POLICIES = {
    policy.name: policy
    for policy in (
        MetricPolicy("passion", "as in PASSION's released code", 1.0),
        MetricPolicy("brats-2022", "as in the BraTS challenges up to 2022", 373.13),
        MetricPolicy(
            "brats-2023", "as in the BraTS challenge 2023, adult glioma", 374.0, LesionRules(3, 50.0)
        ),
        MetricPolicy("diagonal", "the worst distance that is possible", "diagonal"),
    )
}
OLD_NAMES = {"brats": "brats-2022", "nan-free": "diagonal"}
"""Names that run folders of before edition 2 have -> what they are called now."""


def policy_name(recorded: str) -> str:
    """Return what the policy that a run folder names is called now."""
    return OLD_NAMES.get(recorded, recorded)


def find_policy(name: str) -> MetricPolicy:
    """Return the policy of that name, now or before edition 2; raise `InputError` where there is none."""
    if policy_name(name) not in POLICIES:
        raise InputError(unknown("metric policy", name, list(POLICIES)))
    return POLICIES[policy_name(name)]
