import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import surface_distance
from monai.metrics.utils import get_surface_distance
from scipy import ndimage
from scipy.spatial import cKDTree

from benchmark.evaluation.metrics import METRICS, POLICIES, dice, hd95, score_case, surface_dice
from benchmark.evaluation.surface_distances import nearest
from datasets.studies.brats import BRATS2020
from datasets.vocabulary import Region

UNIT = (1.0, 1.0, 1.0)
PASSION = POLICIES["passion"]
INDICES = np.indices((40, 40, 40))


def ball(centre, radius):
    return ((INDICES - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2


def box(start, stop, shape=(30, 30, 30)):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def blob(seed, radius=9.0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(40, 40, 40)), 2)
    return np.sqrt(((INDICES - 19.5) ** 2).sum(axis=0)) + 60 * noise < radius


def test_dice_of_boxes():
    one, other = box((5, 5, 5), (15, 15, 15)), box((9, 5, 5), (19, 15, 15))
    assert dice(one, one) == pytest.approx(1.0, abs=1e-12)
    assert dice(one, other) == pytest.approx(0.6, abs=1e-9)
    assert dice(one, box((20, 20, 20), (22, 22, 22))) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("spacing", [UNIT, (0.5, 1.0, 3.0)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parallel_planes_are_as_far_apart_as_they_are(spacing, axis):
    one, other = np.zeros((2, 20, 20, 20), dtype=bool)
    one[(slice(None),) * axis + (4,)] = True
    other[(slice(None),) * axis + (11,)] = True
    distance = 7 * spacing[axis]
    assert hd95(one, other, PASSION, spacing) == pytest.approx(distance)
    assert surface_dice(one, other, distance, spacing) == 1.0
    assert surface_dice(one, other, distance - 0.01, spacing) == 0.0


def test_a_thin_box_that_is_moved():
    # 1 x 20 rows, moved by 5 along themselves: 15 of 20 voxels lie on the other, 5 at 1 to 5 mm, both ways.
    one, other = box((3, 3, 2), (4, 4, 22)), box((3, 3, 7), (4, 4, 27))
    pooled = [0] * 30 + [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert hd95(one, other, PASSION, UNIT) == pytest.approx(np.percentile(pooled, 95))
    assert surface_dice(one, other, 2.0, UNIT) == pytest.approx(34 / 40)


def test_both_directions_are_pooled():
    # One far voxel among 100: 1 of 201 distances, so the pooled 95th percentile is 0, not the directed 30.
    plane = box((0, 0, 0), (1, 10, 10), (40, 10, 10))
    far = plane.copy()
    far[30, 5, 5] = True
    assert hd95(far, plane, PASSION, UNIT) == 0.0
    # A reference with a part that is missed: 100 of 300 distances are 30.
    missed = plane.copy()
    missed[30] = True
    assert hd95(plane, missed, PASSION, UNIT) == pytest.approx(30.0)


def test_concentric_balls():
    assert hd95(ball((20, 20, 20), 14), ball((20, 20, 20), 9), PASSION, UNIT) == pytest.approx(5.0, abs=0.6)
    assert hd95(ball((20, 20, 20), 14), ball((20, 20, 20), 9), PASSION, (2, 2, 2)) == pytest.approx(
        10, abs=1.2
    )


def test_voxels_on_the_image_border_are_surface():
    whole = np.ones((9, 9, 9), dtype=bool)
    inner = box((2, 2, 2), (7, 7, 7), (9, 9, 9))
    # Were the border no surface, the whole image would have none.
    assert 2.0 <= hd95(whole, inner, PASSION, UNIT) <= 12**0.5


@pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")
@pytest.mark.parametrize("spacing", [UNIT, (1.0, 2.0, 0.5)])
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_independent_libraries(seed, spacing):
    one, other = blob(seed), blob(seed + 10, radius=10)
    edges = [m & ~ndimage.binary_erosion(m) for m in (one, other)]
    pooled = np.concatenate(
        [get_surface_distance(*pair, spacing=spacing) for pair in (edges, edges[::-1])]  # MONAI
    )
    assert hd95(one, other, PASSION, spacing) == pytest.approx(np.percentile(pooled, 95), rel=1e-6)
    # The tolerance is no distance that occurs, so rounding decides nothing.
    assert surface_dice(one, other, 1.7, spacing) == pytest.approx((pooled <= 1.7).mean(), abs=1e-9)
    assert dice(one, other) == pytest.approx(surface_distance.compute_dice_coefficient(other, one), abs=1e-9)
    # DeepMind's library has its surfaces between the voxels and takes the worse of the two directions.
    surfaces = surface_distance.compute_surface_distances(other, one, spacing)
    theirs = surface_distance.compute_robust_hausdorff(surfaces, 95)
    assert hd95(one, other, PASSION, spacing) == pytest.approx(theirs, abs=max(spacing))
    theirs = surface_distance.compute_surface_dice_at_tolerance(surfaces, 1.7)
    assert surface_dice(one, other, 1.7, spacing) == pytest.approx(theirs, abs=0.1)


@pytest.mark.parametrize(
    ("policy", "one_empty"),
    [("passion", 1.0), ("brats", 373.13), ("nan-free", (60**2 + 30**2 + 15**2) ** 0.5)],
)
def test_empty_masks(policy, one_empty):
    empty, full = np.zeros((30, 30, 30), dtype=bool), box((5, 5, 5), (9, 9, 9))
    spacing = (2.0, 1.0, 0.5)
    assert hd95(empty, empty, POLICIES[policy], spacing) == 0.0
    assert hd95(full, empty, POLICIES[policy], spacing) == pytest.approx(one_empty)
    assert hd95(empty, full, POLICIES[policy], spacing) == pytest.approx(one_empty)
    assert dice(empty, empty) == 1.0
    assert dice(full, empty) == pytest.approx(0.0, abs=1e-9)
    assert surface_dice(empty, empty, 1, spacing) == 1.0
    assert surface_dice(empty, full, 1, spacing) == surface_dice(full, empty, 1, spacing) == 0.0


def test_what_stands_under_a_table():
    assert "exactly one empty has Dice 0 and HD95 1.0 mm" in PASSION.text
    assert "373.13 mm" in POLICIES["brats"].text
    assert "diagonal" in POLICIES["nan-free"].text
    assert METRICS["dice"].higher_is_better
    assert not METRICS["hd95"].higher_is_better
    assert METRICS["hd95"].unit == "mm"


def class_map(seed):
    outer, inner = blob(seed, 12.0), blob(seed + 20, 7.0)
    labels = np.zeros((40, 40, 40), dtype=np.uint8)
    labels[outer] = 2
    labels[inner] = 1
    labels[blob(seed, 4.0)] = 3
    return labels


def test_a_case_scores_as_its_masks_do():
    reference = class_map(1)
    predictions = [("flair", class_map(2)), ("t2", class_map(3)), ("t1", np.zeros_like(reference))]
    regions = BRATS2020.regions
    names = tuple(METRICS)
    rows = score_case(iter(predictions), reference, regions, PASSION, (1, 2, 1), metrics=names)
    assert [row[:3] for row in rows[:4]] == [
        ("flair", "WT", "dice"),
        ("flair", "WT", "hd95"),
        ("flair", "WT", "surface_dice"),
        ("flair", "TC", "dice"),
    ]
    assert len(rows) == 3 * 4 * 3
    for name, region_name, metric, value in rows:
        prediction = dict(predictions)[name]
        region = next(r for r in regions if r.name == region_name)
        truth, mask = np.isin(reference, region.classes), np.isin(prediction, region.classes)
        if mask.sum() < region.min_voxels:
            mask[:] = False
        expected = {
            "dice": lambda m, t: dice(m, t),
            "hd95": lambda m, t: hd95(m, t, PASSION, (1, 2, 1)),
            "surface_dice": lambda m, t: surface_dice(m, t, 1.0, (1, 2, 1)),
        }[metric]
        assert value == expected(mask, truth)


@pytest.mark.parametrize(("voxels", "kept"), [(499, False), (500, True)])
def test_small_enhancing_tumours_are_emptied(voxels, kept):
    reference = np.zeros((20, 20, 20), dtype=np.uint8)
    reference.ravel()[:600] = 3
    prediction = np.zeros_like(reference)
    prediction.ravel()[:voxels] = 3
    rows = score_case([("t1ce", prediction)], reference, BRATS2020.regions[2:], PASSION, UNIT)
    values = {(region, metric): value for _, region, metric, value in rows}
    assert values["ET", "dice"] == pytest.approx(2 * voxels / (voxels + 600))
    if kept:
        assert values["ETpp", "dice"] == values["ET", "dice"]
        assert values["ETpp", "hd95"] == values["ET", "hd95"]
    else:
        assert values["ETpp", "dice"] == pytest.approx(0.0, abs=1e-9)
        assert values["ETpp", "hd95"] == 1.0


def test_slices_are_scored_by_themselves_and_averaged():
    reference, prediction = np.zeros((2, 12, 12, 3), dtype=np.uint8)
    reference[2:8, 2:8, 0] = prediction[4:10, 2:8, 0] = 2
    reference[5, 5, 1] = 2
    rows = score_case([("lge", prediction)], reference, [Region("LVB", (2,))], PASSION, UNIT, spatial_dims=2)
    moved = hd95(prediction[..., 0], reference[..., 0], PASSION, (1, 1))
    assert moved == pytest.approx(2.0)
    values = {metric: value for _, _, metric, value in rows}
    assert values["dice"] == pytest.approx((2 * 24 / 72 + 0 + 1) / 3)
    assert values["hd95"] == pytest.approx((moved + 1.0 + 0) / 3)


def test_an_empty_case():
    nothing = np.zeros((8, 8, 8), dtype=np.uint8)
    rows = score_case([("t1", nothing)], nothing, BRATS2020.regions, POLICIES["nan-free"], UNIT)
    assert {(metric, value) for _, _, metric, value in rows} == {("dice", 1.0), ("hd95", 0.0)}


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shape"):
        dice(np.zeros((2, 3)), np.zeros((3, 2)))


def test_metrics_start_without_torch():
    code = "import sys, benchmark.evaluation.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_hd95_where_the_processor_flushes_denormal_numbers():
    code = (
        "import numpy as np, torch; torch.set_flush_denormal(True)\n"
        "from benchmark.evaluation.metrics import POLICIES, hd95\n"
        "mask = np.random.default_rng(0).random((30, 30, 30)) < 0.3\n"
        "mask[0] = True\n"
        "print(hd95(mask, mask, POLICIES['passion'], (1.0, 1.0, 1.0)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.strip()) == (0, "0.0")


@pytest.mark.parametrize("pairs", [1, 300, 2**24])
def test_surfaces_compared_point_by_point_are_as_far_apart_as_by_trees(pairs, monkeypatch):
    monkeypatch.setattr("benchmark.evaluation.surface_distances.PAIRS_AT_ONCE", pairs)
    first, second = (np.argwhere(blob(seed)) * (0.5, 1.0, 3.0) for seed in (1, 2))
    first, second = first[::40], second[::50]
    expected = [cKDTree(b).query(a)[0] for a, b in ((first, second), (second, first))]
    np.testing.assert_allclose(nearest(first, second, "cpu"), np.concatenate(expected), rtol=1e-14)


def test_a_case_scored_by_comparing_points_has_the_same_values():
    reference = blob(1, 12).astype(np.uint8) + blob(1, 8) + blob(1, 5)
    maps = [("t1", blob(2, 12).astype(np.uint8) + blob(2, 8)), ("t2", np.zeros_like(reference))]
    arguments = maps, reference, BRATS2020.regions, PASSION, (0.5, 1.0, 3.0)
    rows, expected = (score_case(*arguments, nearest=f) for f in (partial(nearest, device="cpu"), None))
    assert [row[:3] for row in rows] == [row[:3] for row in expected]
    np.testing.assert_allclose([row[3] for row in rows], [row[3] for row in expected], rtol=1e-12)
