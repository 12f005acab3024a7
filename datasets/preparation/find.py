"""Which files make up a study: from a folder and a description's layouts to cases.

    description = recognise(root)              # which dataset's naming fits; `fitting` has all that do
    for case in find_cases(root, description):
        print(case.name, case.columns, case.files)

All layouts of a description are used together: sites of one study often lie differently. Names of cases and
columns are in composed letters (`nfc`), paths are as the disk has them. Nothing is opened here.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from bench_errors import InputError
from datasets.preparation.disk import Disk, stem
from datasets.studies.names import DATASETS
from datasets.studies.patterns import PLACEHOLDER, Columns, filled, fits, layout_text, words
from datasets.vocabulary import ENDINGS, Description, Layout, nfc


@dataclass(frozen=True)
class Case:
    """The files of one case.

    Attributes:
        name: the case's name, as the layout's `name` says.
        folder: what the case's paths are told from: its own folder, or the study's where cases share folders.
        files: modality -> path, for the modalities that have a file, in the description's order.
        label: path of the label file, or None.
        spare: image files that are none of the above, a `.nii` beside the same `.nii.gz` included; relative.
        expected: modality, `label` or, if the layout names one, `mask` -> where its file is looked for,
            relative to `folder`.
        columns: what else its paths say of it, such as `grade`.
        faults: what is wrong with its place on disk, each in one line.
        mask: path of the file that says where the head is, or None.
    """

    name: str
    folder: Path
    files: dict[str, Path]
    label: Path | None
    spare: tuple[str, ...]
    expected: dict[str, str]
    columns: Columns
    faults: tuple[str, ...] = ()
    mask: Path | None = None

    @property
    def paths(self) -> dict[str, Path]:
        """Modality, `label` or `mask` -> path, of the files that there are."""
        return {**self.files, **{k: p for k, p in (("label", self.label), ("mask", self.mask)) if p}}

    @property
    def advice(self) -> str:
        """What to do about its spare files where one is missing: ` (found also ...)`, or nothing."""
        kinds = {
            "rename it?": [name for name in self.spare if stem(name)],
            f"convert it to {ENDINGS[0]}?": [name for name in self.spare if not stem(name)],
        }
        found = "; ".join(f"{', '.join(names)}: {what}" for what, names in kinds.items() if names)
        return f" (found also {found})" if found else ""

    @property
    def twins(self) -> list[tuple[str, str]]:
        """Which spare files have the name of a file that it has, with another ending: both, relative."""
        files = dict.fromkeys(self.paths.values())
        pairs = ((self.relative(path), name) for path in files for name in self.spare)
        return [pair for pair in pairs if _stem_path(Path(pair[0])) == _stem_path(Path(pair[1]))]

    def relative(self, path: Path) -> str:
        """Return the path of one of its files as the messages name it."""
        return Path(os.path.relpath(path, self.folder)).as_posix()


def find_cases(root: Path, description: Description) -> list[Case]:
    """Return the cases of the study in `root`, sorted by name.

    Where a layout gives a case a folder of its own, every such folder that holds image files, or nothing,
    is a case, so that a badly named or lost one is reported by the check; `unused` finds what else there is.
    Raises `InputError` if no file lies as the description says.
    """
    disk = Disk()
    cases = _cases(root, description, disk)
    if not _count(cases):
        raise _no_study(root, disk, map(layout_text, description.layouts))
    return cases


def recognise(root: Path) -> Description:
    """Return the known description that fits a study best, the first of several; see `fitting`."""
    return fitting(root)[0]


def fitting(root: Path) -> list[Description]:
    """Return the known descriptions that fit most files of `root` and, of these, most names of cases.

    Raises `InputError`, saying which layouts are known, if none fits any file.
    """
    disk = Disk()
    descriptions: list[Description] = [DATASETS.get(name) for name in DATASETS]
    fit = []
    for description in descriptions:
        cases = _cases(root, description, disk)
        named = sum(re.fullmatch(description.case_names, case.name) is not None for case in cases)
        fit.append((_count(cases), named))
    if not max(fit)[0]:
        layouts = chain.from_iterable(description.layouts for description in descriptions)
        raise _no_study(root, disk, map(layout_text, layouts))
    return [d for d, found in zip(descriptions, fit, strict=True) if found == max(fit)]


def _cases(root: Path, description: Description, disk: Disk) -> list[Case]:
    """The cases of all layouts, those of one name marked; what is ignored is as if it were not there."""
    disk = disk.without(description.ignore, root)
    by_layout = [_in_layout(root, description, layout, disk) for layout in description.layouts]
    cases = _united(root, [cases for cases in by_layout if _count(cases)])
    times = Counter(case.name for case in cases)
    return [_marked(case, root, cases) if times[case.name] > 1 else case for case in cases]


def _united(root: Path, by_layout: list[list[Case]]) -> list[Case]:
    """The cases of several layouts, each file in one of them, the one that has most of its files."""
    cases = sorted(chain.from_iterable(by_layout), key=lambda case: -len({*case.paths.values()}))
    owner: dict[Path, Case] = {}
    for case in cases:
        if not any(path in owner for path in case.paths.values()):
            owner |= dict.fromkeys(case.paths.values(), case)
    # A folder without any of the files may be another layout's: part of a case, or the folder of several.
    inside = {case.folder for case in owner.values()} - {root}
    around = {folder for path in owner for folder in path.parents}
    lost = {
        case.folder: case
        for case in cases
        if not case.paths and case.folder not in around and inside.isdisjoint(case.folder.parents)
    }
    kept = {id(case): case for case in (*owner.values(), *lost.values())}
    united = [
        replace(case, spare=tuple(name for name in case.spare if case.folder / name not in owner))
        for case in kept.values()
    ]
    return sorted(united, key=lambda case: (case.name, case.folder))


def _count(cases: Iterable[Case]) -> int:
    return sum(len({*case.paths.values()}) for case in cases)


def _marked(case: Case, root: Path, cases: list[Case]) -> Case:
    files = [(c.folder / c.expected["label"]).relative_to(root) for c in cases if c.name == case.name]
    folders = sorted(file.parent.as_posix() for file in files)
    columns = "".join(f"{{{column}}}_" for column in case.columns)
    fault = (
        f"found {len(folders)} cases of this name (in {', '.join(folders)}), expected one: rename or remove"
        + (f", or describe their names in parts, as in case: '{columns}{{case}}'" if columns else "")
    )
    return replace(case, faults=(*case.faults, fault))


def _in_layout(root: Path, description: Description, layout: Layout, disk: Disk) -> list[Case]:
    patterns = {**dict(zip(description.modalities, layout.files, strict=True)), "label": layout.label}
    patterns |= {"mask": layout.mask} if layout.mask else {}
    if own := _own_folder([*patterns.values()], layout):
        cases = [
            _in_folder(folder, columns, own, patterns, layout, disk)
            for columns, folder in disk.expand(root, own)
        ]
        return [case for case in cases if case is not None]
    return _side_by_side(root, patterns, layout, disk)


def _own_folder(patterns: list[str], layout: Layout) -> str:
    """The part of the patterns that is a case's own folder; empty where cases share their folders."""
    parts = patterns[0].split("/")
    depth = next(
        (i for i in range(1, len(parts)) if words(layout.name).keys() <= words("/".join(parts[:i])).keys()),
        0,
    )
    own = "/".join(parts[:depth])
    return own if own and all(pattern.startswith(f"{own}/") for pattern in patterns) else ""


