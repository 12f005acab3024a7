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
    spatial_dims: 3                  # optional: 2 treats slices one by one
    case: "{site}_{case}"            # optional: the case's name, where sites repeat {case}
    ignore: ["imagesTs/*"]           # optional: files that are no part of the study
    mask: "{site}/{case}/{case}_brain.nii.gz"    # optional: positive within the head
    background: -1024                # optional: the intensity outside the head, otherwise that of the faces
    normalise:                       # optional; what is left out is z-scored over the head
      adc: {percentiles: [0.5, 99.5]}            # of the head: clipped to them, then z-scored
      dwi: none                      # as the file has it; {window: [-100, 300]}: clipped, then -1 to 1 (CT)

`{case}` in a pattern is the case's name, any other name in braces becomes a column of the case. A file with
several modalities on its fourth axis: `adc: {file: "{case}.nii.gz", channel: 0}`. Where parts of a study
lie differently, each modality (and `label`, and `case` if need be) has a list of patterns: the first of all
belong together, the second, and so on; a single one stands for all.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench_errors import InputError
from bench_registry import unknown
from datasets.studies.brats import MODALITIES as BRATS_MODALITIES
from datasets.studies.brats import TABLE_ORDER as BRATS_TABLE_ORDER
from datasets.studies.layouts import LABEL, MASK, Place, read_layouts
from datasets.studies.names import DATASETS
from datasets.vocabulary import Description, Normalisation, Region, nfc

_REQUIRED = ("modalities", "label", "labels", "regions")
_IMAGES = ("mask", "background", "normalise")
_KEYS = (*_REQUIRED, "patient", "profile_order", "spatial_dims", "case", "ignore", *_IMAGES)
_LIMITED = ("window", "percentiles")
_RESERVED = ("label", "mask", "case", "average")
_BACKGROUND = "background"
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_MOST = 8
"""Modalities; a table has a column for each of their subsets."""


@dataclass
class _File:
    """The content of a YAML file, where each part stands, and what is wrong with it."""

    content: Any
    lines: dict[Place, int]
    wrong: list[str] = field(default_factory=list)

    def fail(self, place: Place, message: str) -> None:
        """Note what is wrong at a place: its field, and the line of it or of what it is missing from."""
        known = next(p for p in (place[:n] for n in range(len(place), -1, -1)) if p in self.lines)
        name = ".".join(map(str, place))
        self.wrong.append(f"line {self.lines[known]}, {name}: {message}" if name else message)


def read_description(path: Path) -> Description:
    """Read and check a description whole; `InputError` names line and field of everything that is wrong."""
    file = _load(path)
    found = _described(file, path.stem)
    if file.wrong or found is None:
        raise InputError(f"{path}: {'; '.join(file.wrong)}")
    return found


def _load(path: Path) -> _File:
    try:
        node = yaml.compose(nfc(path.read_text(encoding="utf-8")), Loader=yaml.SafeLoader)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): give the YAML file of a dataset, "
            f"or a name out of {', '.join(DATASETS)}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML ({' '.join(str(error).split())}): mend the file") from None
    file = _File(None, {(): 1})
    if node is not None:
        file.content = _value(node, (), file)
    return file


def _value(node: yaml.Node, place: Place, file: _File) -> Any:
    """The content of a node, with the keys of mappings as they are written (`no` stays a word)."""
    if len(place) > len(("regions", "name", "classes", 0)):
        file.fail(place, "expected nothing so deep: see datasets/studies/from_yaml.py for an example")
        return None
    if isinstance(node, yaml.MappingNode):
        content: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                file.fail(place, "expected words as keys")
                continue
            file.lines[(*place, key.value)] = key.start_mark.line + 1
            if key.value in content:
                file.fail((*place, key.value), "is given twice: leave one")
            content[key.value] = _value(value, (*place, key.value), file)
        return content
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            file.lines[(*place, number)] = item.start_mark.line + 1
        return [_value(item, (*place, number), file) for number, item in enumerate(node.value)]
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)  # type: ignore[no-untyped-call]
    except (yaml.YAMLError, ValueError):
        file.fail(place, f"cannot be understood (found {node.value}): put it in quotes")
        return None


