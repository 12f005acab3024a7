"""The second edition of the synthetic brain: kinds of gliomas, what scanners do, its files and hospitals."""

from collections import Counter
from hashlib import sha256
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from datasets.phantom.anatomy import Mass, draw_anatomy
from datasets.phantom.brain import ENHANCING, NECROSIS, OEDEMA, brain
from datasets.phantom.fields import lowest
from datasets.phantom.glioma import KINDS, MULTIFOCAL, VOLUMES_ML, draw_lesions, grow
from datasets.phantom.patient import CONTRASTS, patient, voxel_mm
from datasets.phantom.scanners import SCANNERS, hospital_of
from datasets.phantom.study import write_study
from datasets.preparation.check import check_cases
from datasets.preparation.find import find_cases
from datasets.studies.brats import PHANTOM2

SHAPE = (40, 48, 40)


@pytest.fixture(scope="module")
def patients():
    return [patient(SHAPE, 0, f"Phantom2_{k:03d}") for k in range(1, 6)]


@pytest.fixture(scope="module")
def many():
    return [draw_lesions(np.random.default_rng(seed)) for seed in range(600)]


def separation(image: np.ndarray, region: np.ndarray, among: np.ndarray) -> float:
    """Area under the ROC curve of telling `region` from the rest of what it is among, 0.5 and above."""
    ranks, positive = rankdata(image[among]), region[among]
    n, m = positive.sum(), (~positive).sum()
    area = (ranks[positive].sum() - n * (n + 1) / 2) / (n * m)
    return max(area, 1 - area)


def test_the_first_edition_stays_as_it_was():
    volumes, labels = brain((32, 32, 32), 0, "Phantom_001")
    content = b"".join(volume.tobytes() for volume in [*volumes.values(), labels])
    assert sha256(content).hexdigest().startswith("9ea45cdc7b05f641")


def test_a_case_depends_on_seed_and_name_alone():
    small = (32, 32, 32)
    once, again, other, neighbour = (
        patient(small, seed, f"Phantom2_{k:03d}") for seed, k in ((5, 7), (5, 7), (6, 7), (5, 8))
    )
    for contrast in CONTRASTS:
        np.testing.assert_array_equal(once[0][contrast], again[0][contrast])
        assert (once[0][contrast] != other[0][contrast]).any()
        assert (once[0][contrast] != neighbour[0][contrast]).any()
    np.testing.assert_array_equal(once[1], again[1])


def test_kinds_are_as_frequent_as_they_say(many):
    """Within four deviations of the binomial distribution."""
    first = Counter(lesions[0].kind for lesions in many)
    for name, kind in KINDS.items():
        bound = 4 * np.sqrt(kind.frequency * (1 - kind.frequency) / len(many))
        assert abs(first[name] / len(many) - kind.frequency) < bound
    enhancing = [lesions for lesions in many if lesions[0].kind in ("ring", "solid", "patchy")]
    share = np.mean([len(lesions) > 1 for lesions in enhancing])
    assert abs(share - MULTIFOCAL) < 4 * np.sqrt(MULTIFOCAL * (1 - MULTIFOCAL) / len(enhancing))
    assert {len(lesions) for lesions in many} == {1, 2, 3, 4}


def test_lesions_are_small_and_large_and_satellites_lie_apart(many):
    volumes = np.array([lesions[0].volume for lesions in many]) / 1000
    assert volumes.min() >= VOLUMES_ML[0]
    assert volumes.max() <= VOLUMES_ML[1]
    assert np.mean(volumes < 25) > 0.05
    assert np.mean(volumes > 120) > 0.1
    for lesions in many:
        for lesion in lesions[1:]:
            assert lesion.volume < 0.26 * lesions[0].volume
            assert np.linalg.norm(lesion.centre - lesions[0].centre) > 15


@pytest.mark.parametrize("kind", KINDS)
def test_a_lesion_grows_to_what_its_kind_says(kind, many):
    axes = [(np.arange(n) - (n - 1) / 2) * 3.5 for n in (44, 52, 44)]
    lesions = next(found for found in many if found[0].kind == kind and len(found) == 1)
    anatomy = draw_anatomy(np.random.default_rng(1), axes, 3.5, [lesions[0].mass])
    tissues = grow(lesions, np.random.default_rng(2), axes, 3.5, anatomy)
    counts = {name: int(mask.sum()) for name, mask in tissues.items()}
    whole, core = sum(counts.values()), sum(counts.values()) - counts["oedema"]
    assert sum(mask.astype(int) for mask in tissues.values()).max() == 1
    assert 0.8 * lesions[0].volume < whole * 3.5**3 < 1.01 * lesions[0].volume
    assert core / whole == pytest.approx(lesions[0].core, abs=0.15)
    assert (counts["enhancing"] > 0) == (kind in ("ring", "solid", "patchy"))
    assert (core > 0) == (kind != "diffuse")
    assert counts["necrosis"] == pytest.approx(lesions[0].necrosis * core, abs=1)
    assert counts["non-enhancing"] == pytest.approx(lesions[0].silent * (core - counts["necrosis"]), abs=1)


