"""Slices as cases: which there are, what is kept of them, and that HGA's table of MSSEG 2016 comes out."""

import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pytest
from nifti_study import AFFINE, write_image

from bench_errors import InputError
from datasets.batches.loader import Loader
from datasets.batches.split import split
from datasets.missingness.availability import availability, mechanism, read_csv, store_availability, unit
from datasets.preparation.prepare import prepare, update_store
from datasets.studies.from_yaml import read_description
from datasets.studies.names import DATASETS
from datasets.studies.patterns import filled, fits
from datasets.vocabulary import Description, Slices, patient

HGA = DATASETS.get("msseg2016-hga")
SHAPE, EDGE = (30, 26, 20), 16
SMALL = replace(HGA, slices=Slices(20, "flair", EDGE))
SCANS = {
    "Testing_Center_01_Patient_02": 1,
    "Testing_Center_08_Patient_10": 2,
    "Training_Center_01_Patient_01": 3,
}
RELEASED = "2a5006388ac46e08bea2e6a1429b2e1ce77d3afb1c2f27b0243e9373999e246c"
"""SHA-256 of the rows of HGA's table of MSSEG 2016, each as 0 and 1, in the order of its file."""


def volumes_of(seed):
    """Heads in a box of their own, longer than an edge along the first axis, shorter along the others."""
    rng = np.random.default_rng(seed)
    inside = (slice(4, 4 + EDGE + 5 + seed), slice(6, 6 + 13), slice(2 + seed, 2 + seed + 11))
    volumes = {m: np.zeros(SHAPE, np.float32) for m in HGA.modalities}
    for volume in volumes.values():
        volume[inside] = rng.uniform(5, 900, volume[inside].shape)
        volume[12] = 0  # no slice is without background
    for name in HGA.modalities[1:]:  # only FLAIR's box counts
        volumes[name][1, 1, 1] = 7
    label = np.zeros(SHAPE, np.uint8)
    for z in range(*inside[2].indices(SHAPE[2])):
        label[6 : 6 + 6, 8 : 8 + 1 + z % 8, z] = 1
    return volumes, label


def write_scan(root, name, volumes, label):
    words = fits("{part}_{center:Center_01|Center_08}_{case}", name, {})
    (layout,) = HGA.layouts
    patterns = zip((*HGA.modalities, "label"), (*layout.files, layout.label), strict=True)
    for key, pattern in patterns:
        array = label if key == "label" else volumes[key]
        write_image(root / f"{filled(pattern, words)}.nii.gz", array, AFFINE)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("slices") / "study"
    for name, seed in SCANS.items():
        write_scan(root, name, *volumes_of(seed))
    return root


