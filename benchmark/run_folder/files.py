"""Files that are whole or as they were before, whatever happens: ``write_atomically(path, b"...")``.

Nothing is written below a folder whose lease this process held and has lost.
"""

import json
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from bench_errors import InputError
from bench_lease import check_below

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The fast one where PyYAML was built with it: a report reads a thousand files."""
PARTIAL = ".partial"
"""The end of the name of what is written beside its place and was left there by a crash."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either whole or as it was before.

    Raises `LeaseLost` where this process has held the folder and another has taken it over.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        check_below(path)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Add a line of JSON, on the disk when this returns; a last line that a crash cut off gives way to it."""
    check_below(path)
    drop_cut_line(path)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def ends_whole(path: Path) -> bool:
    """Whether a file of lines is absent, empty, or ends with a whole line."""
    if not path.exists() or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def drop_cut_line(path: Path) -> bool:
    """Remove a last line that a crash or a full disk cut off; return whether there was one."""
    if ends_whole(path):
        return False
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
    return whole < len(content)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of JSON lines; a last one that a crash cut off is left out.

    Raises `InputError` where another line is damaged.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]
    except ValueError as error:
        raise InputError(
            f"{path} is damaged ({error}): restore it, or remove its folder and run the grid again"
        ) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a file of ours holds; raise `InputError` where it is damaged."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
        if not isinstance(content, dict):
            raise ValueError(f"found {type(content).__name__}, expected a mapping")
        return content
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise InputError(
            f"{path} is damaged ({' '.join(str(error).split())}): restore it, or remove its folder"
        ) from None


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    """Write a mapping into a new folder, or a new file of one; `InputError` where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
    except OSError as error:
        raise InputError(
            f"{path.parent} cannot be written ({error.strerror}): choose another place with --runs"
        ) from None


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk: without it, a rename can be lost in a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def now() -> str:
    """Return the time as it is written into records."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
