"""Arrays on disk of which an index reads only the chunks it touches.

    path.write_bytes(packed(array, chunk=(1, 48, 48, 48)))
    crop = Voxels(path, array.shape, scaling=(mean, std))[0, 10:90, 10:90, 10:90]

Stored are the voxels as the files have them, as int16 where that is exact, and normalised when read: the
same float32 numbers as if those had been stored, from a sixth of the bytes. Compressed by blosc2 (LZ4 after a
byte shuffle) in chunks of 48^3 voxels of one modality.

Why so, measured beside other ways: results/speed/README.md.
"""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import blosc2
import numpy as np

from bench_errors import InputError

T = TypeVar("T")

blosc2.set_releasegil(True)  # or cases prepared in parallel threads would compress one after the other


def packed(array: np.ndarray, chunk: tuple[int, ...]) -> bytes:
    """Return the file of an array of any type; equal arrays give equal files.

    `chunk`: what is read at once, in voxels along each axis; cut to the array.
    """
    edges = tuple(min(edge, n) for edge, n in zip(chunk, array.shape, strict=True))
    packing = blosc2.CParams(codec=blosc2.Codec.LZ4, clevel=5, filters=[blosc2.Filter.SHUFFLE], nthreads=1)
    file = blosc2.empty(array.shape, array.dtype, chunks=edges, blocks=edges, cparams=packing)
    # Chunk by chunk, because assigning the whole array costs twice the time and holds the interpreter's lock.
    starts = product(*(range(0, n, edge) for n, edge in zip(array.shape, edges, strict=True)))
    for number, corner in enumerate(starts):
        part = array[tuple(slice(start, start + edge) for start, edge in zip(corner, edges, strict=True))]
        whole = np.zeros(edges, dtype=array.dtype)
        whole[tuple(slice(n) for n in part.shape)] = part
        file.schunk.update_data(number, whole, copy=False)
    return bytes(file.to_cframe())


def normalised(stored: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return (stored - mean) / std in float32; `mean` and `std` are float32 and fit the array's shape."""
    values = stored.astype(np.float32)
    values -= mean
    values /= std
    return values


class Voxels:
    """An array on disk that is indexed like a numpy array with whole numbers and slices.

    The file is opened at each read (0.1 ms), so threads may share one object. `np.asarray` reads all of it.

    Attributes:
        shape: of the array.
        dtype: of what is read.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], scaling: tuple[np.ndarray, np.ndarray] | None = None
    ):
        """Look at the file; `InputError` if there is none or another array than expected.

        Args:
            path: a file of what `packed` returns.
            shape: which it must have.
            scaling: float32 mean and standard deviation, one of each for every index of the first axis: what
                is read is (stored - mean) / std in float32. None: what is read is what is stored.
        """
        self.shape = shape
        self._path = path
        self._scaling = scaling
        stored = self._read(lambda file: file.dtype)
        self.dtype = stored if scaling is None else np.dtype(np.float32)

    def __getitem__(self, index: Any) -> np.ndarray:
        stored = self._read(lambda file: np.asarray(file[index]))
        if self._scaling is None:
            return stored
        first = index[0] if isinstance(index, tuple) else index
        mean, std = (np.asarray(numbers[first]) for numbers in self._scaling)
        across = (..., *[None] * (stored.ndim - mean.ndim))
        return normalised(stored, mean[across], std[across])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)

    def _read(self, read: Callable[[Any], T]) -> T:
        """Return what `read` finds in the opened file; `InputError` where that is damaged or not there.

        blosc2 says the same of a damaged file and of one that a file server fails to give. So where it fails,
        all bytes are asked for, which raises the server's own OSError, and then it is tried once more.
        """
        try:
            found, result = self._tried(read)
        except (OSError, RuntimeError, ValueError, AttributeError):
            try:
                self._path.read_bytes()
                found, result = self._tried(read)
            except (FileNotFoundError, RuntimeError, ValueError, AttributeError) as error:
                raise InputError(f"{self._path} cannot be read ({error}): see bench data verify") from None
        if found != self.shape:
            raise InputError(f"{self._path} holds {found}, expected {self.shape}: see bench data verify")
        return result

    def _tried(self, read: Callable[[Any], T]) -> tuple[tuple[int, ...], T]:
        file = blosc2.open(str(self._path), mode="r", dparams=blosc2.DParams(nthreads=1))
        return file.shape, read(file)
