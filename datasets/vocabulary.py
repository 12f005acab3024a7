"""The words a study is described in: modalities, subsets of them, classes, regions.

Everything that depends on a dataset (15 or 7 subsets, table columns, file labels) derives from one
`Description`; nothing of it is typed a second time. Imports neither torch nor numpy.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from itertools import combinations
from pathlib import PurePath
from typing import Any, Literal
from unicodedata import normalize

from bench_errors import InputError

ENDINGS = (".nii.gz", ".nii")
"""Of image files."""

FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With one of these begins what a spreadsheet takes for a formula; the last four are full-width."""

Subset = tuple[str, ...]
"""A non-empty set of modalities, always in the order of the description's `modalities`."""

SLICE = "_slice_"
"""What follows the name of a volume in that of a case that is a slice of it, before its number."""

WHERE = ("name", "layouts", "ignore", "channels", "case_names")
"""What of a `Description` says how a study is called and where its files lie, and decides no number."""


@dataclass(frozen=True)
class Region:
    """A union of classes that is scored, such as the whole tumour.

    `min_voxels`: a predicted region with fewer voxels than this is emptied before scoring (0: never).
    """

    name: str
    classes: tuple[int, ...]
    min_voxels: int = 0


@dataclass(frozen=True)
class Layout:
    """Where the files of a study lie: patterns of paths below its folder, without `.nii.gz` or `.nii`.

    `{case}` stands for a case's name. Any other name in braces, such as `{site}`, or `{grade:HGG|LGG}` with
    the values it can have, becomes a column of the case.

    Attributes:
        files: the pattern of each modality, in the order of the description's `modalities`.
        label: the pattern of the label file.
        mask: the pattern of a file that is positive within the head; empty where the study has none.
        name: the pattern of a case's name, of words that the others have: ``{site}_{case}`` where each site
            counts its cases.
    """

    files: tuple[str, ...]
    label: str
    mask: str = ""
    name: str = "{case}"

    @classmethod
    def named(cls, stem: str, suffixes: Iterable[str], label_suffix: str) -> "Layout":
        """Return the layout of files whose names differ in their ending: ``{case}/{case}`` and ``_flair``."""
        return cls(tuple(stem + suffix for suffix in suffixes), stem + label_suffix)


@dataclass(frozen=True)
class Normalisation:
    """How the intensities of a modality are made alike from case to case.

    Attributes:
        rule: `zscore`: mean 0 and deviation 1 over the case's head. `percentiles`: the same after all voxels
            are clipped to two percentiles of the head. `window`: clipped to two intensities, which become -1
            and 1 in every case (a CT window). `none`: as the file has them.
        limits: (low, high) of the percentiles, 0 to 100, or of the window.
    """

    rule: Literal["zscore", "percentiles", "window", "none"] = "zscore"
    limits: tuple[float, ...] = ()

    @property
    def needs_head(self) -> bool:
        """Whether it goes by the voxels of the head."""
        return self.rule in ("zscore", "percentiles")


@dataclass(frozen=True)
class Slices:
    """Which slices of a 2-D study are cases of their own, called ``<case>_slice_<number>``.

    Attributes:
        labelled: voxels that are labelled in a slice at least.
        box: the modality to whose box, of all that is not 0, volumes are cut; empty: to their middle.
        edge: of what is kept of a slice, in voxels.
    """

    labelled: int = 0
    box: str = ""
    edge: int = 256


