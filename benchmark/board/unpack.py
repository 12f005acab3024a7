"""What somebody's archive holds, as a run folder: ``folder, hashes = unpack(Path("run.tar.gz"), place)``.

Only files that `bench export` writes are taken, by their names, kinds and sizes; nothing is written outside
the place, however an archive is made, and no more of it is unpacked than it may hold.
"""

import gzip
import io
import json
import tarfile
import zlib
from fnmatch import fnmatchcase
from hashlib import file_digest
from pathlib import Path

from bench_errors import InputError
from benchmark.board.rules import BrokenRule, keeping, require
from benchmark.models.archive import FILES, MANIFEST, MAPS
from benchmark.run_folder.folder import RunFolder
from datasets.store.store import check_name

MANY = 5_000
"""Files of an archive."""
SMALL, LARGE, ALL = 64 << 20, 2 << 30, 8 << 30
"""Bytes of a file of records, of one of weights or predictions, and of all files of an archive."""
PATTERNS = (*FILES, MAPS, MANIFEST)


class _Bounded(io.BufferedIOBase):
    """A stream that gives no more than it may: neither at once, as headers of any size are, nor in all."""

    def __init__(self, stream: gzip.GzipFile):
        self._stream = stream

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= SMALL:
            raise ValueError(f"a header of {size} bytes")
        return self._check(self._stream.read(size))

    def seek(self, position: int, whence: int = 0, /) -> int:
        if position > ALL:
            raise ValueError("more bytes than it may hold")
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, content: bytes) -> bytes:
        if self._stream.tell() > ALL:
            raise ValueError("more bytes than it may hold")
        return content


def unpack(archive: Path, place: Path) -> tuple[RunFolder, dict[str, str]]:
    """Write an archive's files below `place`; return the run folder and the SHA-256 of each of its files.

    Raises `BrokenRule` for anything but one whole run as `bench export` packs it.
    """
    with keeping("archive"):
        try:
            with gzip.open(archive) as stream, tarfile.open(fileobj=_Bounded(stream), mode="r:") as packed:
                folder, names = _take(packed, place)
                rest = stream.read(2 * tarfile.RECORDSIZE)  # the zeros that end it, and then its checksum
                require(
                    "archive", not rest.strip(b"\0") and not stream.read(1), "something follows its files"
                )
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise BrokenRule("archive", f"{archive.name} is no whole .tar.gz ({error})") from None
        return RunFolder(folder), _checked(folder, names)


def _take(packed: tarfile.TarFile, place: Path) -> tuple[Path, set[str]]:
    """Write the files; return the run folder that they lie in, and their names there."""
    folder, names, size = place, set[str](), 0
    for member in packed:
        shown = ascii(member.name)[:120]
        require("archive", len(names) < MANY, f"it holds more than {MANY} files")
        plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.sparse is None
        require("archive", plain, f"{shown} is no plain file, expected nothing else")
        grid, run, *rest = parts if len(parts := member.name.split("/")) > 2 else ("", "")
        ours = _is_ours(rest) and all(map(_is_plain, parts))
        require("archive", ours, f"{shown} is no file that bench export writes")
        limit = LARGE if rest[-1].endswith((".safetensors", ".npz")) else SMALL
        require("archive", member.size <= limit, f"{shown} has {member.size} bytes, expected {limit} at most")
        size += member.size
        require("archive", size <= ALL, f"it holds more than {ALL} bytes")
        require("archive", folder in (place, place / grid / run), "it holds more than one run folder")
        folder, name = place / grid / run, "/".join(rest)
        require("archive", name not in names, f"{shown} is there twice")
        names.add(name)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        source = packed.extractfile(member)
        with (folder / name).open("xb") as target:
            while source and (part := source.read(1 << 20)):
                target.write(part)
    return folder, names


def _is_plain(part: str) -> bool:
    """Whether a part of a path is the name of a file or a folder, and of nothing beside it."""
    try:
        return bool(check_name(part))
    except InputError:
        return False


def _is_ours(parts: list[str]) -> bool:
    wanted = [pattern.split("/") for pattern in PATTERNS]
    return any(len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern)) for pattern in wanted)


def _checked(folder: Path, names: set[str]) -> dict[str, str]:
    """The files' hashes, which have to be those of the manifest."""
    require("archive", MANIFEST in names, "it has no manifest: export the run again with today's bench")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    found = {}
    for name in sorted(names - {MANIFEST}):
        with (folder / name).open("rb") as file:
            found[name] = file_digest(file, "sha256").hexdigest()
    for name in sorted(found.keys() | manifest.keys()):
        same = found.get(name) == manifest.get(name)
        require("archive", same, f"{name} is not what the manifest says: export the run again")
    return found
