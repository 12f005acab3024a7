"""How far a prediction can be trusted: what its networks' own tests gave, and how far their masks agree.

    confidence = Confidence.of([model.content], "flair+t2", members, description.regions)
    print(confidence.words)

A test says what to expect of other patients with the same images, like those of training. Agreement is of
this patient: where networks, or flips of the images, contradict each other, not all of them can be right.
That they agree does not make them so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.run_folder.case_rows import read_rows
from datasets.vocabulary import Region


class Tested(NamedTuple):
    """Dice of a region in a test: number of cases, the mean, the lowest and the highest."""

    cases: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Confidence:
    """What is known of how good a segmentation is.

    Attributes:
        tested: region -> what tests with the same images gave; empty where none is on record.
        agreement: region -> as `agreement` has it; empty where there is one member.
        words: both, in a line.
    """

    tested: dict[str, Tested]
    agreement: dict[str, float]
    words: str

    @classmethod
    def of(
        cls,
        contents: Sequence[Mapping[str, Any]],
        subset: str,
        members: Sequence[NDArray[np.uint8]],
        regions: Sequence[Region],
        unlike: bool = False,
    ) -> "Confidence":
        """Return what is known of a patient's segmentation.

        Args:
            contents: of the networks, as `Trained.content`.
            subset: the modalities that were given, such as ``flair+t2``.
            members: the class maps [*space] that the segmentation is the mean of, or flips beside it.
            regions: of the study.
            unlike: whether the images are told to be unlike those of training.
        """
        records = [_record(content, subset) for content in contents]
        tested = {region.name: one for region in regions if (one := _pooled(records, region.name))}
        found = agreement(members, regions) if len(members) > 1 else {}
        words = _tested_words(contents, records, tested, subset, unlike)
        if found:
            empty = {region.name for region in regions if not _masks(members, region).any()}
            of = ", ".join(f"{r} {'nowhere in all' if r in empty else f'{v:.2f}'}" for r, v in found.items())
            words += f"; {_members_text(len(contents), len(members))} agree on this patient by Dice {of}"
        return cls(tested, found, words)


def recorded_dice(cases: Path) -> dict[str, dict[str, list[float]]]:
    """Return subset -> region -> `Tested` as a list, of the Dice in a test's `cases.csv`; {} without one."""
    values: dict[str, dict[str, list[float]]] = {}
    for row in read_rows(cases):
        if row.metric == "dice" and not isnan(row.value):
            values.setdefault(row.subset, {}).setdefault(row.region, []).append(row.value)
    return {
        subset: {
            region: [len(dice), *(round(v, 4) for v in (float(np.mean(dice)), min(dice), max(dice)))]
            for region, dice in of_subset.items()
        }
        for subset, of_subset in values.items()
    }


def agreement(members: Sequence[NDArray[np.uint8]], regions: Sequence[Region]) -> dict[str, float]:
    """Return the mean Dice between the masks of each two members, by region; 1 for two that are empty.

    Source: "Dice agreement" of A. G. Roy et al., NeuroImage 195 (2019), there of Monte Carlo samples.

    Args:
        members: two or more class maps [*space] of one patient.
        regions: a mask with fewer voxels than a region's `min_voxels` is empty.
    """
    found = {}
    for region in regions:
        masks = _masks(members, region)
        inside = masks[:, masks.any(axis=0)].astype(np.float64)
        overlap = inside @ inside.T
        pairs = [
            2 * overlap[i, j] / sizes if (sizes := overlap[i, i] + overlap[j, j]) else 1.0
            for i, j in combinations(range(len(members)), 2)
        ]
        found[region.name] = float(np.mean(pairs))
    return found


def _masks(members: Sequence[NDArray[np.uint8]], region: Region) -> NDArray[np.bool_]:
    """The region in each member, bool [K, voxels of all]."""
    masks = np.stack([np.isin(member, region.classes).ravel() for member in members])
    masks[masks.sum(axis=1) < region.min_voxels] = False
    return masks


def _record(content: Mapping[str, Any], subset: str) -> dict[str, Tested]:
    """What a network's own test gave with a subset, unless it showed the other modalities too."""
    if content["config"]["test"].get("outside"):
        return {}
    scores = content.get("scores", {}).get(subset, {})
    return {region: Tested(int(n), mean, low, high) for region, (n, mean, low, high) in scores.items()}


def _pooled(records: Sequence[Mapping[str, Tested]], region: str) -> Tested | None:
    """The tests of several networks as one."""
    tests = [record[region] for record in records if region in record]
    if not tests:
        return None
    cases = sum(test.cases for test in tests)
    mean = sum(test.cases * test.mean for test in tests) / cases
    return Tested(cases, mean, min(test.low for test in tests), max(test.high for test in tests))


def _tested_words(
    contents: Sequence[Mapping[str, Any]],
    records: Sequence[Mapping[str, Tested]],
    tested: Mapping[str, Tested],
    subset: str,
    unlike: bool,
) -> str:
    if not tested:
        return f"no test with {subset} alone is on record: how good this is, nobody knows"
    counts = [max(test.cases for test in record.values()) for record in records if record]
    taught = any(content["config"].get("split") == "same" for content in contents)
    cases = "case" if counts == [1] else "cases"
    number = " + ".join(map(str, counts))
    if taught:
        where = f"on {number} {cases} with {subset} that taught the network, so new patients will do worse"
    elif len(contents) == 1:
        where = f"on the {number} test {cases} with {subset}"
    else:
        where = f"each network by itself, on {number} test {cases} with {subset}"
    lacking = len(contents) - len(counts)
    where += f" ({lacking} of {len(contents)} networks have no test on record)" if lacking else ""
    dice = ", ".join(
        f"{region} {t.mean:.2f}" + (f" ({t.low:.2f} to {t.high:.2f})" if t.cases > 1 else "")
        for region, t in tested.items()
    )
    expect = "; these images are not like those of training: expect less" if unlike else ""
    return f"{where}: Dice {dice}{expect}"


def _members_text(networks: int, members: int) -> str:
    if networks == members:
        return f"{networks} networks"
    flips = f"{members // networks} flips of the images"
    return flips if networks == 1 else f"{networks} networks and {flips}"
