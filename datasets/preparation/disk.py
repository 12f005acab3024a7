"""The folders of a study, each listed once: ``disk[root].images``, ``disk.expand(root, "{site}/{case}")``.

Hidden files, such as the `._` files of some archives, are passed over, and nothing is opened.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from datasets.studies.patterns import Columns, fits
from datasets.vocabulary import ENDINGS, nfc

FOREIGN = (".hdr", ".img", ".img.gz", ".mgh", ".mgz", ".mha", ".mhd", ".nrrd")
"""Endings of image files that are no NIfTI file, or half of one: they are named, and not read."""


@dataclass(frozen=True)
class Folder:
    """A folder's visible content, as names: folders, image files, and links that lead nowhere.

    `fault`: why it cannot be read; empty if it can be.
    """

    folders: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    empty: bool = True
    fault: str = ""


class Disk:
    """Lists each folder once."""

    def __init__(self) -> None:
        self._seen: dict[Path, Folder] = {}

    def __getitem__(self, path: Path) -> Folder:
        if path not in self._seen:
            self._seen[path] = _listed(path)
        return self._seen[path]

    def without(self, ignore: Sequence[str], root: Path) -> "Disk":
        """Return the same folders without the images whose paths from `root` fit one of the patterns."""
        return _Without(self, ignore, root) if ignore else self

    def expand(self, root: Path, pattern: str) -> list[tuple[Columns, Path]]:
        """Return the folders below `root` that fit a pattern, each with what its words stand for."""
        reached: list[tuple[Columns, Path]] = [({}, root)]
        for part in pattern.split("/") if pattern else []:
            reached = [
                (columns | more, path / name)
                for columns, path in reached
                for name in (*self[path].folders, *self[path].lost)
                if (more := fits(part, name, columns)) is not None
            ]
        return reached

    def below(self, folder: Path, relative: str) -> Path:
        """Return the folder of this relative path, which may be written in composed letters, on the disk."""
        for part in relative.split("/") if relative else []:
            folder /= next((name for name in self[folder].folders if nfc(name) == part), part)
        return folder

    def images(self, root: Path) -> Iterator[Path]:
        """Yield all image files below a folder; what links lead to a second time is left out."""
        visited, waiting = set(), [root]
        while waiting:
            folder = waiting.pop()
            if (real := os.path.realpath(folder)) not in visited:
                visited.add(real)
                yield from (folder / name for name in self[folder].images)
                waiting += [folder / name for name in reversed(self[folder].folders)]


class _Without(Disk):
    """The folders of another, without some of their images."""

    def __init__(self, disk: Disk, ignore: Sequence[str], root: Path):
        self._disk, self._ignore, self._root = disk, ignore, root

    def __getitem__(self, path: Path) -> Folder:
        folder = self._disk[path]
        return replace(folder, images=tuple(name for name in folder.images if not self._ignored(path / name)))

    def _ignored(self, image: Path) -> bool:
        relative = nfc(image.relative_to(self._root).as_posix())
        return any(fnmatchcase(relative, pattern) for pattern in self._ignore)


def stem(name: str) -> str:
    """Return an image file's name without its ending, in composed letters; empty for a foreign format."""
    ending = next((e for e in ENDINGS if name.lower().endswith(e)), "")
    return nfc(name[: -len(ending)]) if ending else ""


def _listed(path: Path) -> Folder:
    try:
        names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    except OSError as error:
        return Folder(fault=f"cannot be read ({error.strerror})")
    images = [name for name in names if name.lower().endswith((*ENDINGS, *FOREIGN))]
    others = [name for name in names if name not in set(images)]
    return Folder(
        folders=tuple(name for name in others if os.path.isdir(path / name)),
        images=tuple(images),
        lost=tuple(name for name in others if not os.path.exists(path / name)),
        empty=not names,
    )