def _described(file: _File, name: str) -> Description | None:
    content = file.content
    if not isinstance(content, dict):
        file.fail(
            (), f"expected a mapping with the keys {', '.join(_REQUIRED)}: see datasets/studies/from_yaml.py"
        )
        return None
    if not re.fullmatch(_NAME, name) or name in DATASETS:
        file.fail((), f"the dataset would be called '{name}': call the file otherwise, in letters and digits")
    for key in content:
        if key not in _KEYS:
            file.fail((key,), unknown("key", key, list(_KEYS)))
    for key in _REQUIRED:
        if not content.get(key):
            file.fail((key,), "is missing: see datasets/studies/from_yaml.py for an example")
    files, channels = _modalities(file, content.get("modalities") or {})
    others = {LABEL: content.get("label", "")}
    others |= {MASK: content["mask"]} if content.get("mask") else {}
    layouts, faults = read_layouts(files | others, channels, content.get("case", "{case}"))
    for place, fault in faults if content.get("label") else ():
        file.fail(place, fault)
    labels = _labels(file, content.get("labels") or {})
    classes = (_BACKGROUND, *(c for c in labels if c != _BACKGROUND))
    regions = _regions(file, content.get("regions") or {}, classes)
    modalities = tuple(str(place[1]) for place in files)
    order = _profile_order(file, content.get("profile_order"), modalities)
    patient = _patient(file, content.get("patient", ""))
    dims = content.get("spatial_dims", 3)
    if dims not in (2, 3) or isinstance(dims, bool):
        file.fail(("spatial_dims",), f"expected 2 or 3, found {dims!r}")
    ignore = content.get("ignore", [])
    if not isinstance(ignore, list) or not all(isinstance(glob, str) for glob in ignore):
        file.fail(("ignore",), f"expected a list of paths such as ['imagesTs/*'], found {ignore!r}")
    background = content.get("background")
    if background is not None and not _is_number(background):
        file.fail(("background",), f"expected a number, found {background!r}")
    normalise = _normalise(file, content.get("normalise") or {}, modalities)
    if file.wrong:
        return None
    return Description(
        name=name,
        modalities=modalities,
        file_labels={0: 0, **{v: i for i, c in enumerate(classes) for v in labels.get(c, ())}},
        classes=classes,
        regions=regions,
        table_order=_table_order(modalities),
        profile_order=order,
        spatial_dims=dims,
        layouts=layouts,
        channels=tuple(channels),
        patient=patient,
        ignore=tuple(ignore),
        background=None if background is None else float(background),
        normalise=normalise,
    )


def _modalities(file: _File, entries: Any) -> tuple[dict[Place, Any], list[int]]:
    """Return the place and the pattern, or patterns, of each modality and, if any has one, their channels."""
    place: Place = ("modalities",)
    if not isinstance(entries, dict):
        file.fail(place, f"expected a mapping of names to file patterns, found {entries!r}")
        return {}, []
    if entries and not 2 <= len(entries) <= _MOST:
        file.fail(place, f"found {len(entries)}, expected 2 to {_MOST} modalities")
    files: dict[Place, Any] = {}
    channels = []
    for name, entry in entries.items():
        here = (*place, name)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or name in _RESERVED:
            file.fail(here, "expected another name, of letters, digits, - and _")
        if isinstance(entry, dict):
            if set(entry) != {"file", "channel"}:
                file.fail(here, f"expected a pattern, or file and channel, found {', '.join(entry)}")
                continue
            if not _is_count(entry["channel"]):
                file.fail((*here, "channel"), f"expected 0 or more, found {entry['channel']!r}")
                continue
            channels.append(entry["channel"])
            entry, here = entry["file"], (*here, "file")
        files[here] = entry
    if channels and len(channels) < len(files):
        file.fail(place, "expected a channel for every modality or for none")
    return files, channels


def _labels(file: _File, entries: Any) -> dict[str, list[int]]:
    """Return the values in the label file that stand for each class."""
    if not isinstance(entries, dict):
        file.fail(("labels",), f"expected a mapping of classes to values, found {entries!r}")
        return {}
    labels: dict[str, list[int]] = {}
    owner = {0: _BACKGROUND}
    for name, entry in entries.items():
        labels[name] = entry if isinstance(entry, list) else [entry]
        if not labels[name] or not all(_is_count(value) for value in labels[name]):
            file.fail(("labels", name), f"expected whole numbers of 0 or more, found {entry!r}")
            continue
        for value in labels[name]:
            if owner.setdefault(value, name) != name:
                file.fail(("labels", name), f"value {value} stands for {owner[value]} too, expected another")
    if entries and not set(labels) - {_BACKGROUND}:
        file.fail(("labels",), "expected a class besides the background")
    return labels


