"""An array comes back as it was, and an index reads only the chunks it touches."""

import errno
from concurrent.futures import ThreadPoolExecutor

import blosc2
import numpy as np
import pytest

from bench_errors import InputError
from datasets.store.voxels import Voxels, packed

SHAPE = (3, 20, 13, 17)
CHUNK = (1, 8, 8, 8)


def array(dtype, shape=SHAPE):
    return (np.random.default_rng(0).normal(size=shape) * 1000).astype(dtype)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "array.b2nd"


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint8])
@pytest.mark.parametrize("chunk", [CHUNK, (1, 48, 48, 48), (3, 20, 1, 5)])
def test_what_comes_back(path, dtype, chunk):
    written = array(dtype)
    path.write_bytes(packed(written, chunk))
    voxels = Voxels(path, SHAPE)
    assert voxels.dtype == dtype
    assert np.array_equal(voxels, written)
    for index in [
        (1, slice(3, 12), slice(0, 13), slice(16, 17)),
        (slice(None), slice(2, 5)),
        (..., slice(4, 6)),
        2,
        (0, 19, 12, 16),
    ]:
        assert np.array_equal(voxels[index], written[index])
    assert packed(written, chunk) == path.read_bytes()


def test_an_array_in_another_memory_order(path):
    written = np.asfortranarray(array(np.int16))
    path.write_bytes(packed(written, CHUNK))
    assert np.array_equal(Voxels(path, SHAPE), written)
    assert packed(np.ascontiguousarray(written), CHUNK) == path.read_bytes()


def test_scaling_is_the_same_to_the_bit_as_storing_what_is_scaled(path):
    written = array(np.int16)
    mean, std = np.array([3.3, -1e3, 0], np.float32), np.array([7.7, 1e-3, 1], np.float32)
    path.write_bytes(packed(written, CHUNK))
    voxels = Voxels(path, SHAPE, (mean, std))
    expected = np.stack([(written[m].astype(np.float32) - mean[m]) / std[m] for m in range(3)])
    assert voxels.dtype == voxels[0].dtype == np.float32
    for index in [slice(None), (slice(1, 3), slice(2, 9)), (2, ..., 3), (..., slice(0, 4)), 1, (0, 1, 2, 3)]:
        assert np.array_equal(voxels[index], expected[index])


def test_a_crop_reads_its_chunks_only(path):
    written = array(np.int16)
    path.write_bytes(packed(written, CHUNK))
    file = blosc2.open(str(path), mode="r")
    grid = [-(-n // c) for n, c in zip(SHAPE, CHUNK, strict=True)]
    content = bytearray(path.read_bytes())
    touched = {np.ravel_multi_index((1, x, 0, z), grid) for x in (0, 1) for z in (1, 2)}
    for number in set(range(np.prod(grid))) - touched:
        chunk = file.schunk.get_chunk(number)
        place = content.index(chunk)
        content[place + 32 : place + len(chunk)] = bytes(len(chunk) - 32)  # behind the chunk's header
    path.write_bytes(content)
    voxels = Voxels(path, SHAPE)
    assert np.array_equal(voxels[1, 3:14, :8, 9:17], written[1, 3:14, :8, 9:17])
    with pytest.raises(InputError, match="cannot be read"):
        voxels[1, 3:14, :9, 9:17]


@pytest.mark.parametrize(
    "failure", [RuntimeError("returned NULL"), OSError(errno.ESTALE, "Stale file handle")]
)
def test_a_file_server_that_stumbles_is_asked_again(path, monkeypatch, failure):
    written = array(np.int16)
    path.write_bytes(packed(written, CHUNK))
    voxels = Voxels(path, SHAPE)
    opened = blosc2.open
    failures = [failure]

    def stumbling(*arguments, **options):
        if failures:
            raise failures.pop()
        return opened(*arguments, **options)

    monkeypatch.setattr(blosc2, "open", stumbling)
    assert np.array_equal(voxels, written)
    assert failures == []


def test_a_file_that_the_server_does_not_give_is_not_called_damaged(path, monkeypatch):
    """Wrong input would not be tried again."""

    def fails(*_, **__):
        raise RuntimeError("returned NULL")

    def stale(_):
        raise OSError(errno.ESTALE, "Stale file handle")

    path.write_bytes(packed(array(np.int16), CHUNK))
    voxels = Voxels(path, SHAPE)
    monkeypatch.setattr(blosc2, "open", fails)
    with pytest.raises(InputError, match=r"cannot be read \(returned NULL\): see bench data verify"):
        voxels[0]
    monkeypatch.setattr(type(path), "read_bytes", stale)
    with pytest.raises(OSError, match="Stale file handle"):
        voxels[0]


def test_a_file_that_is_cut_missing_or_of_another_array_is_wrong_input(path):
    with pytest.raises(InputError, match=r"cannot be read .* see bench data verify"):
        Voxels(path, SHAPE)
    content = packed(array(np.int16), CHUNK)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"holds \(3, 20, 13, 17\), expected \(3, 20, 13, 18\)"):
        Voxels(path, (3, 20, 13, 18))
    for size in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"cannot be read .* see bench data verify"):
            Voxels(path, SHAPE)[:]


def test_threads_may_share_it(path):
    written = array(np.int16, (2, 60, 60, 60))
    path.write_bytes(packed(written, (1, 16, 16, 16)))
    voxels = Voxels(path, written.shape)
    corners = np.random.default_rng(1).integers(0, 40, (200, 3)).tolist()

    def right(corner):
        place = tuple(slice(c, c + 20) for c in corner)
        return np.array_equal(voxels[1, *place], written[1, *place])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, corners))
