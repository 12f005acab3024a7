"""What the page shows case by case: ``browser(sections)``, tables to be read and packed data for the script.

Scores are whole hundredths of the metric's unit, cases one after the other, seeds averaged. A slice's classes
are runs such as ``a350b4a12``: 350 pixels of class 0, 4 of class 1, ... What would make the page too large is
left out, and `Browser.left_out` says so.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmark.report.data.names import modality_title
from benchmark.report.data.runs import Study
from benchmark.report.data.scores import Scores, finite_mean
from benchmark.report.page.packed import hundredths, packed, picture_uri
from benchmark.report.page.pairs import pairs
from benchmark.report.tables.contents import Section
from benchmark.report.tables.gains import listed
from benchmark.report.tables.rows import references
from datasets.vocabulary import parse_subset, presence

SCORES_LIMIT = 3_000_000
"""Bytes of packed scores that the page takes."""
SLICES_LIMIT = 5_000_000
"""Bytes of packed slices that the page takes."""
CASES_LIMIT = 400
"""Rows of a table of cases."""


@dataclass(frozen=True)
class CaseTable:
    """The scores of a study's cases, each a mean over subsets and regions.

    Attributes:
        title: of the study.
        metric: title of the metric.
        methods: heads of the columns.
        rows: name of a case and its value by method, nan without one.
        cases: how many there are; of more than `CASES_LIMIT`, `rows` has those with the lowest means.
    """

    title: str
    metric: str
    methods: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    cases: int


@dataclass(frozen=True)
class PackedStudy:
    """What the script reads of one study.

    Attributes:
        title: of the study.
        scores: packed.
        slices: those that were kept, packed; empty without any.
        compares: whether it has a method and its baseline.
    """

    title: str
    scores: str
    slices: str
    compares: bool


@dataclass(frozen=True)
class Browser:
    """All that the page shows case by case.

    Attributes:
        tables: one per study, to be read without a script.
        studies: for the script.
        left_out: sentences on what is not in `studies`.
    """

    tables: tuple[CaseTable, ...]
    studies: tuple[PackedStudy, ...]
    left_out: tuple[str, ...]

    @property
    def begin(self) -> PackedStudy | None:
        """The study to begin with: one that compares methods, and has slices, rather than not."""
        return max(self.studies, key=lambda study: (study.compares, study.slices != ""), default=None)


def browser(sections: Sequence[Section]) -> Browser:
    """Gather the cases of every study; studies and slices beyond the limits are left out, the first stay."""
    tables, studies, without, bare = [], [], [], []
    scores_left, slices_left = SCORES_LIMIT, SLICES_LIMIT
    for section in sections:
        study = section.study
        if study is None:
            continue
        tables.append(_case_table(section.scores[0]))
        scores = packed(_study(study, section.scores)) if scores_left >= 0 else ""
        scores_left -= len(scores)
        if scores_left < 0:
            without.append(section.title)
            continue
        slices = _slices(study, section.scores[0])
        slices_left -= len(slices)
        if slices_left < 0:
            bare.append(section.title)
            slices = ""
        studies.append(PackedStudy(tables[-1].title, scores, slices, bool(references(study.runs))))
    left_out = []
    if without:
        left_out.append(f"To keep this page small, the browser is without {'; '.join(without)}.")
    if bare:
        left_out.append(f"To keep this page small, it is without the slices of {'; '.join(bare)}.")
    return Browser(tuple(tables), tuple(studies), tuple(left_out))


def runs_of(classes: NDArray[np.uint8]) -> str:
    """Write class indices row by row as runs of a letter (a: class 0) and a length."""
    flat = classes.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=int(flat[0]) + 1))
    lengths = np.diff(starts, append=len(flat))
    return "".join(f"{chr(97 + int(flat[s]))}{n}" for s, n in zip(starts, lengths, strict=True))


def _case_table(scores: Scores) -> CaseTable:
    study = scores.study
    plain = [scores.regions.index(region) for region in scores.plain]
    means = np.stack([scores.of_cases(m)[:, plain, -1].mean(axis=1) for m in study.methods], axis=1)
    order = [scores.names.index(name) for name in natural(scores.names)]
    if len(order) > CASES_LIMIT:
        of_cases = finite_mean(means[order], axis=1)
        order = [order[i] for i in np.argsort(of_cases, kind="stable")[:CASES_LIMIT]]
    rows = tuple((scores.names[i], tuple(means[i].tolist())) for i in order)
    return CaseTable(f"{study.dataset}, {study.title}", scores.title, tuple(study.methods), rows, len(means))


def natural(names: Iterable[str]) -> list[str]:
    """Sort names as one expects it: the numbers in them by size."""
    return sorted(
        names,
        key=lambda name: [(p.isdigit(), int(p) if p.isdigit() else 0, p) for p in re.split(r"(\d+)", name)],
    )


def _study(study: Study, scores: Sequence[Scores]) -> dict[str, Any]:
    description = study.description
    first = scores[0]
    subsets = first.subsets
    cases = natural(first.names)
    order = [first.names.index(case) for case in cases]
    against = references(study.runs)
    return {
        "title": f"{study.dataset}, {study.title}",
        "modalities": [modality_title(m) for m in description.modalities],
        "subsets": [
            [int(on) for on in presence(parse_subset(name, description.modalities), description.modalities)]
            for name in subsets
        ],
        "regions": [
            {"name": r.name, "classes": list(r.classes), "drawn": r.name in first.plain}
            for r in description.regions
        ],
        "metrics": [{"title": own.title, "up": own.higher_is_better} for own in scores],
        "plain": listed(first.plain),
        "methods": study.methods,
        "references": [study.methods.index(against[m]) if m in against else None for m in study.methods],
        "pairs": pairs(scores),
        "cases": cases,
        "values": [
            [
                [hundredths(own.of_cases(method)[order, i, :-1]) for method in study.methods]
                for i in range(len(first.regions))
            ]
            for own in scores
        ],
    }


def _slices(study: Study, scores: Scores) -> str:
    """The pictures of the slices, each once, and what the first run of each method made of them, packed."""
    cases = natural(scores.names)
    pictures: dict[tuple[str, ...], int] = {}
    examples = []
    for m, method in enumerate(study.methods):
        run = study.first_run(method)
        for example in run.examples:
            shown = tuple(
                picture_uri(Image.fromarray(volume)) if volume.any() else "" for volume in example.volumes
            )
            predictions = [example.predictions.get(subset) for subset in scores.subsets]
            examples.append(
                {
                    "method": m,
                    "case": cases.index(example.case),
                    "roles": list(example.roles),
                    "seed": run.config["seed"],
                    "trainings": len(study.of_methods([method]).runs),
                    "place": example.place,
                    "size": list(example.label.shape),
                    "pictures": pictures.setdefault(shown, len(pictures)),
                    "label": runs_of(example.label),
                    "predictions": ["" if found is None else runs_of(found) for found in predictions],
                }
            )
    return packed({"pictures": list(pictures), "examples": examples}) if examples else ""
