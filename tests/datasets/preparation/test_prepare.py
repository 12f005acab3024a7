"""Crop and normalisation against a transcription of the facts; a store is whole or absent."""

import gzip
from pathlib import Path

import blosc2
import numpy as np
import pytest
from nifti_study import head, rewrite, write_case, write_image, write_study

from bench_errors import InputError
from datasets.preparation.crop import crop_box, slice_box
from datasets.preparation.prepare import prepare, update_store
from datasets.store.store import Store
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020

REAL = Path(__file__).parents[4] / "shared" / "data"


def released_limits(occupied):
    """The released rule for one axis: where the crop starts and (exclusive) ends."""
    low, high = occupied.nonzero()[0][[0, -1]]
    if high - low < 128:
        e = int((128 - (high - low)) / 2)
        high += e + 1
        low -= e
    if low < 0:
        high -= low
        low = 0
    return int(low), int(min(high, len(occupied)))


def line(length, first, last):
    volume = np.zeros((length, 1, 1), dtype=np.float32)
    volume[first] = volume[last] = 1
    return volume


@pytest.mark.parametrize(
    ("length", "first", "last"),
    [
        (240, 40, 200), (240, 50, 178), (240, 50, 177), (240, 50, 176), (240, 10, 60), (240, 0, 0),
        (240, 200, 239), (155, 3, 140), (155, 60, 90), (155, 0, 154), (100, 10, 90),
        (128, 0, 127), (129, 0, 128),
    ],
)  # fmt: skip
def test_box_follows_the_released_rule(length, first, last):
    volume = line(length, first, last)
    start, end = released_limits(volume[:, 0, 0] != 0)
    assert crop_box([volume], "released")[0] == (start, end)
    whole = end + 1 if last - first >= 128 else end
    assert crop_box([volume], "full")[0] == (start, whole)
    assert start <= first
    assert last < whole


def test_box_is_where_the_maximum_over_modalities_is_not_zero():
    a, b = line(300, 20, 200), line(300, 60, 250)
    negative = line(300, 280, 280) * -1
    assert crop_box([a, b, negative], "full")[0] == (20, 251)
    assert crop_box([negative], "released")[0] == released_limits(negative[:, 0, 0] != 0)


def test_slice_box_is_central():
    assert slice_box((300, 256, 4)) == ((22, 278), (0, 256), (0, 4))
    assert slice_box((101, 511, 5)) == ((0, 101), (127, 383), (0, 5))


def released_volumes(volumes, box):
    """The released crop and z-score of [M, X, Y, Z] arrays."""
    stack = np.stack(list(volumes.values()))
    crop = stack[(slice(None), *(slice(*limits) for limits in box))].astype(np.float64)
    mask = crop.sum(axis=0) > 0
    return np.stack([(v - v[mask].mean()) / v[mask].std() for v in crop])


