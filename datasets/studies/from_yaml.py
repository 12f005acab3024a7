"""A study of one's own, described by a YAML file: ``read_description(Path("stroke.yaml"))``.

Wherever a dataset's name is asked for (`--dataset`, a grid's `dataset`), the file's path can stand; the
dataset is then called as the file, here `stroke`.

    modalities:                      # in the order of the network's inputs
      adc: "{site}/{case}/{case}_adc.nii.gz"
      dwi: "{site}/{case}/{case}_dwi.nii.gz"
    label: "{site}/{case}/{case}_msk.nii.gz"
    labels: {core: 1, penumbra: [2, 3]}          # values in the label file; 0 is the background
    regions:                                     # what is scored
      lesion: [core, penumbra]
      core: {classes: [core], min_voxels: 50}    # emptied where fewer voxels are predicted
    patient: "([^-]+)-.*"            # optional: the part of a case's name that is the patient
    profile_order: [dwi, adc]        # optional: modalities in the order of a profile's digits
    spatial_dims: 3                  # optional: 2 treats slices one by one, of larger ones the middle 256x256
    case: "{site}_{case}"            # optional: the case's name, where sites repeat {case}
    ignore: ["imagesTs/*"]           # optional: files that are no part of the study
    mask: "{site}/{case}/{case}_brain.nii.gz"    # optional: positive within the head
    background: -1024                # optional: the intensity outside the head, otherwise that of the faces
    normalise:                       # optional; what is left out is z-scored over the head
      adc: {percentiles: [0.5, 99.5]}            # of the head: clipped to them, then z-scored
      dwi: none                      # as the file has it; {window: [-100, 300]}: clipped, then -1 to 1 (CT)
    grid: dwi                        # optional: all files are brought to that of a modality, or to mm: 1.5
    whole: true                      # optional: no head is looked for, nothing cut off: bodies, CT and PET
    slices: {labelled: 150}          # optional, in 2-D: slices with so many labelled voxels are cases

`{case}` in a pattern is the case's name, any other name in braces becomes a column of the case. A file with
several modalities on its fourth axis: `adc: {file: "{case}.nii.gz", channel: 0}`. Where parts of a study
lie differently, each modality (and `label`, and `case` if need be) has a list of patterns: the first of all
belong together, the second, and so on; a single one stands for all.
"""

import re
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator

from bench_registry import unknown
from bench_schema import Frozen, Location, refuse
from bench_yaml import read_yaml
from datasets.studies.brats import MODALITIES as BRATS_MODALITIES
from datasets.studies.brats import TABLE_ORDER as BRATS_TABLE_ORDER
from datasets.studies.layouts import CASE, LABEL, MASK, check_layouts, check_name, check_pattern, layouts
from datasets.studies.names import DATASETS
from datasets.studies.patterns import words
from datasets.vocabulary import Description, Normalisation, Region, Slices, is_spacing, nfc

SHIPPED = Path(__file__).parent / "shipped"
"""Folder of the studies that are known by their names and described as users describe theirs."""

_BACKGROUND = "background"
_RESERVED = ("label", "mask", "case", "average")
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_MOST = 8
"""Modalities; a table has a column for each of their subsets."""