def _in_folder(
    folder: Path, columns: Columns, own: str, patterns: dict[str, str], layout: Layout, disk: Disk
) -> Case | None:
    """The case in a folder of its own; None for a folder that holds other things than image files."""
    expected = {key: filled(pattern[len(own) + 1 :], columns) for key, pattern in patterns.items()}
    folders = [disk.below(folder, path.rpartition("/")[0]) for path in expected.values()]
    images = [path / name for path in dict.fromkeys([folder, *folders]) for name in disk[path].images]
    top = disk[folder]
    if not images and not top.empty:
        return None
    case = _case(folder, columns, expected, layout, _by_stem(folder, images))
    faults = (f"the folder {top.fault}: mend the link or its permissions",) if top.fault else ()
    spare = tuple(case.relative(path) for path in images if path not in case.paths.values())
    return replace(case, spare=spare, faults=faults)


def _side_by_side(root: Path, patterns: dict[str, str], layout: Layout, disk: Disk) -> list[Case]:
    """The cases of a study whose folders hold the files of many."""
    by_folder: dict[str, list[str]] = {}
    for pattern in dict.fromkeys(patterns.values()):
        folder_pattern, _, name = pattern.rpartition("/")
        by_folder.setdefault(folder_pattern, []).append(name)
    keys: dict[tuple[tuple[str, str], ...], Columns] = {}
    images: list[Path] = []
    for folder_pattern, names in by_folder.items():
        # `{case}` fits `one_seg` too: the pattern with most text of its own has the first say.
        names.sort(key=lambda name: -len(PLACEHOLDER.sub("", name)))
        for columns, folder in disk.expand(root, folder_pattern):
            for image in disk[folder].images:
                images.append(folder / image)
                fit = (fits(name, stem(image), columns) for name in names if stem(image))
                if (more := next((fit for fit in fit if fit is not None), None)) is not None:
                    complete = columns | more
                    keys[tuple(sorted(complete.items()))] = complete
    cases, by_stem = [], _by_stem(root, images)
    for columns in keys.values():
        expected = {key: filled(pattern, columns) for key, pattern in patterns.items()}
        cases.append(_case(root, columns, expected, layout, by_stem))
    used = {path for case in cases for path in case.paths.values()}
    spare = [path.relative_to(root).as_posix() for path in dict.fromkeys(images) if path not in used]
    owners = {name: _owner(name, [*keys.values()]) for name in spare}
    return [
        replace(case, spare=tuple(name for name in spare if owners[name] is columns))
        for case, columns in zip(cases, keys.values(), strict=True)
    ]