def _regions(file: _File, entries: Any, classes: tuple[str, ...]) -> tuple[Region, ...]:
    if not isinstance(entries, dict):
        file.fail(("regions",), f"expected a mapping of names to classes, found {entries!r}")
        return ()
    regions = []
    for name, entry in entries.items():
        place: Place = ("regions", name)
        if not re.fullmatch(_NAME, name):
            file.fail(place, "expected a name of letters and digits")
        chosen, fewest = entry, 0
        if isinstance(entry, dict):
            if not {"classes"} <= set(entry) <= {"classes", "min_voxels"}:
                file.fail(place, f"expected classes, and min_voxels or not, found {', '.join(entry)}")
                continue
            chosen, fewest = entry["classes"], entry.get("min_voxels", 0)
            if not _is_count(fewest):
                file.fail((*place, "min_voxels"), f"expected 0 or more, found {fewest!r}")
        chosen = chosen if isinstance(chosen, list) else [chosen]
        if not chosen:
            file.fail(place, "expected a class at least")
        for one in chosen:
            if one not in classes[1:]:
                file.fail(place, unknown("class", str(one), list(classes[1:])))
        regions.append(Region(name, tuple(classes.index(c) for c in chosen if c in classes), fewest))
    return tuple(regions)


def _profile_order(file: _File, order: Any, modalities: tuple[str, ...]) -> tuple[str, ...]:
    if order is None:
        return modalities
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(modalities):
        expected = f"each of {', '.join(modalities)} once"
        file.fail(("profile_order",), f"expected {expected}, found {order!r}")
        return modalities
    return tuple(order)


def _normalise(file: _File, entries: Any, modalities: tuple[str, ...]) -> tuple[Normalisation, ...]:
    """Return how each modality is normalised; nothing where none says."""
    if not isinstance(entries, dict):
        file.fail(("normalise",), f"expected a mapping of modalities to rules, found {entries!r}")
        return ()
    rules = dict.fromkeys(modalities, Normalisation())
    for name, entry in entries.items():
        place: Place = ("normalise", name)
        if name not in modalities:
            file.fail(place, unknown("modality", name, list(modalities)))
        elif entry in ("zscore", "none"):
            rules[name] = Normalisation(entry)
        elif isinstance(entry, dict) and len(entry) == 1 and set(entry) <= set(_LIMITED):
            ((rule, limits),) = entry.items()
            sound = isinstance(limits, list) and len(limits) == 2 and all(map(_is_number, limits))
            if sound and limits[0] < limits[1] and (rule == "window" or 0 <= limits[0] < limits[1] <= 100):
                rules[name] = Normalisation(rule, tuple(map(float, limits)))
            else:
                most = " within 0 and 100" if rule == "percentiles" else ""
                file.fail((*place, rule), f"expected [low, high]{most}, found {limits!r}")
        else:
            expected = "zscore, none, {window: [low, high]} or {percentiles: [low, high]}"
            file.fail(place, f"expected {expected}, found {entry!r}")
    return tuple(rules.values()) if entries else ()


def _patient(file: _File, pattern: Any) -> str:
    """Check the pattern of patients: a regular expression with one group."""
    try:
        if not isinstance(pattern, str) or (pattern and re.compile(pattern).groups != 1):
            file.fail(
                ("patient",), f"expected a pattern with one group such as '(.+)_[0-9]+', found {pattern!r}"
            )
    except re.error as error:
        file.fail(("patient",), f"is no regular expression ({error}): found {pattern!r}")
    return str(pattern)


def _table_order(modalities: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The paper's order for its four modalities, otherwise the smallest subsets first."""
    if set(modalities) != set(BRATS_MODALITIES):
        return ()
    return tuple(tuple(m for m in modalities if m in subset) for subset in BRATS_TABLE_ORDER)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
