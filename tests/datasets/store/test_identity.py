"""The data hash: equal for what a network cannot tell apart, another for all that it sees and is asked."""

from dataclasses import replace

import numpy as np
import pytest
from nifti_study import AFFINE, rewrite, write_case, write_study

from datasets.preparation.expected import expected_store
from datasets.preparation.prepare import prepare
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020
from datasets.vocabulary import Layout, Normalisation, Region

OTHERS = {
    # what of the description is another: value
    "patient": "(.+)_[0-9]+",
    "regions": (Region("WT", (1,)), Region("TC", (2,)), Region("ET", (3,), min_voxels=9999)),
    "classes": ("background", "core", "oedema", "enhancing"),
    "file_labels": {0: 0, 1: 2, 2: 1, 4: 3},
    "table_order": (),
    "profile_order": ("flair", "t1ce", "t1", "t2"),
    "modalities": ("flair", "t1gd", "t1", "t2"),
    "spatial_dims": 2,
    "background": 0.0,
    "normalise": (Normalisation("none"),) * 4,
}
SAME = {
    "name": "mine",
    "layouts": (Layout.named("{site}/{case}", BRATS2020.suffixes, "_label"),),
    "channels": (3, 2, 1, 0),
    "ignore": ("*/old/*",),
    "case_names": ".*",
}


def expected(description):
    return expected_store(description, ["one", "two"], (8, 8, 8)).hash


def test_every_part_of_a_description_is_one_or_the_other():
    assert OTHERS.keys() | SAME.keys() == BRATS2020.to_dict().keys()


@pytest.mark.parametrize("part", OTHERS)
def test_what_is_asked_of_a_network_is_in_the_hash(part):
    assert expected(replace(BRATS2020, **{part: OTHERS[part]})) != expected(BRATS2020)


@pytest.mark.parametrize("part", SAME)
def test_names_and_places_are_not(part):
    assert expected(replace(BRATS2020, **{part: SAME[part]})) == expected(BRATS2020)


def made(tmp_path, name, change=None, description=BRATS2020, **options):
    study = write_study(tmp_path / name, description)
    for paths in study.values() if change else ():
        for path in paths.values():
            rewrite(path, change)
    return prepare(tmp_path / name, description, tmp_path / f"store {name}", **options)


def test_spacing_and_orientation_are_in_the_hash_and_rounding_is_not(tmp_path):
    def scaled(factor):
        return lambda array, affine: (array, affine @ np.diag([factor, factor, factor, 1]))

    hashes = [made(tmp_path, str(factor), scaled(factor)).hash for factor in (1, 3, 1.0002, 1.00001)]
    assert len(set(hashes)) == 3
    assert hashes[3] == hashes[0]
    other = made(tmp_path, "moved", lambda a, m: (a, m + np.outer([1, 0, 0, 0], [0, 0, 0, 9])))
    assert other.hash == hashes[0]  # where the scanner's origin is, a network does not see
    slices = [
        made(tmp_path, name, lambda a, m, axes=axes: (a, AFFINE @ np.diag(axes)), MYOPS2020).hash
        for name, axes in (("as they lie", (1, 1, 1, 1)), ("mirrored", (-1, 1, 1, 1)))
    ]
    assert slices[0] != slices[1]


def test_box_and_normalisation_are_in_the_hash(tmp_path):
    hashes = {made(tmp_path, "full").hash, made(tmp_path, "released", box="released").hash}
    for number, rule in enumerate((Normalisation("none"), Normalisation("window", (0.0, 900.0)))):
        hashes.add(made(tmp_path, str(number), description=replace(BRATS2020, normalise=(rule,) * 4)).hash)
    assert len(hashes) == 4


def test_voxels_outside_the_kept_part_of_slices_are_in_the_hash_as_they_change_what_is_seen(tmp_path):
    stores = []
    for name, factor in (("a", 1), ("b", 20)):
        paths = write_case(tmp_path / name, MYOPS2020, "one", (300, 20, 4))

        def brighter(array, affine, factor=factor):
            array[:20] *= factor
            return array, affine

        rewrite(paths["lge"], brighter)
        stores.append(prepare(tmp_path / name, MYOPS2020, tmp_path / f"store {name}"))
    seen = [np.asarray(store.volumes("one")) for store in stores]
    assert not np.allclose(*seen)
    assert stores[0].hash != stores[1].hash


def test_a_mask_outside_the_kept_part_of_slices_is_in_the_hash(tmp_path):
    description = replace(MYOPS2020, layouts=(replace(MYOPS2020.layouts[0], mask="{case}/{case}_mask"),))
    stores = []
    for name, first in (("a", 1), ("b", 12)):
        paths = write_case(tmp_path / name, description, "one", (300, 20, 4))

        def narrower(array, affine, first=first):
            array[:first] = 0
            return array, affine

        rewrite(paths["mask"], narrower)
        stores.append(prepare(tmp_path / name, description, tmp_path / f"store {name}"))
    assert stores[0].record("one").mean != stores[1].record("one").mean
    assert stores[0].hash != stores[1].hash


def test_a_mask_is_in_the_hash_although_it_changes_no_stored_voxel(tmp_path):
    description = replace(
        BRATS2020, layouts=(replace(BRATS2020.layouts[0], mask="{case}/{case}_mask"),), background=0.0
    )

    def halved(array, affine):
        return np.where(np.arange(12)[:, None, None] > 6, array, 0 * array), affine

    stores = []
    for name in "ab":
        for paths in write_study(tmp_path / name, description).values():
            for modality in BRATS2020.modalities:
                rewrite(paths[modality], halved)
            if name == "b":  # where a has a wider mask, the voxels are 0
                rewrite(paths["mask"], halved)
        stores.append(prepare(tmp_path / name, description, tmp_path / f"store {name}"))
    a, b = (store.record("one") for store in stores)
    assert a.mean != b.mean
    assert stores[0].hash != stores[1].hash
