"""Which files make up a study: from a folder and a description's layouts to cases.

    description = recognise(root)              # which dataset's naming fits
    for case in find_cases(root, description):
        print(case.name, case.columns, case.files)

Nothing is opened here. Hidden files, such as the `._` files of some archives, are passed over.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bench_errors import InputError
from datasets.studies.names import DATASETS
from datasets.vocabulary import ENDINGS, Description, Layout

_PLACEHOLDER = re.compile(r"\{(\w+)(?::([^{}]*))?\}")

Columns = dict[str, str]


@dataclass(frozen=True)
class Case:
    """The files of one case.

    Attributes:
        name: the case's name, as the layout's `{case}` says.
        folder: what the case's paths are told from: its own folder, or the study's where cases share folders.
        files: modality -> path, for the modalities that have a file, in the description's order.
        label: path of the label file, or None.
        spare: NIfTI files that are none of the above, a `.nii` beside the same `.nii.gz` included; relative.
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

    def relative(self, path: Path) -> str:
        """Return the path of one of its files as the messages name it."""
        return Path(os.path.relpath(path, self.folder)).as_posix()


@dataclass(frozen=True)
class _Folder:
    """A folder's visible content: names of folders, of NIfTI files, and of links that lead nowhere."""

    folders: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    empty: bool = True
    fault: str = ""


class _Disk:
    """Lists each folder once."""

    def __init__(self) -> None:
        self._seen: dict[Path, _Folder] = {}

    def __getitem__(self, path: Path) -> _Folder:
        if path not in self._seen:
            self._seen[path] = self._list(path)
        return self._seen[path]

    def expand(self, root: Path, pattern: str) -> list[tuple[Columns, Path]]:
        """Return the folders below `root` that fit a pattern, each with what its placeholders stand for."""
        found: list[tuple[Columns, Path]] = [({}, root)]
        for part in pattern.split("/") if pattern else []:
            found = [
                (columns | more, path / name)
                for columns, path in found
                for name in (*self[path].folders, *self[path].lost)
                if (more := _fits(part, name, columns)) is not None
            ]
        return found

    @staticmethod
    def _list(path: Path) -> _Folder:
        try:
            names = sorted(name for name in os.listdir(path) if not name.startswith("."))
        except OSError as error:
            return _Folder(fault=f"cannot be read ({error.strerror})")
        images = [name for name in names if name.endswith(ENDINGS)]
        others = [name for name in names if not name.endswith(ENDINGS)]
        return _Folder(
            folders=tuple(name for name in others if os.path.isdir(path / name)),
            images=tuple(images),
            lost=tuple(name for name in others if not os.path.exists(path / name)),
            empty=not names,
        )


def layout_text(description: Description) -> str:
    """Return how files must lie, such as ``<case>/<case>_{flair,t1,seg}.nii.gz``."""
    return " or ".join(_layout_texts(description))


def find_cases(root: Path, description: Description) -> list[Case]:
    """Return the cases of the study in `root`, sorted by name.

    Where the layout gives a case a folder of its own, every such folder that holds NIfTI files, or nothing,
    is a case, so that a badly named or lost one is reported by the check; everything else is passed over.
    Raises `InputError` if no file lies as the description says.
    """
    disk = _Disk()
    cases = _cases(root, description, disk)
    if not _count(cases):
        raise _no_study(root, disk, layout_text(description))
    return cases


def recognise(root: Path) -> Description:
    """Return the known description that fits most files of `root`; of several, most names of cases.

    Raises `InputError`, saying which layouts are known, if none fits any file.
    """
    disk = _Disk()
    descriptions: list[Description] = [DATASETS.get(name) for name in DATASETS]
    fits = []
    for description in descriptions:
        cases = _cases(root, description, disk)
        named = sum(re.fullmatch(description.case_names, case.name) is not None for case in cases)
        fits.append((_count(cases), named))
    if not max(fits)[0]:
        layouts = dict.fromkeys(text for description in descriptions for text in _layout_texts(description))
        raise _no_study(root, disk, " or ".join(layouts))
    return descriptions[fits.index(max(fits))]


def _cases(root: Path, description: Description, disk: _Disk) -> list[Case]:
    """The cases by the layout that finds most files, those of one name marked."""
    found = max((_in_layout(root, description, layout, disk) for layout in description.layouts), key=_count)
    times = Counter(case.name for case in found)
    return [_marked(case, root, found) if times[case.name] > 1 else case for case in found]


def _count(cases: Iterable[Case]) -> int:
    return sum(len({*case.files.values()}) + (case.label is not None) for case in cases)


def _marked(case: Case, root: Path, cases: list[Case]) -> Case:
    files = [(c.folder / c.expected["label"]).relative_to(root) for c in cases if c.name == case.name]
    places = sorted(file.parent.as_posix() for file in files)
    fault = f"found {len(places)} cases of this name (in {', '.join(places)}), expected one: rename or remove"
    return replace(case, faults=(*case.faults, fault))


def _in_layout(root: Path, description: Description, layout: Layout, disk: _Disk) -> list[Case]:
    patterns = {**dict(zip(description.modalities, layout.files, strict=True)), "label": layout.label}
    patterns |= {"mask": layout.mask} if layout.mask else {}
    if own := _own_folder([*patterns.values()]):
        cases = [
            _in_folder(folder, columns, own, patterns, disk) for columns, folder in disk.expand(root, own)
        ]
        found = [case for case in cases if case is not None]
    else:
        found = _side_by_side(root, patterns, disk)
    return sorted(found, key=lambda case: (case.name, case.folder))


