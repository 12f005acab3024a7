"""Arrays on disk of which an index reads only the chunks it touches.

    path.write_bytes(packed(array, chunk=(1, 48, 48, 48)))
    crop = Voxels(path, array.shape, scaling=(mean, std))[0, 10:90, 10:90, 10:90]

Stored are the voxels as the files have them, as int16 where that is exact, and normalised when read: the
same float32 numbers as if those had been stored, from a sixth of the bytes. Compressed by blosc2 (LZ4 after a
byte shuffle) in chunks of 48^3 voxels of one modality.

Measured on one busy core of an AMD EPYC, local disk, with a real patient (4 x 145x171x130 after the crop,
int16) and, in brackets, a phantom of 240x240x155 (4 x 131x158x145). Reading is that of a crop of 80^3 of four
modalities with the normalisation, median of 8 places, cold (file dropped from the page cache) and warm:

    float32, memory-mapped npy            51.6 MB (48.0)   cold 42 ms (36)   warm  4.3 ms  (3.9)
    float32, blosc2 LZ4                   25.9 MB (20.5)   cold 17 ms (21)   warm  9.5 ms  (8.7)
    float16, blosc2 LZ4                   13.4 MB (11.1)   cold 11 ms (28)   warm  7.6 ms (24)
    int16, memory-mapped npy              25.8 MB (24.0)   cold 21 ms (24)   warm  2.8 ms  (3.9)
    int16, blosc2 LZ4, chunks of 32       8.6 MB  (7.6)    cold 10 ms (11)   warm  6.3 ms  (5.7)
    int16, blosc2 LZ4, chunks of 48       8.8 MB  (7.5)    cold 10 ms (10)   warm  5.4 ms  (5.8)
    int16, blosc2 LZ4, chunks of 64       8.8 MB  (7.6)    cold 11 ms (12)   warm  7.3 ms  (8.1)
    int16, blosc2 zstd 1, chunks of 48    6.8 MB  (5.8)    cold 12 ms (14)   warm  9.0 ms (11)
    int16, zarr 3 (blosc zstd 1), 48      6.9 MB  (6.0)    cold 40 ms (48)   warm 33 ms   (39)

float16 was not taken although it is small: it rounds. 369 cases of BraTS2020 at the real patient's size are
3.2 GB, and would be 7.6 GB if all of each box were noise.
"""

from itertools import product
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from bench_errors import InputError

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
        stored = self._open().dtype
        self.dtype = stored if scaling is None else np.dtype(np.float32)

    def __getitem__(self, index: Any) -> np.ndarray:
        file = self._open()
        try:
            stored = np.asarray(file[index])
        except RuntimeError as error:
            raise InputError(f"{self._path} cannot be read ({error}): see bench data verify") from None
        if self._scaling is None:
            return stored
        first = index[0] if isinstance(index, tuple) else index
        mean, std = (np.asarray(numbers[first]) for numbers in self._scaling)
        across = (..., *[None] * (stored.ndim - mean.ndim))
        return normalised(stored, mean[across], std[across])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)

    def _open(self) -> Any:
        try:
            file = blosc2.open(str(self._path), mode="r", dparams=blosc2.DParams(nthreads=1))
            found = file.shape
        except (OSError, RuntimeError, ValueError, AttributeError) as error:
            raise InputError(f"{self._path} cannot be read ({error}): see bench data verify") from None
        if found != self.shape:
            raise InputError(f"{self._path} holds {found}, expected {self.shape}: see bench data verify")
        return file
