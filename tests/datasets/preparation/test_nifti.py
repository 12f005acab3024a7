"""Reading a file to its last byte: each kind of damage has its own message."""

import gzip
from contextlib import suppress

import nibabel as nib
import numpy as np
import pytest
from nifti_study import AFFINE, write_image

from bench_errors import InputError
from datasets.preparation.nifti import read_nifti


@pytest.fixture
def volume():
    return np.random.default_rng(0).integers(0, 500, (6, 5, 4)).astype(np.int16)


def test_reads_voxels_affine_and_spacing(tmp_path, volume):
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    image = read_nifti(write_image(tmp_path / "a.nii.gz", volume, affine))
    assert np.array_equal(image.data, volume)
    assert np.array_equal(image.affine, affine)
    assert image.spacing == (1.0, 2.0, 3.0)
    assert len(image.digest) == 64


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_reads_every_single_file_kind(tmp_path, volume, name, kind):
    nib.save(kind(volume, AFFINE), tmp_path / name)
    assert np.array_equal(read_nifti(tmp_path / name).data, volume)


def test_reads_the_other_byte_order(tmp_path, volume):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nib.save(nib.Nifti1Image(volume.astype(">i2"), AFFINE, header), tmp_path / "a.nii.gz")
    assert np.array_equal(read_nifti(tmp_path / "a.nii.gz").data, volume)


def spoil(packed, kind):
    raw = bytearray(gzip.decompress(packed))
    if kind == "flipped checksum":
        return packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]
    if kind == "flipped data":
        middle = len(packed) // 2
        return packed[:middle] + bytes(b ^ 0xFF for b in packed[middle : middle + 9]) + packed[middle + 9 :]
    if kind == "bad affine":
        raw[280:328] = bytes(48)
    if kind == "bad magic":
        raw[344:348] = b"xxxx"
    if kind == "short":
        raw = raw[:-10]
    if kind == "header only":
        raw = raw[:100]
    if kind == "huge":
        raw[42:44] = (32000).to_bytes(2, "little")
    if kind == "colours":
        raw[70:74] = (128).to_bytes(2, "little") + (24).to_bytes(2, "little")
    return gzip.compress(bytes(raw))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("flipped checksum", "CRC check failed"),
        ("flipped data", "damaged gzip data"),
        ("bad affine", "affine has no inverse"),
        ("bad magic", "not a NIfTI file"),
        ("header only", "not a NIfTI file"),
        ("short", "truncated: found 230 bytes of voxels, expected 240"),
        ("huge", "truncated: found 240 bytes"),
        ("colours", "expected real numbers"),
    ],
)
def test_damage_has_its_own_message(tmp_path, volume, kind, says):
    path = write_image(tmp_path / "a.nii.gz", volume)
    path.write_bytes(spoil(path.read_bytes(), kind))
    with pytest.raises(InputError, match=says) as caught:
        read_nifti(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "0 bytes"),
        (b"case,age\none,61\n", "not a gzip file"),
        (gzip.compress(b"words" * 99, mtime=0), "not a NIfTI"),
    ],
)
def test_not_an_image(tmp_path, content, says):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_nifti(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_truncated_gzip(tmp_path, volume, kept):
    path = write_image(tmp_path / "a.nii.gz", volume)
    packed = path.read_bytes()
    path.write_bytes(packed[: int(len(packed) * kept)])
    with pytest.raises(InputError, match="truncated: the gzip data end after"):
        read_nifti(path)


@pytest.mark.parametrize("shape", [(6, 5, 4, 2), (6, 5, 4, 1, 3), (6, 5)])
def test_wrong_number_of_dimensions(tmp_path, shape):
    path = write_image(tmp_path / "a.nii.gz", np.ones(shape, dtype=np.int16))
    with pytest.raises(InputError, match=rf"found {len(shape)} dimensions \({'x'.join(map(str, shape))}"):
        read_nifti(path)


def test_unreadable_paths(tmp_path):
    (tmp_path / "loop.nii.gz").symlink_to(tmp_path / "loop.nii.gz")
    (tmp_path / "folder.nii.gz").mkdir()
    for name in ("loop.nii.gz", "folder.nii.gz", "absent.nii.gz"):
        with pytest.raises(InputError, match="cannot be read"):
            read_nifti(tmp_path / name)


def test_every_headers_damage_is_an_input_error(tmp_path, volume):
    raw = gzip.decompress(write_image(tmp_path / "a.nii.gz", volume).read_bytes())
    rng = np.random.default_rng(1)
    path = tmp_path / "b.nii"
    for _ in range(300):
        spoilt = bytearray(raw)
        for position in rng.integers(0, 352, 6):
            spoilt[position] = rng.integers(256)
        path.write_bytes(spoilt)
        with suppress(InputError):
            assert read_nifti(path).data.ndim == 3