def _owner(image: str, cases: list[Columns]) -> Columns | None:
    """What the words of a case stand for with whose name an unused file's begins, and with no longer one."""
    name = nfc(image.rpartition("/")[2])
    fit = (columns for columns in cases if name.startswith(columns.get("case", "/")))
    return max(fit, key=lambda columns: len(columns["case"]), default=None)


def _by_stem(folder: Path, images: list[Path]) -> dict[str, Path]:
    """NIfTI files by their path from `folder` without its ending; of twins the packed one."""
    by_stem: dict[str, Path] = {}
    for path in sorted(images, key=lambda path: (path.name.lower().endswith(ENDINGS[1]), path)):
        if relative := _stem_path(path.relative_to(folder)):
            by_stem.setdefault(relative, path)
    return by_stem


def _stem_path(relative: Path) -> str:
    return nfc((relative.parent / stem(relative.name)).as_posix()) if stem(relative.name) else ""


def _case(
    folder: Path, columns: Columns, expected: dict[str, str], layout: Layout, by_stem: dict[str, Path]
) -> Case:
    files = {key: by_stem[path] for key, path in expected.items() if path in by_stem}
    label, mask = files.pop("label", None), files.pop("mask", None)
    names = {key: path + ENDINGS[0] for key, path in expected.items()}
    others = {key: value for key, value in columns.items() if key != "case"}
    return Case(filled(layout.name, columns), folder, files, label, (), names, others, mask=mask)


def _no_study(root: Path, disk: Disk, layouts: Iterable[str]) -> InputError:
    expected = " or ".join(dict.fromkeys(layouts))
    if fault := disk[root].fault:
        return InputError(f"{root} {fault}: expected the folder of a study")
    if any(map(stem, disk[root].images)):
        return InputError(f"{root} holds NIfTI files itself, expected {expected}: give the folder above it")
    image = next(disk.images(root), None)
    found = f", found {image.relative_to(root)} and the like" if image else ""
    convert = f"convert the files to {ENDINGS[0]}, or " if image and not stem(image.name) else ""
    return InputError(
        f"{root} is no study: expected {expected} in it{found}: {convert}give the folder above the cases, or "
        "describe how the files lie in a YAML file (--dataset FILE.yaml)"
    )