def _own_folder(patterns: list[str]) -> str:
    """The part of the patterns that is a case's own folder; empty where cases share their folders."""
    parts = patterns[0].split("/")
    depth = next((i for i, part in enumerate(parts) if "{case}" in part), len(parts)) + 1
    own = "/".join(parts[:depth])
    return own if all(pattern.startswith(f"{own}/") for pattern in patterns) else ""


def _in_folder(
    folder: Path, columns: Columns, own: str, patterns: dict[str, str], disk: _Disk
) -> Case | None:
    """The case in a folder of its own; None for a folder that holds other things than NIfTI files."""
    expected = {key: _filled(pattern[len(own) + 1 :], columns) for key, pattern in patterns.items()}
    places = dict.fromkeys(["", *(path.rpartition("/")[0] for path in expected.values())])
    images = [f"{place}/{name}".lstrip("/") for place in places for name in disk[folder / place].images]
    top = disk[folder]
    if not images and not top.empty:
        return None
    case = _case(folder, columns, expected, set(images))
    spare = tuple(name for name in images if folder / name not in case.paths.values())
    faults = (f"the folder {top.fault}: mend the link or its permissions",) if top.fault else ()
    return replace(case, spare=spare, faults=faults)


def _side_by_side(root: Path, patterns: dict[str, str], disk: _Disk) -> list[Case]:
    """The cases of a study whose folders hold the files of many."""
    by_place: dict[str, list[str]] = {}
    for pattern in dict.fromkeys(patterns.values()):
        place, _, name = pattern.rpartition("/")
        by_place.setdefault(place, []).append(name)
    keys: dict[tuple[tuple[str, str], ...], Columns] = {}
    images: list[str] = []
    for place, names in by_place.items():
        # `{case}` fits `one_seg` too: the pattern with most text of its own has the first say.
        names.sort(key=lambda name: -len(_PLACEHOLDER.sub("", name)))
        for columns, folder in disk.expand(root, place):
            for image in disk[folder].images:
                images.append((folder / image).relative_to(root).as_posix())
                fits = (_fits(name, _stem(image), columns) for name in names)
                if (more := next((fit for fit in fits if fit is not None), None)) is not None:
                    found = columns | more
                    keys[tuple(sorted(found.items()))] = found
    cases = []
    for columns in keys.values():
        expected = {key: _filled(pattern, columns) for key, pattern in patterns.items()}
        cases.append(_case(root, columns, expected, set(images)))
    used = {path for case in cases for path in case.paths.values()}
    left = [image for image in images if root / image not in used]
    return [replace(c, spare=tuple(i for i in left if _belongs(i, c, cases))) for c in cases]


def _belongs(image: str, case: Case, cases: list[Case]) -> bool:
    """Whether an unused file's name begins with the case's, and with no longer one."""
    name = image.rpartition("/")[2]
    return max((c.name for c in cases if name.startswith(c.name)), key=len, default=None) == case.name


def _case(folder: Path, columns: Columns, expected: dict[str, str], images: set[str]) -> Case:
    found = {
        key: folder / (path + ending)
        for key, path in expected.items()
        for ending in reversed(ENDINGS)
        if path + ending in images
    }
    label, mask = found.pop("label", None), found.pop("mask", None)
    names = {key: path + ENDINGS[0] for key, path in expected.items()}
    others = {key: value for key, value in columns.items() if key != "case"}
    return Case(columns["case"], folder, found, label, (), names, others, mask=mask)


def _fits(pattern: str, name: str, known: Columns) -> Columns | None:
    """Match a name with one part of a pattern: what its placeholders stand for, None if it does not fit."""
    text, last, seen = "", 0, set()
    for place in _PLACEHOLDER.finditer(pattern):
        key, values = place.groups()
        text += re.escape(pattern[last : place.start()])
        if key in known:
            text += re.escape(known[key])
        elif key in seen:
            text += f"(?P={key})"
        else:
            allowed = "|".join(map(re.escape, values.split("|"))) if values else ".+?"
            text += f"(?P<{key}>{allowed})"
            seen.add(key)
        last = place.end()
    match = re.fullmatch(text + re.escape(pattern[last:]), name)
    return match.groupdict() if match else None


def _filled(pattern: str, columns: Columns) -> str:
    return _PLACEHOLDER.sub(lambda place: columns[place[1]], pattern)


def _layout_texts(description: Description) -> list[str]:
    texts = []
    for layout in description.layouts:
        patterns = list(dict.fromkeys(_PLACEHOLDER.sub(_readable, p) for p in (*layout.files, layout.label)))
        shared = re.sub(r"[^/>_-]*$", "", _shared(patterns))
        texts.append(f"{shared}{{{','.join(pattern[len(shared) :] for pattern in patterns)}}}.nii.gz")
    return texts


def _shared(texts: list[str]) -> str:
    """What all begin with."""
    first, last = min(texts), max(texts)
    return first[: next((i for i, letter in enumerate(first) if last[i : i + 1] != letter), len(first))]


def _readable(place: re.Match[str]) -> str:
    return f"{{{place[2].replace('|', ',')}}}" if place[2] else f"<{place[1]}>"


def _stem(name: str) -> str:
    return next(name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending))


def _no_study(root: Path, disk: _Disk, expected: str) -> InputError:
    if fault := disk[root].fault:
        return InputError(f"{root} {fault}: expected the folder of a study")
    if disk[root].images:
        return InputError(f"{root} holds NIfTI files itself, expected {expected}: give the folder above it")
    return InputError(f"{root} is no study: expected {expected} in it: give the folder above the cases")
