"""The class maps behind a test's scores, to be shared with a run: ``bench export RUN --predictions``.

    write_predictions(folder, Path("data/phantom"), "cpu")      # tests/NAME/predictions/CASE.npz
    maps = read_maps(path, subsets, shape)                      # a map [*space] by name of the subset

Whoever has the references can score them again, and need not take the scores on trust.
"""

import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from tokenize import TokenError
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from bench_errors import InputError
from benchmark.evaluation.metrics import METRICS, Scoring
from benchmark.evaluation.score_maps import score_maps
from benchmark.evaluation.segment_case import Segmentation
from benchmark.run_folder.case_rows import CaseRow, read_rows
from benchmark.run_folder.checkpoint import load_weights
from benchmark.run_folder.files import write_atomically
from benchmark.run_folder.folder import RunFolder
from benchmark.run_folder.tests import PREDICTIONS
from benchmark.training.build import build_backbone
from benchmark.training.device import available_cores, chosen_device, prepare_device
from benchmark.training.precision import use_precision
from benchmark.training.run import read_inputs, segmenter
from datasets.studies.names import prepare_command

SHARE_TOLERANCE, UNIT_TOLERANCE = 0.005, 0.5
"""What scores that were made elsewhere may differ by, in the mean over a metric without and with a unit.

Other processors and GPUs round otherwise, which moves single voxels.
"""
_HEADER = 10_000
"""Bytes that an array's file has at most beside its numbers."""


def write_predictions(folder: RunFolder, store: Path, device: str) -> None:
    """Segment the test cases of a finished run again and keep the maps beside the scores of each test.

    What is there already is not done again. Tests on other data than the run's own are left out. Raises
    `InputError` where the store is not the run's, another process works on the run, or the maps have other
    scores than the test recorded, as on another machine: then nothing is kept of that case.
    """
    inputs = read_inputs(folder, store)
    target = prepare_device(chosen_device(device), available_cores())
    use_precision(inputs.config.precision)
    backbone = build_backbone(inputs.config, inputs.store.description)
    backbone.load_state_dict(load_weights(folder))
    backbone = backbone.eval().to(target)
    with folder.lease() as mine:
        if not mine:
            raise InputError(f"{folder.path} is being worked on by another process: wait for it")
        for test in folder.own_tests():
            settings = test.settings()
            if not test.done:
                continue
            segment = segmenter(inputs, settings["test"], backbone, target)
            recorded = read_rows(test.cases)
            for case in inputs.tested:
                path = test.path / PREDICTIONS / f"{case}.npz"
                if not path.exists():
                    segmented = segment(case)
                    scored = score_maps(inputs.store, case, segmented, Scoring.of(settings["test"]), target)
                    if why := disagreement([row for row in recorded if row.case == case], scored):
                        raise InputError(
                            f"{test.path}: the maps of case {case} have other scores than the test recorded "
                            f"({why}): export the run where it was tested, with the same --device"
                        )
                    path.parent.mkdir(exist_ok=True)
                    write_atomically(path, _packed(segmented))


def disagreement(recorded: Sequence[CaseRow], scored: Sequence[CaseRow]) -> str:
    """Say in which metric recorded scores are not those of the maps, beyond rounding; empty where they are.

    Rows of metrics that need probabilities are not looked at, since maps do not hold these.
    """
    values = [
        {row[:4]: row.value for row in rows if not METRICS[row.metric].of_probabilities}
        for rows in (recorded, scored)
    ]
    if values[0].keys() != values[1].keys():
        only = sorted(values[0].keys() ^ values[1].keys())[0]
        return f"one has {', '.join(only)}, the other has not"
    for metric in dict.fromkeys(row.metric for row in scored):
        keys = [key for key in values[1] if key[3] == metric]
        pairs = np.array([[side[key] for key in keys] for side in values])
        if (np.isnan(pairs[0]) != np.isnan(pairs[1])).any():
            return f"{metric} has a value in one and none in the other"
        away = float(np.nanmean(np.abs(pairs[0] - pairs[1]))) if np.isfinite(pairs).any() else 0.0
        if away > (UNIT_TOLERANCE if METRICS[metric].unit else SHARE_TOLERANCE):
            return f"{metric} differs by {away:.3g} in the mean"
    return ""


def of_maps(scoring: Scoring) -> Scoring:
    """Return the scoring with the metrics alone that maps are enough for; `InputError` where none is."""
    return replace(scoring, metrics=tuple(m for m in scoring.metrics if not METRICS[m].of_probabilities))


def _packed(segmented: Segmentation) -> bytes:
    """The maps as a file; equal ones give equal bytes."""
    content = io.BytesIO()
    np.savez_compressed(
        content,
        allow_pickle=False,
        subsets=np.array(list(segmented.maps), dtype=np.str_),
        maps=np.stack(list(segmented.maps.values())),
    )
    return content.getvalue()


def read_maps(path: Path, subsets: Sequence[str], shape: tuple[int, ...]) -> Mapping[str, NDArray[np.uint8]]:
    """Return the maps of a file, uint8 [*space] by name of the subset.

    Args:
        path: a file that anybody may have made: nothing of it is unpacked that is larger than it may be.
        subsets: names of the subsets that it must have.
        shape: of each map.

    Raises `InputError` for any other file.
    """
    expected = {"subsets.npy": _HEADER, "maps.npy": len(subsets) * prod(shape) + _HEADER}
    try:
        with ZipFile(path) as packed:
            for entry in packed.infolist():
                size = expected.pop(entry.filename, -1)
                if entry.file_size > size or _unpacked(packed, entry) > size:
                    raise ValueError(f"{entry.filename} is larger than it may be, or not to be there")
        if expected:
            raise ValueError(f"it has no {next(iter(expected))}")
        with np.load(path, allow_pickle=False) as arrays:
            names, maps = arrays["subsets"].tolist(), arrays["maps"]
        if names != list(subsets) or maps.shape != (len(subsets), *shape) or maps.dtype != np.uint8:
            raise ValueError(f"it holds {maps.dtype} {maps.shape} of {len(names)} subsets")
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error, TokenError) as error:
        raise InputError(
            f"{path.name} has not the maps of {len(subsets)} subsets on a grid of {shape} ({error}): export "
            "the run again"
        ) from None
    return dict(zip(names, maps, strict=True))


def _unpacked(packed: ZipFile, entry: ZipInfo) -> int:
    """Return the bytes that an array says it has, which numpy would make room for."""
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED) or entry.flag_bits & 1:
        raise ValueError(f"{entry.filename} is not packed as numpy packs it")
    with packed.open(entry) as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return prod(shape) * dtype.itemsize


def find_store(dataset: str, stores: Mapping[str, Path], beside: Path | None = None) -> Path:
    """Return where the store of a dataset is: as named, beside the runs of its grid, or `data/NAME`.

    Raises `InputError` where it is at none of them.
    """
    places = [stores[dataset]] if dataset in stores else [Path("data") / dataset]
    if beside and dataset not in stores:
        places.insert(0, beside / "data" / dataset)
    for place in places:
        if (place / "store.json").exists():
            return place
    raise InputError(
        f"no store of {dataset} at {places[-1]}: name it with --store {dataset}=DIR, or make it with: "
        f"{prepare_command(dataset, places[-1])}"
    )