@dataclass(frozen=True)
class Description:
    """What the suite needs to know of a dataset.

    Attributes:
        name: the dataset's name.
        modalities: names, in the order of the tensors' modality axis.
        file_labels: value in the label file -> class index.
        classes: class names; index 0 is the background.
        regions: what is scored, in the order of the tables' blocks.
        table_order: the subsets in the order of the paper's tables; empty means `subsets(modalities)`.
        profile_order: the modalities in the order of the digits of a profile's name (mr2468).
        spatial_dims: 3 for volumes, 2 for studies that are treated slice by slice.
        layouts: the ways in which the files may lie, also side by side in one study.
        channels: for each modality, its place on the fourth axis of its file; empty where each has a file.
        patient: pattern of a case's name whose first group is the patient, for studies with several cases of
            one; a name that does not match is a patient of its own.
        case_names: pattern of the published cases' names, which tells studies apart that lie alike.
        ignore: patterns of files that are no part of the study, as a shell has them: ``imagesTs/*``.
        background: the intensity outside the head; None: what the faces of a volume have in common.
        normalise: of each modality; empty where all are z-scored.
        grid: what files on several grids are brought to: that of a modality, or an edge of the voxels in mm;
            empty: a case's files lie on one grid.
        whole: whether volumes are taken whole, as those of bodies, with no head to be found in them.
        slices: which slices are cases of their own; None: a volume is a case.
    """

    name: str
    modalities: tuple[str, ...]
    file_labels: dict[int, int]
    classes: tuple[str, ...]
    regions: tuple[Region, ...]
    table_order: tuple[Subset, ...]
    profile_order: tuple[str, ...]
    spatial_dims: int = 3
    layouts: tuple[Layout, ...] = ()
    channels: tuple[int, ...] = ()
    patient: str = ""
    case_names: str = ""
    ignore: tuple[str, ...] = ()
    background: float | None = None
    normalise: tuple[Normalisation, ...] = ()
    grid: str = ""
    whole: bool = False
    slices: Slices | None = None

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What follows the case's name in each modality's file name, such as `_flair` (first layout)."""
        return tuple(file.rpartition("{case}")[2] for file in self.layouts[0].files)

    @property
    def label_suffix(self) -> str:
        """The same of the label file."""
        return self.layouts[0].label.rpartition("{case}")[2]

    @property
    def plain_regions(self) -> tuple[str, ...]:
        """Names of the regions that are no other one's post-processed twin: those that a mean is over."""
        names: dict[tuple[int, ...], str] = {}
        for region in self.regions:
            names.setdefault(region.classes, region.name)
        return tuple(names.values())

    @property
    def digest(self) -> str:
        """First 10 hex digits of the SHA-256 of all but the name and where the files lie."""
        facts = {key: value for key, value in self.to_dict().items() if key not in WHERE}
        return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]

    def normalisation(self, modality: str) -> Normalisation:
        """Return how the intensities of a modality are normalised."""
        return dict(zip(self.modalities, self.normalise, strict=False)).get(modality, Normalisation())

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, dicts, strings and numbers, as written to YAML and JSON."""
        facts = asdict(self)
        # What later versions added is left out where it says nothing, so that hashes stay as they were.
        return _plain({k: v for k, v in facts.items() if v or k not in ("grid", "whole", "slices")})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Description":
        """Inverse of `to_dict`; what records of older versions say beyond the attributes is left out."""
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in values.items() if key in known}
        regions = tuple(
            Region(r["name"], tuple(r["classes"]), r["min_voxels"]) for r in values.pop("regions")
        )
        order = tuple(tuple(s) for s in values.pop("table_order"))
        layouts = tuple(
            Layout(tuple(v["files"]), v["label"], v.get("mask", ""), v.get("name", "{case}"))
            for v in values.pop("layouts", ())
        )
        normalise = tuple(Normalisation(v["rule"], tuple(v["limits"])) for v in values.pop("normalise", ()))
        slices = Slices(**values.pop("slices")) if values.get("slices") else None
        labels = {int(k): int(v) for k, v in values.pop("file_labels").items()}
        rest: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(
            regions=regions,
            table_order=order,
            file_labels=labels,
            layouts=layouts,
            normalise=normalise,
            slices=slices,
            **rest,
        )


def patient(case: str, description: Description) -> str:
    """Return the patient that a case is of: by the description's pattern, or the case itself.

    Of a slice, the name of its volume counts.
    """
    name = re.sub(rf"{SLICE}[0-9]+$", "", case) if description.slices else case
    match = re.fullmatch(description.patient, name)
    return match[1] if match and description.patient else name


def is_spacing(grid: str) -> bool:
    """Whether a `Description.grid` is an edge of voxels in mm, more than 0, rather than a modality."""
    return bool(re.fullmatch(r"\d+\.?\d*|\.\d+", grid)) and float(grid) > 0


def subsets(modalities: Sequence[str]) -> list[Subset]:
    """All non-empty subsets, smallest first, each in the order of `modalities`: 15 for four, 7 for three."""
    return [s for size in range(1, len(modalities) + 1) for s in combinations(modalities, size)]


def subset_name(subset: Iterable[str], modalities: Sequence[str]) -> str:
    """Return ``"flair+t1ce"``: the subset's modalities in their order, joined by plus signs."""
    chosen = set(subset)
    return "+".join(m for m in modalities if m in chosen)


def parse_subset(name: str, modalities: Sequence[str]) -> Subset:
    """Inverse of `subset_name`, in any order; raise `InputError` for an unknown or repeated modality."""
    parts = [p.strip() for p in name.split("+")]
    for part in parts:
        if part not in modalities:
            raise InputError(f"unknown modality '{part}' in '{name}': this study has {', '.join(modalities)}")
    if len(set(parts)) < len(parts):
        raise InputError(f"modality given twice in '{name}': name each at most once")
    return tuple(m for m in modalities if m in parts)


def presence(subset: Iterable[str], modalities: Sequence[str]) -> tuple[bool, ...]:
    """Return the subset as one bool per modality, in the order of `modalities`."""
    chosen = set(subset)
    return tuple(m in chosen for m in modalities)


def table_subsets(description: Description) -> list[Subset]:
    """Return the subsets in the order of the description's tables."""
    return list(description.table_order) or subsets(description.modalities)


def nfc(text: str) -> str:
    """Return a text with composed letters: "ü" as one, as keyboards and not all file systems write it."""
    return normalize("NFC", text)


def profile_label(profile: str) -> str:
    """Return a profile's name fit for file names: ``mr2468``; ``sites`` for ``dir/sites.yaml#3f2a9c01``."""
    path = profile.removeprefix("csv:").partition("#")[0]
    return PurePath(path).stem if path.endswith((".yaml", ".yml", ".csv")) else path.replace("/", "_")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
