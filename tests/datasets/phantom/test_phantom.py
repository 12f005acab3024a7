"""The synthetic studies: reproducible files, sensible anatomy, contrasts of different strength as in life."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, label
from scipy.stats import rankdata

from bench_errors import InputError
from datasets.phantom.fields import inside, slab, smooth_field
from datasets.phantom.study import write_study
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020

CASES = 8


def read(root: Path, case: str, suffix: str) -> np.ndarray:
    return np.asanyarray(nibabel.load(root / case / f"{case}{suffix}.nii.gz").dataobj)


def contents(root: Path, case: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / case).iterdir())}


def separation(image: np.ndarray, region: np.ndarray, brain: np.ndarray) -> float:
    """Area under the ROC curve of telling `region` from the rest of the brain, folded to 0.5 and above."""
    ranks = rankdata(image[brain])
    positive = region[brain]
    n, m = positive.sum(), (~positive).sum()
    area = (ranks[positive].sum() - n * (n + 1) / 2) / (n * m)
    return max(area, 1 - area)


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    root = tmp_path_factory.mktemp("brains")
    seen = []
    names = write_study(root, CASES, 64, seed=0, progress=seen.append)
    assert names == [f"Phantom_{k:03d}" for k in range(1, CASES + 1)]
    assert seen == list(range(1, CASES + 1))
    return root, names


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    root = tmp_path_factory.mktemp("hearts")
    return root, write_study(root, 6, 96, seed=0, layout="myops")


@pytest.mark.parametrize("layout", ["brats", "myops"])
def test_same_seed_same_bytes_whatever_the_number_of_cases(tmp_path, layout):
    few = write_study(tmp_path / "few", 2, 32, seed=3, layout=layout)
    more = write_study(tmp_path / "more", 3, 32, seed=3, layout=layout)
    write_study(tmp_path / "other", 2, 32, seed=4, layout=layout)
    assert more[:2] == few
    for case in few:
        assert contents(tmp_path / "few", case) == contents(tmp_path / "more", case)
        other = contents(tmp_path / "other", case)
        assert all(other[name] != data for name, data in contents(tmp_path / "few", case).items())
    first, second = (contents(tmp_path / "few", case) for case in few)
    assert not set(first.values()) & set(second.values())


def test_gzip_header_tells_neither_time_nor_name(tmp_path):
    (case,) = write_study(tmp_path, 1, 32)
    for data in contents(tmp_path, case).values():
        assert data[3] == 0  # no flags: no file name
        assert data[4:8] == bytes(4)  # no time
        assert gzip.decompress(data)


def test_files_are_laid_out_as_in_brats(brains):
    root, names = brains
    wanted = [f"{names[0]}{s}.nii.gz" for s in (*BRATS2020.suffixes, BRATS2020.label_suffix)]
    assert sorted(contents(root, names[0])) == sorted(wanted)
    for suffix in (*BRATS2020.suffixes, BRATS2020.label_suffix):
        image = nibabel.load(root / names[0] / f"{names[0]}{suffix}.nii.gz")
        assert image.shape == (64, 64, 64)
        assert image.header.get_zooms() == (1.0, 1.0, 1.0)
        assert image.header.get_xyzt_units()[0] == "mm"
        np.testing.assert_array_equal(
            image.affine, [[-1, 0, 0, 0], [0, -1, 0, 63], [0, 0, 1, 0], [0, 0, 0, 1]]
        )
        assert image.get_data_dtype() == (np.uint8 if suffix == BRATS2020.label_suffix else np.int16)
        assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")


def test_brain_fills_a_realistic_share_and_the_background_is_zero(brains):
    root, names = brains
    for case in names:
        volumes = [read(root, case, suffix) for suffix in BRATS2020.suffixes]
        brain = volumes[0] > 0
        for volume in volumes:
            assert volume.min() == 0
            np.testing.assert_array_equal(volume > 0, brain)
        assert 0.14 < brain.mean() < 0.24
        for axis in range(3):
            filled = np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis})))
            assert 0.6 < (filled[-1] - filled[0] + 1) / 64 < 0.97


def test_tumours_are_nested_and_of_realistic_size(brains):
    root, names = brains
    enhancing, necrotic = [], []
    for case in names:
        labels = read(root, case, BRATS2020.label_suffix)
        brain = read(root, case, "_flair") > 0
        whole = labels > 0
        assert set(np.unique(labels)) <= set(BRATS2020.file_labels)
        assert not (whole & ~brain).any()
        assert 0.02 < whole.sum() / brain.sum() < 0.15
        assert label(whole)[1] == 1
        core = np.isin(labels, (1, 4))
        assert (labels == 2).sum() > 0.3 * whole.sum()
        assert core.sum() > 0.2 * whole.sum()
        assert binary_dilation(core)[labels == 2].any()
        enhancing.append((labels == 4).sum())
        necrotic.append((labels == 1).sum() / core.sum())
    assert np.median(enhancing) > 300
    assert min(necrotic) < 0.1  # solid tumours are among them
    assert max(necrotic) > 0.3


def test_modalities_differ_in_strength_as_in_life(brains):
    root, names = brains
    whole: dict[str, list[float]] = {m: [] for m in BRATS2020.modalities}
    enhancing: dict[str, list[float]] = {m: [] for m in BRATS2020.modalities}
    for case in names:
        labels = read(root, case, BRATS2020.label_suffix)
        for modality, suffix in zip(BRATS2020.modalities, BRATS2020.suffixes, strict=True):
            image = read(root, case, suffix)
            whole[modality].append(separation(image, labels > 0, image > 0))
            enhancing[modality].append(separation(image, labels == 4, labels > 0))
    whole_mean = {m: np.mean(v) for m, v in whole.items()}
    enhancing_mean = {m: np.mean(v) for m, v in enhancing.items()}
    assert max(whole_mean, key=whole_mean.get) == "flair"
    assert min(whole_mean, key=whole_mean.get) == "t1"
    assert max(enhancing_mean, key=enhancing_mean.get) == "t1ce"
    assert whole_mean["flair"] < 0.995  # never a label map
    assert enhancing_mean["t1ce"] < 0.999


def test_a_case_is_the_same_patient_at_every_size(tmp_path):
    (case,) = write_study(tmp_path / "small", 1, 48)
    write_study(tmp_path / "large", 1, 96)
    small = read(tmp_path / "small", case, "_seg") > 0
    large = read(tmp_path / "large", case, "_seg") > 0
    large = large.reshape(48, 2, 48, 2, 48, 2).mean(axis=(1, 3, 5)) > 0.5
    assert 2 * (small & large).sum() / (small.sum() + large.sum()) > 0.85


def test_a_size_may_differ_by_axis(tmp_path):
    (case,) = write_study(tmp_path, 1, (60, 64, 40))
    image = nibabel.load(tmp_path / case / f"{case}_t2.nii.gz")
    assert image.shape == (60, 64, 40)
    assert image.affine[1, 3] == 63


def test_hearts_are_laid_out_as_in_myops(hearts):
    root, names = hearts
    assert names == [str(101 + k) for k in range(6)]
    for case in names:
        suffixes = (*MYOPS2020.suffixes, MYOPS2020.label_suffix)
        images = [nibabel.load(root / case / f"{case}{suffix}.nii.gz") for suffix in suffixes]
        assert {image.shape for image in images} == {(96, 96, 5)}
        assert len({image.affine.tobytes() for image in images}) == 1
        np.testing.assert_allclose(images[0].header.get_zooms(), (190 / 96, 190 / 96, 12), rtol=1e-6)
        assert min(int(np.asanyarray(image.dataobj).min()) for image in images[:3]) > 0
        labels = np.asanyarray(images[3].dataobj)
        assert set(np.unique(labels)) == set(MYOPS2020.file_labels)
        muscle = np.isin(labels, (200, 1220, 2221))
        for k in range(labels.shape[2]):  # the ring closes around the blood of the left ventricle
            blood = labels[..., k] == 500
            assert not (binary_dilation(blood) & ~blood & ~muscle[..., k]).any()


def test_heart_contrasts_show_what_they_show_in_life(hearts):
    root, names = hearts
    ratios = {
        "scar in LGE": [],
        "scar in bSSFP": [],
        "oedema in T2": [],
        "blood in bSSFP": [],
    }
    for case in names:
        labels = read(root, case, "_gd")
        bssfp, lge, t2 = (read(root, case, suffix).astype(float) for suffix in MYOPS2020.suffixes)
        muscle, oedema, scar, blood = (labels == v for v in (200, 1220, 2221, 500))
        ratios["scar in LGE"].append(lge[scar].mean() / lge[muscle].mean())
        ratios["scar in bSSFP"].append(bssfp[scar].mean() / bssfp[muscle].mean())
        ratios["oedema in T2"].append(t2[oedema].mean() / t2[muscle].mean())
        ratios["blood in bSSFP"].append(bssfp[blood].mean() / bssfp[muscle].mean())
    mean = {name: np.mean(values) for name, values in ratios.items()}
    assert mean["scar in LGE"] > 2
    assert mean["scar in bSSFP"] < 1.4
    assert mean["oedema in T2"] > 1.2
    assert mean["blood in bSSFP"] > 1.5


def test_the_number_of_slices_can_be_given(tmp_path):
    (case,) = write_study(tmp_path, 1, (64, 64, 2), layout="myops")
    assert read(tmp_path, case, "_C0").shape == (64, 64, 2)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"cases": 0}, "found 0 cases"),
        ({"cases": 1, "size": 31}, "31x31x31"),
        ({"cases": 1, "size": 156}, "156x156x156"),
        ({"cases": 1, "size": (241, 240, 155)}, "241x240x155"),
        ({"cases": 1, "size": (64, 64, 0), "layout": "myops"}, "64x64x0"),
        ({"cases": 1, "seed": -1}, "seed -1"),
        ({"cases": 1, "layout": "brat"}, "did you mean brats"),
    ],
)
def test_wrong_input_is_refused_in_one_line(tmp_path, arguments, found):
    with pytest.raises(InputError, match=found) as caught:
        write_study(tmp_path, **arguments)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write to .*file"):
        write_study(tmp_path / "file", 1, 32)


def test_smooth_fields_have_unit_variance_and_do_not_depend_on_the_grid():
    coarse = [np.arange(-100.0, 100.0, 4.0)] * 3
    fine = [np.arange(-100.0, 100.0, 2.0)] * 3
    a = smooth_field(np.random.default_rng(0), coarse, 12.0)
    b = smooth_field(np.random.default_rng(0), fine, 12.0)
    np.testing.assert_allclose(b[::2, ::2, ::2], a, atol=1e-12)
    assert abs(b.std() - 1) < 0.1
    assert abs(b.mean()) < 0.1


def test_partial_volumes():
    distance = np.array([0.0, 1.0, 5.0])
    np.testing.assert_allclose(slab(distance, 0.5, 4.0), [0.25, 0.25, 0.0])  # a 1 mm plate in a 4 mm voxel
    np.testing.assert_allclose(slab(distance, 2.0, 1.0), [1.0, 1.0, 0.0])
    np.testing.assert_allclose(inside(np.array([-2.0, 0.0, 0.5, 2.0]), 2.0), [0.0, 0.5, 0.75, 1.0])