def padded(array, flair, edge):
    """A volume in the middle of zeros [edge, edge, edge]: cut to FLAIR's box, and that to its middle."""
    box = [(int(i.min()), int(i.max()) + 1) for i in np.nonzero(flair)]
    for axis, (start, end) in enumerate(box):
        if (length := end - start) > edge:
            middle = start + length // 2
            box[axis] = middle - edge // 2, middle + edge // 2
    cut = array[tuple(slice(*limits) for limits in box)]
    result = np.zeros((edge,) * 3, array.dtype)
    place = tuple(slice((edge - n) // 2, (edge - n) // 2 + n) for n in cut.shape)
    result[place] = cut
    return result, place[:2]


def test_slices_are_those_of_a_padded_volume(study, tmp_path):
    store = prepare(study, SMALL, tmp_path / "store")
    expected = {}
    for name, seed in SCANS.items():
        volumes, label = volumes_of(seed)
        seg, place = padded(label, volumes["flair"], EDGE)
        images = np.stack([padded(volumes[m], volumes["flair"], EDGE)[0] for m in HGA.modalities])
        for k in range(EDGE):
            if np.count_nonzero(seg[..., k]) >= 20:
                expected[f"{name}_slice_{k}"] = images[:, *place, k], seg[*place, k]
            else:
                assert f"{name}_slice_{k}" not in store.cases
    assert store.cases == sorted(expected)
    assert len(store.cases) > 12
    for case, (images, label) in expected.items():
        np.testing.assert_array_equal(np.asarray(store.volumes(case))[..., 0], images)
        np.testing.assert_array_equal(np.asarray(store.labels(case))[..., 0], label)
        record = store.record(case)
        assert record.shape == tuple(end - start for start, end in record.box) == (*label.shape, 1)
        assert sum(store.labelled(case)) == np.count_nonzero(label)
        assert patient(case, SMALL) == record.slice_of == case.partition("_slice_")[0]
    assert len({record.content for record in store.records.values()}) == len(store.cases)
    # In a crop as large as the edge they stand before the padding, which is 0 too.
    case = store.cases[0]
    table = availability("complete", [case], SMALL)
    (batch,) = Loader(store, [case], table, crop=EDGE, augment=False).batches(0)
    images = expected[case][0]
    np.testing.assert_array_equal(
        batch.volumes[0, :, : images.shape[1], : images.shape[2], 0].numpy(), images
    )
    assert batch.volumes.sum().item() == pytest.approx(float(images.sum()), rel=1e-6)


def test_z_scores_are_those_of_the_volume_and_numbers_those_of_its_slices(study, tmp_path):
    whole = replace(HGA, normalise=(), slices=None)
    volumes = prepare(study, whole, tmp_path / "volumes")
    slices = prepare(study, replace(whole, slices=Slices(1)), tmp_path / "slices")
    for case in slices.cases:
        name, _, number = case.partition("_slice_")
        z = int(number)
        assert slices.record(case).box[2] == (z, z + 1)
        shows = np.array(slices.available(case))
        of_volume = np.asarray(volumes.volumes(name))[..., z : z + 1]
        np.testing.assert_array_equal(np.asarray(slices.volumes(case))[shows], of_volume[shows])
    assert slices.hash != volumes.hash


def test_a_slice_lacks_what_shows_nothing_there(tmp_path):
    volumes, label = volumes_of(1)
    volumes["gado"][:, :, :6] = 0
    volumes["gado"][1, 1, 1] = 0
    write_scan(tmp_path / "study", "Testing_Center_01_Patient_02", volumes, label)
    description = replace(HGA, slices=Slices(1))
    store = prepare(tmp_path / "study", description, tmp_path / "store")
    has = {int(case.rpartition("_")[2]): store.available(case)[4] for case in store.cases}
    assert has == {z: z >= 6 for z in has}
    lacking = [case for case in store.cases if not store.available(case)[4]]
    assert len(lacking) == 3
    assert not np.asarray(store.volumes(lacking[0]))[4].any()
    table = store_availability("complete", store, store.cases)
    assert table.notes == (f"gado is not there in the files of 3 of {len(has)} cases",)
    assert mechanism(table, description) == "missing as the files are, which do not say by what"
    assert unit(table, description) == f"for each slice: {len(has)} slices of 1 patient"


def test_a_later_call_keeps_what_is_whole(study, tmp_path):
    files = tmp_path / "study"
    shutil.copytree(study, files)
    first = update_store(files, SMALL, tmp_path / "store")
    assert (len(first.written), first.kept) == (len(first.store.cases), [])
    again = update_store(files, SMALL, tmp_path / "store")
    assert (again.written, sorted(again.kept)) == ([], again.store.cases)
    lost = again.store.cases[0]
    shutil.rmtree(tmp_path / "store" / lost)
    mended = update_store(files, SMALL, tmp_path / "store")
    assert mended.store.hash == first.store.hash
    scan = again.store.record(lost).slice_of
    assert sorted(mended.written) == [case for case in first.store.cases if case.startswith(scan)]
    shutil.rmtree(files / "Testing" / "Center_01")
    less = update_store(files, SMALL, tmp_path / "store")
    assert less.gone == ["Testing_Center_01_Patient_02"]
    assert not list((tmp_path / "store").glob("Testing_Center_01*"))


def test_no_slice_with_so_much(study, tmp_path):
    with pytest.raises(InputError, match="has 5000 labelled voxels, as slices that are cases have: lower"):
        prepare(study, replace(SMALL, slices=Slices(5000)), tmp_path / "store")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("spatial_dims: 2", "spatial_dims: 3"), "slices: slices of volumes that are taken as such are no"),
        (("box: flair", "box: fair"), "slices.box: unknown modality 'fair': did you mean flair"),
        (("edge: 224", "edge: 0"), "slices.edge: expected more than 0, found 0"),
        (("labelled: 150", "labelled: -1"), "slices.labelled: expected 0 or more, found -1"),
        (("slices:", "whole: true\nslices:"), "whole: slices.box and slices.edge cut slices: leave them out"),
        (("labelled: 150", "labeled: 150"), "slices.labeled: no such option here, did you mean labelled"),
    ],
)
def test_wrong_descriptions(tmp_path, change, says):
    shipped = read_description.__globals__["SHIPPED"] / "msseg2016-hga.yaml"
    (tmp_path / "mine.yaml").write_text(shipped.read_text().replace(*change))
    with pytest.raises(InputError) as caught:
        read_description(tmp_path / "mine.yaml")
    assert says in str(caught.value)