def test_a_mass_pushes_the_ventricles_aside():
    """Anatomy at a point is that of a point nearer to the mass, which leaves what is far off where it is."""
    axes = [np.arange(-70.0, 71.0, 5.0)] * 3
    centre = np.array([30.0, -5.0, 15.0])
    pushed, still = (
        draw_anatomy(np.random.default_rng(0), axes, 5.0, masses)
        for masses in ([Mass(centre, 12.0, 0.4)], [])
    )
    left = np.meshgrid(*axes, indexing="ij")[0] > 0
    middle = [(axes[0][:, None, None] * (a.ventricles > 0))[a.ventricles > 0].mean() for a in (pushed, still)]
    assert middle[0] < middle[1] - 0.5  # away from the left
    np.testing.assert_array_equal(pushed.mask, still.mask)
    assert np.abs(pushed.ventricles - still.ventricles)[left].max() > 3
    assert np.abs(pushed.ventricles - still.ventricles)[:4].max() < 0.5


def test_patients_have_brains_that_fit_and_labels_within(patients):
    for volumes, labels in patients:
        head = volumes["flair"] > 0
        assert set(np.unique(labels)) <= {0, NECROSIS, OEDEMA, ENHANCING}
        assert not ((labels > 0) & ~head).any()
        assert (labels > 0).any()
        assert 0.85e6 < head.sum() * voxel_mm(SHAPE) ** 3 < 1.7e6
        for volume in volumes.values():
            np.testing.assert_array_equal(volume > 0, head)
        faces = [head.take(end, axis=axis) for axis in range(3) for end in (0, -1)]
        assert [face.any() for face in faces if face is not faces[4]] == [False] * 5  # below, the neck is cut
    assert voxel_mm((76, 92, 76)) == pytest.approx(2.0, abs=0.02)


def test_contrasts_tell_apart_what_they_do_in_patients_and_overlap(patients):
    whole: dict[str, list[float]] = {contrast: [] for contrast in CONTRASTS}
    enhancing: dict[str, list[float]] = {contrast: [] for contrast in CONTRASTS}
    for volumes, labels in patients:
        for contrast, image in volumes.items():
            whole[contrast].append(separation(image, labels > 0, image > 0))
            if (labels == ENHANCING).sum() > 30:
                enhancing[contrast].append(separation(image, labels == ENHANCING, labels > 0))
    for areas, best in ((whole, "flair"), (enhancing, "t1ce")):
        means = {contrast: float(np.mean(values)) for contrast, values in areas.items()}
        assert max(means, key=means.__getitem__) == best
        assert means[best] < 0.96


def test_thick_slices_lose_details_along_z_alone():
    rng = np.random.default_rng(0)
    signal = gaussian_filter(rng.normal(size=(40, 40, 40)), 1.0)
    thin, thick = (SCANNERS[hospital].blurred(signal, "flair", 2.0) for hospital in ("north", "south"))
    for axis, lost in ((0, False), (1, False), (2, True)):
        steps = [np.diff(image, axis=axis).std() / image.std() for image in (thin, thick)]
        assert (steps[1] < 0.75 * steps[0]) == lost


def test_hospitals_have_their_shares():
    hospitals = Counter(hospital_of(0, f"Phantom2_{k:04d}") for k in range(1500))
    assert sum(scanner.frequency for scanner in SCANNERS.values()) == pytest.approx(1)
    for name, scanner in SCANNERS.items():
        bound = 4 * np.sqrt(scanner.frequency * (1 - scanner.frequency) / 1500)
        assert abs(hospitals[name] / 1500 - scanner.frequency) < bound


def test_files_tell_the_hospital_and_pass_the_check(tmp_path: Path):
    names = write_study(tmp_path, 5, (36, 44, 36), seed=2, layout="gliomas")
    cases = find_cases(tmp_path, PHANTOM2)
    assert [case.name for case in cases] == names
    assert {case.name: case.columns for case in cases} == {
        name: {"hospital": hospital_of(2, name)} for name in names
    }
    assert [p for p in check_cases(tmp_path, cases, PHANTOM2) if p.severity != "note"] == []
    image = nibabel.load(cases[0].files["flair"])
    np.testing.assert_allclose(image.header.get_zooms(), voxel_mm((36, 44, 36)), rtol=1e-6)


def test_lowest_takes_no_more_than_there_is():
    values, allowed = np.array([3.0, 1.0, 2.0]), np.array([True, False, True])
    np.testing.assert_array_equal(lowest(values, allowed, 1), [False, False, True])
    np.testing.assert_array_equal(lowest(values, allowed, 9), allowed)
    np.testing.assert_array_equal(lowest(values, allowed, 0), np.zeros(3, bool))
    np.testing.assert_array_equal(lowest(values, ~allowed, 1), ~allowed)
    np.testing.assert_array_equal(lowest(values, np.zeros(3, bool), 1), np.zeros(3, bool))
