"""Class maps that anybody may have made are read, or refused before they take room."""

import io
import zipfile

import numpy as np
import pytest

from bench_errors import InputError
from benchmark.models.predictions import read_maps

SUBSETS, SHAPE = ["flair", "t2"], (3, 4, 5)


def array(shape, dtype="|u1", data=b""):
    """The bytes of a file of numpy's whose header says this."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def written(path, maps, method=zipfile.ZIP_DEFLATED):
    names = io.BytesIO()
    np.save(names, np.array(SUBSETS))
    with zipfile.ZipFile(path, "w", method) as packed:
        packed.writestr("subsets.npy", names.getvalue())
        packed.writestr("maps.npy", maps)
    return path


def test_maps_are_read(tmp_path):
    path = written(tmp_path / "maps.npz", array((2, *SHAPE), data=bytes(range(120))))
    maps = read_maps(path, SUBSETS, SHAPE)
    assert list(maps) == SUBSETS
    assert maps["t2"].ravel().tolist() == list(range(60, 120))


@pytest.mark.parametrize(
    ("maps", "method", "says"),
    [
        (array((60_000_000_000,)), zipfile.ZIP_DEFLATED, "larger than it may be"),
        (array((2, *SHAPE), "<f8"), zipfile.ZIP_DEFLATED, "has not the maps of 2 subsets"),
        (array((2, *SHAPE)), zipfile.ZIP_LZMA, "not packed as numpy packs it"),
        (b"\x93NUMPY\x01\x00\x06\x00{'(((", zipfile.ZIP_DEFLATED, "has not the maps of 2 subsets"),
        (array((2, *SHAPE)), zipfile.ZIP_DEFLATED, "has not the maps of 2 subsets"),
    ],
)
def test_what_would_take_room_or_is_broken_is_refused(tmp_path, maps, method, says):
    with pytest.raises(InputError, match=says):
        read_maps(written(tmp_path / "maps.npz", maps, method), SUBSETS, SHAPE)


def test_what_is_encrypted_is_refused(tmp_path):
    path = written(tmp_path / "maps.npz", array((2, *SHAPE), data=bytes(120)))
    packed = bytearray(path.read_bytes())
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        at, flags = packed.index(start), 6 if start == b"PK\x03\x04" else 8
        packed[at + flags] |= 1
    path.write_bytes(packed)
    with pytest.raises(InputError, match="not packed as numpy packs it"):
        read_maps(path, SUBSETS, SHAPE)