@pytest.mark.parametrize("box", ["full", "released"])
def test_store_holds_the_released_normalisation(tmp_path, box):
    shape = (140, 6, 134)
    write_study(tmp_path / "study", BRATS2020, shape=shape)
    store = prepare(tmp_path / "study", BRATS2020, tmp_path / "store", box=box)
    assert store.cases == ["one", "two"]
    volumes, labels = head("one", BRATS2020.modalities, shape)
    record = store.record("one")
    last = 0 if box == "full" else 1
    assert record.box == ((1, 139 - last), (0, 6), (1, 133 - last))
    assert record.original_shape == shape
    assert np.array_equal(record.affine, [[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
    expected = released_volumes(volumes, record.box)
    assert store.volumes("one").dtype == np.float32
    np.testing.assert_allclose(store.volumes("one"), expected, atol=2e-6)
    kept = labels[tuple(slice(*limits) for limits in record.box)]
    assert np.array_equal(store.labels("one"), np.where(kept == 4, 3, kept))
    assert store.available("one") == (True, True, True, True)
    assert set(record.sources) == {f"one{s}.nii.gz" for s in (*BRATS2020.suffixes, "_seg")}


def test_slices_are_cut_after_the_whole_volume_is_normalised(tmp_path):
    shape = (270, 262, 3)
    write_case(tmp_path / "study", MYOPS2020, "myops_training_101", shape)
    store = prepare(tmp_path / "study", MYOPS2020, tmp_path / "store")
    (case,) = store.cases
    assert store.record(case).box == ((7, 263), (3, 259), (0, 3))
    volumes, labels = head(case, MYOPS2020.modalities, shape, tuple(MYOPS2020.file_labels))
    expected = released_volumes(volumes, [(0, edge) for edge in shape])[:, 7:263, 3:259]
    np.testing.assert_allclose(store.volumes(case), expected, atol=2e-6)
    classes = np.vectorize(MYOPS2020.file_labels.get)(labels[7:263, 3:259])
    assert np.array_equal(store.labels(case), classes)
    for name, chunk in {"volumes.b2nd": (1, 256, 256, 1), "labels.b2nd": (256, 256, 1)}.items():
        file = blosc2.open(str(store.path / case / store.record(case).key / name), mode="r")
        assert file.chunks == chunk  # so that a slice is read alone


def test_lacking_modality_is_zero_and_the_rest_works_with_what_there_is(tmp_path):
    paths = write_case(tmp_path / "study", BRATS2020, "one")
    paths["t1ce"].unlink()
    store = prepare(tmp_path / "study", BRATS2020, tmp_path / "store")
    record = store.record("one")
    assert record.available == (True, False, True, True)
    assert record.mean[1] is None
    assert record.std[1] is None
    volumes, _ = head("one", BRATS2020.modalities)
    del volumes["t1ce"]
    stored = np.asarray(store.volumes("one"))
    np.testing.assert_allclose(stored[[0, 2, 3]], released_volumes(volumes, record.box), atol=2e-6)
    assert not stored[1].any()


@pytest.mark.parametrize("has", [("t1",), ("t2",), ("flair", "t2"), ("t1ce", "t1", "t2")])
def test_crop_and_normalisation_are_of_what_there_is(tmp_path, has):
    shape = (150, 9, 8)
    paths = write_case(tmp_path / "study", BRATS2020, "one", shape)
    volumes = head("one", BRATS2020.modalities, shape)[0]
    volumes["t1"][:5] = 0  # each contrast has a head of its own, so that the box depends on which are there
    volumes["t2"][140:] = 0
    for modality in BRATS2020.modalities:
        if modality in has:
            write_image(paths[modality], volumes[modality])
        else:
            paths[modality].unlink()
            del volumes[modality]
    store = prepare(tmp_path / "study", BRATS2020, tmp_path / "store")
    record = store.record("one")
    occupied = np.maximum.reduce(list(volumes.values())).any(axis=(1, 2))
    low, high = np.flatnonzero(occupied)[[0, -1]].tolist()
    assert record.box[0] == (low, high + 1)
    assert store.available("one") == tuple(m in has for m in BRATS2020.modalities)
    stored = np.asarray(store.volumes("one"))
    there = np.array(record.available)
    np.testing.assert_allclose(stored[there], released_volumes(volumes, record.box), atol=2e-6)
    assert not stored[~there].any()


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_equal_files_give_equal_stores_whatever_workers_and_place(tmp_path):
    write_study(tmp_path / "study", BRATS2020, ("one", "two", "three"))
    one = update_store(tmp_path / "study", BRATS2020, tmp_path / "a", workers=1).store
    two = update_store(tmp_path / "study", BRATS2020, tmp_path / "deep" / "er" / "b", workers=3).store
    assert contents(one.path) == contents(two.path)
    assert one.hash == two.hash


def test_hash_is_of_what_the_files_hold(tmp_path):
    study = write_study(tmp_path / "study", BRATS2020)
    first = prepare(tmp_path / "study", BRATS2020, tmp_path / "a")
    path = study["one"]["t1"]
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()
    assert prepare(tmp_path / "study", BRATS2020, tmp_path / "b").hash == first.hash

    def brighter(array, affine):
        array[5, 5, 5] += 1
        return array, affine

    rewrite(study["two"]["t2"], brighter)
    hashes = {first.hash, prepare(tmp_path / "study", BRATS2020, tmp_path / "c").hash}
    hashes.add(prepare(tmp_path / "study", BRATS2020, tmp_path / "d", box="released").hash)
    (tmp_path / "study" / "two" / "two_t1.nii.gz").unlink()
    hashes.add(prepare(tmp_path / "study", BRATS2020, tmp_path / "e").hash)
    assert len(hashes) == 4


def nothing_but(folder, *names):
    return sorted(p.name for p in folder.iterdir()) == sorted(names)


def test_places_that_cannot_be_written(tmp_path):
    write_study(tmp_path / "study", BRATS2020)
    (tmp_path / "file").write_text("-")
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "study", tmp_path / "file"):
        with pytest.raises(InputError, match="exists and is no store"):
            prepare(tmp_path / "study", BRATS2020, out)
    with pytest.raises(InputError, match="cannot be written"):
        prepare(tmp_path / "study", BRATS2020, tmp_path / "file" / "store")
    assert len(prepare(tmp_path / "study", BRATS2020, tmp_path / "empty").cases) == 2


def test_unknown_box_and_no_study(tmp_path):
    with pytest.raises(InputError, match="unknown box 'tight'"):
        prepare(tmp_path, BRATS2020, tmp_path / "store", box="tight")
    with pytest.raises(InputError, match="is no study"):
        prepare(tmp_path, BRATS2020, tmp_path / "store")
    assert nothing_but(tmp_path)


def test_warnings_do_not_hold_it_up(tmp_path):
    paths = write_case(tmp_path / "study", BRATS2020, "one")
    write_image(paths["t1"], head("one", ["t1"])[0]["t1"] - np.int16(5))
    assert prepare(tmp_path / "study", BRATS2020, tmp_path / "store").cases == ["one"]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real patient is not on this machine")
def test_real_patient(tmp_path):
    store = prepare(REAL, BRATS2020, tmp_path / "store")
    (case,) = store.cases
    record = store.record(case)
    assert record.original_shape == (240, 240, 155)
    assert record.shape == (145, 171, 130)
    assert store.volumes(case).shape == (4, 145, 171, 130)
    assert np.bincount(np.ravel(store.labels(case)))[1:].tolist() == [2477, 20862, 6840]
    assert np.isfinite(store.volumes(case)).all()
    assert Store.open(tmp_path / "store").damaged(case) == []