def test_descriptions_of_slices_keep_what_they_say():
    assert Description.from_dict(HGA.to_dict()) == HGA
    others = [HGA.slices, None, Slices(150, "flair", 200), Slices(151, "flair", 224), Slices(150, "", 224)]
    digests = [replace(HGA, slices=slices).digest for slices in others]
    assert len(set(digests)) == len(digests)
    assert "slices" not in DATASETS.get("msseg2016").to_dict()


def test_the_table_of_hga_comes_out_bit_for_bit():
    """With as many slices as HGA has. Its file has them in the order of their names, in which it draws."""
    names = [f"Testing_Center_01_Patient_02_slice_{z}" for z in range(1822)]
    table = availability("cr97531", names, HGA, seed=1048)
    has = {
        case: "".join("01"[there] for there in row)
        for case, row in zip(table.cases, table.table.tolist(), strict=True)
    }
    assert hashlib.sha256("".join(has[case] for case in sorted(has)).encode()).hexdigest() == RELEASED
    assert len(table.cases) == 1802
    assert table.notes == ("20 of 1822 cases are left with nothing: they do not train",)
    rounded = {modality: round(rate, 3) for modality, rate in table.realised.items()}
    assert rounded == {"flair": 0.887, "t1": 0.692, "t2": 0.476, "dp": 0.304, "gado": 0.092}
    assert mechanism(table, HGA) == "missing completely at random (MCAR): by chance alone"
    assert unit(table, HGA) == "for each slice: 1802 slices of 1 patient"
    with pytest.raises(InputError, match="leaves none of 1 cases with anything"):
        availability("cr99999", ["a"], HGA, seed=0)


def test_the_division_of_hga_is_by_patients():
    names = [f"{name}_slice_{z}" for name in (*SCANS, "Training_Center_08_Patient_05") for z in (99, 100)]
    parts = split(names, HGA, "auto", seed=0)
    assert {case.partition("_slice_")[0] for case in parts.train} == {n for n in SCANS if n[:3] == "Tes"}
    assert {case.partition("_slice_")[0] for case in parts.test} == {"Training_Center_01_Patient_01"}
    assert {case.partition("_slice_")[0] for case in parts.val} == {"Training_Center_08_Patient_05"}
    with pytest.raises(InputError, match="does not name"):
        split([*names, "Testing_Center_01_Patient_01_slice_7"], HGA, "auto", seed=0)


def test_tables_as_hga_writes_them_are_read(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(
        'data_name,mask_id,mask,pos_mask_ids\na_slice_1,16,"[False, True, False, True, True]",[0]\n'
    )
    assert read_csv(path, HGA).table.tolist() == [[False, True, False, True, True]]