def _modality(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", name) or name in _RESERVED:
        raise ValueError("expected another name, of at most 32 letters, digits, - and _")
    return name


def _region(name: str) -> str:
    if not re.fullmatch(_NAME, name):
        raise ValueError("expected a name of at most 64 letters and digits")
    return name


def _expression(pattern: str) -> str:
    """Check the pattern of patients: a regular expression with one group."""
    try:
        if not pattern or re.compile(pattern).groups == 1:
            return pattern
    except re.error as error:
        raise ValueError(f"is no regular expression ({error}), found {pattern!r}") from None
    raise ValueError(f"expected a pattern with one group such as '(.+)_[0-9]+', found {pattern!r}")


def _normalisation(entry: Any) -> Normalisation:
    """Read how a modality is normalised: the name of a rule, or a rule with its limits."""
    if entry in ("zscore", "none"):
        return Normalisation(entry)
    if not isinstance(entry, dict) or list(entry) not in (["window"], ["percentiles"]):
        expected = "zscore, none, {window: [low, high]} or {percentiles: [low, high]}"
        raise ValueError(f"expected {expected}, found {entry!r}")
    ((rule, limits),) = entry.items()
    least, most = (0, 100) if rule == "percentiles" else (-inf, inf)
    pair = isinstance(limits, list) and [type(limit) in (int, float) for limit in limits] == [True, True]
    if not pair or not least <= limits[0] < limits[1] <= most:
        within = " within 0 and 100" if rule == "percentiles" else ""
        refuse({(rule,): f"expected [low, high]{within}, found {limits!r}"})
    return Normalisation(rule, tuple(map(float, limits)))


def _grid(entry: Any) -> Any:
    """Read a number of mm as text; everything else as it is."""
    return f"{entry:g}" if type(entry) in (int, float) else entry


def _short_for(key: str) -> BeforeValidator:
    """Let a value stand for the mapping that has it as its `key` alone."""
    return BeforeValidator(lambda value: value if isinstance(value, dict) else {key: value})


Count = Annotated[int, Field(ge=0)]
OneOrMore = BeforeValidator(lambda value: value if isinstance(value, list) else [value])
Patterns = Annotated[list[Annotated[str, BeforeValidator(check_pattern)]], OneOrMore, Field(min_length=1)]
Names = Annotated[list[Annotated[str, BeforeValidator(check_name)]], OneOrMore, Field(min_length=1)]


class ImageEntry(Frozen):
    """Where the image of a modality is: the patterns of its file, and its place on a fourth axis."""

    file: Patterns
    channel: Count | None = None


class RegionEntry(Frozen):
    """What a region is a union of, and how many voxels it has at least."""

    classes: Annotated[list[str], OneOrMore, Field(min_length=1)]
    min_voxels: Count = 0


class SlicesEntry(Frozen):
    """Which slices are cases, and what is kept of them: the keys of `Slices`."""

    labelled: Count = 0
    box: str = ""
    edge: Annotated[int, Field(gt=0)] = Slices.edge


class DescriptionFile(Frozen):
    """The keys of a file. First each is checked by itself, then whether they fit together."""

    modalities: Annotated[
        dict[Annotated[str, AfterValidator(_modality)], Annotated[ImageEntry, _short_for("file")]],
        Field(min_length=2, max_length=_MOST),
    ]
    label: Patterns
    labels: dict[str, Annotated[list[Count], OneOrMore, Field(min_length=1)]]
    regions: Annotated[
        dict[Annotated[str, AfterValidator(_region)], Annotated[RegionEntry, _short_for("classes")]],
        Field(min_length=1),
    ]
    patient: Annotated[str, AfterValidator(_expression)] = ""
    profile_order: list[str] | None = None
    spatial_dims: Literal[2, 3] = 3
    case: Names = Field(default_factory=lambda: ["{case}"])
    ignore: list[Annotated[str, AfterValidator(nfc)]] = Field(default_factory=list)
    mask: Patterns | None = None
    background: float | None = None
    normalise: dict[str, Annotated[Normalisation, PlainValidator(_normalisation)]] | None = None
    grid: Annotated[str, BeforeValidator(_grid)] = ""
    whole: bool = False
    slices: SlicesEntry | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; the background is the first."""
        return (_BACKGROUND, *(name for name in self.labels if name != _BACKGROUND))

    @property
    def patterns(self) -> dict[Location, list[str]]:
        """Patterns by where they stand in the file: of the modalities, in their order, and the others."""
        files: dict[Location, list[str]] = {
            ("modalities", m): image.file for m, image in self.modalities.items()
        }
        return files | {LABEL: self.label, CASE: self.case} | ({MASK: self.mask} if self.mask else {})

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = check_layouts(self.patterns, [image.channel for image in self.modalities.values()])
        if not self.patient and any("patient" in words(pattern) for pattern in self.label):
            problems["patient",] = (
                "expected a pattern, as {patient} in the paths keeps no patient on one side of a split: "
                """write case: "{patient}--{case}" and patient: "(.+?)--.+", or another word in the paths"""
            )
        for name in self.normalise or ():
            if name not in self.modalities:
                problems["normalise", name] = unknown("modality", name, list(self.modalities))
        if self.grid and not is_spacing(self.grid) and self.grid not in self.modalities:
            problems["grid",] = unknown("modality", self.grid, list(self.modalities))
        if self.whole and (self.mask or self.background is not None):
            problems["whole",] = "a mask or a background says where a head is: leave one of them out"
        if self.whole and self.slices and self.slices.model_fields_set & {"box", "edge"}:
            problems["whole",] = "slices.box and slices.edge cut slices: leave them out, or whole"
        if self.slices and self.spatial_dims == 3:
            problems["slices",] = "slices of volumes that are taken as such are no cases: say spatial_dims: 2"
        elif self.slices and self.slices.box not in ("", *self.modalities):
            problems["slices", "box"] = unknown("modality", self.slices.box, list(self.modalities))
        if len({image.channel is None for image in self.modalities.values()}) > 1:
            problems["modalities",] = "expected a channel for every modality or for none"
        owner = {0: _BACKGROUND}
        for name, value in ((name, value) for name, values in self.labels.items() for value in values):
            if owner.setdefault(value, name) != name:
                problems["labels", name] = f"value {value} stands for {owner[value]} too, expected another"
        names = list(self.classes[1:])
        if not names:
            problems["labels",] = "expected a class besides the background"
        for name, region in self.regions.items():
            for chosen in region.classes:
                if chosen not in names:
                    problems["regions", name] = unknown("class", chosen, names)
        if self.profile_order is not None and sorted(self.profile_order) != sorted(self.modalities):
            problems["profile_order",] = (
                f"expected each of {', '.join(self.modalities)} once, found {self.profile_order!r}"
            )
        refuse(problems)
        return self


def read_description(path: Path) -> Description:
    """Read and check a description whole; `InputError` names line and field of everything that is wrong."""
    names = ", ".join(DATASETS)
    document = read_yaml("dataset", path, f"give the path of a YAML file, or a name out of {names}")
    file, name = document.check(DescriptionFile), path.stem
    if not re.fullmatch(_NAME, name) or (name in DATASETS and path.parent != SHIPPED):
        raise document.error(
            (),
            f"the dataset would be called '{name}': call the file otherwise, in up to 64 letters and digits",
        )
    channels = [image.channel for image in file.modalities.values() if image.channel is not None]
    classes = file.classes
    return Description(
        name=name,
        modalities=tuple(file.modalities),
        file_labels={0: 0, **{v: i for i, c in enumerate(classes) for v in file.labels.get(c, ())}},
        classes=classes,
        regions=tuple(
            Region(region, tuple(map(classes.index, entry.classes)), entry.min_voxels)
            for region, entry in file.regions.items()
        ),
        table_order=_table_order(tuple(file.modalities)),
        profile_order=tuple(file.profile_order or file.modalities),
        spatial_dims=file.spatial_dims,
        layouts=layouts(file.patterns),
        channels=tuple(channels),
        patient=file.patient,
        ignore=tuple(file.ignore),
        background=file.background,
        normalise=tuple(file.normalise.get(m, Normalisation()) for m in file.modalities)
        if file.normalise
        else (),
        grid=file.grid,
        whole=file.whole,
        slices=Slices(**file.slices.model_dump()) if file.slices else None,
    )


def _table_order(modalities: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The paper's order for its four modalities, otherwise the smallest subsets first."""
    if set(modalities) != set(BRATS_MODALITIES):
        return ()
    return tuple(tuple(m for m in modalities if m in subset) for subset in BRATS_TABLE_ORDER)


def __getattr__(name: str) -> Description:
    """Return a shipped study: ``datasets.studies.from_yaml:mslesseg``, as the list of names has it."""
    if not (path := SHIPPED / f"{name}.yaml").is_file():
        raise AttributeError(name)
    return read_description(path)
