"""Each metric on two masks: shapes whose values are known, other libraries, empty masks."""

import math
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import surface_distance
from mask_shapes import ball, blob, box
from monai.metrics.utils import get_surface_distance
from scipy import ndimage

from bench_errors import InputError
from benchmark.evaluation.metrics import METRICS, POLICIES, Metric, Scoring, find_policy, score_masks
from benchmark.evaluation.metrics.comparison import Comparison, Reference
from benchmark.evaluation.metrics.policies import OLD_NAMES

UNIT = (1.0, 1.0, 1.0)
PASSION = POLICIES["passion"]
SPACINGS = [UNIT, (0.5, 1.0, 3.0), (0.9375, 0.9375, 1.2)]
MASKED = [name for name, metric in METRICS.items() if not metric.of_probabilities]


def value(metric, prediction, reference, spacing=UNIT, policy="passion"):
    return score_masks(metric, prediction, reference, POLICIES[policy], spacing)


dice, hd95, nsd = (partial(value, name) for name in ("dice", "hd95", "nsd"))


def test_dice_of_boxes():
    one, other = box((5, 5, 5), (15, 15, 15)), box((9, 5, 5), (19, 15, 15))
    assert dice(one, one) == pytest.approx(1.0, abs=1e-12)
    assert dice(one, other) == pytest.approx(0.6, abs=1e-9)
    assert dice(one, box((20, 20, 20), (22, 22, 22))) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parallel_planes_are_as_far_apart_as_they_are(spacing, axis):
    one, other = np.zeros((2, 20, 20, 20), dtype=bool)
    one[(slice(None),) * axis + (4,)] = True
    other[(slice(None),) * axis + (11,)] = True
    assert hd95(one, other, spacing) == pytest.approx(7 * spacing[axis])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.2, 1.0, 0.1), (0.25, 5.0, 1 / 3)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_nsd_of_a_face_that_is_moved(spacing, axis):
    mask = box((2, 2, 2), (12, 12, 12))
    steps = round(1.0 / spacing[axis])
    for moved, near in ((steps, True), (steps + 1, False)):
        other = mask | np.roll(mask, moved, axis)
        assert (nsd(other, mask, spacing) == 1.0) == (near and steps * spacing[axis] <= 1 + 1e-9)


def test_a_thin_box_that_is_moved():
    # 1 x 20 rows, moved by 5 along themselves: 15 of 20 voxels lie on the other, 5 at 1 to 5 mm, both ways.
    one, other = box((3, 3, 2), (4, 4, 22)), box((3, 3, 7), (4, 4, 27))
    pooled = [0] * 30 + [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert hd95(one, other) == pytest.approx(np.percentile(pooled, 95))


def test_both_directions_are_pooled():
    # One far voxel among 100: 1 of 201 distances, so the pooled 95th percentile is 0, not the directed 30.
    plane = box((0, 0, 0), (1, 10, 10), (40, 10, 10))
    far = plane.copy()
    far[30, 5, 5] = True
    assert hd95(far, plane) == 0.0
    # A reference with a part that is missed: 100 of 300 distances are 30.
    missed = plane.copy()
    missed[30] = True
    assert hd95(plane, missed) == pytest.approx(30.0)


def test_concentric_balls():
    assert hd95(ball((20, 20, 20), 14), ball((20, 20, 20), 9)) == pytest.approx(5.0, abs=0.6)
    assert hd95(ball((20, 20, 20), 14), ball((20, 20, 20), 9), (2, 2, 2)) == pytest.approx(10, abs=1.2)


def test_voxels_on_the_image_border_are_surface():
    whole = np.ones((9, 9, 9), dtype=bool)
    inner = box((2, 2, 2), (7, 7, 7), (9, 9, 9))
    # Were the border no surface, the whole image would have none.
    assert 2.0 <= hd95(whole, inner) <= 12**0.5
    assert nsd(whole, whole) == 1.0
    assert nsd(whole, inner) == 0.0


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_hd95_and_dice_are_equal_to_independent_libraries(seed, spacing):
    one, other = blob(seed), blob(seed + 10, radius=10)
    edges = [m & ~ndimage.binary_erosion(m) for m in (one, other)]
    pooled = np.concatenate(
        [get_surface_distance(*pair, spacing=spacing) for pair in (edges, edges[::-1])]  # MONAI
    )
    assert hd95(one, other, spacing) == pytest.approx(np.percentile(pooled, 95), rel=1e-6)
    assert dice(one, other) == pytest.approx(surface_distance.compute_dice_coefficient(other, one), abs=1e-9)


def speckle(seed, dims):
    return np.random.default_rng(seed).random((14, 17, 12)[:dims]) > 0.7


@pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("draw", [lambda seed, dims: blob(seed)[(..., 20)[: 4 - dims]], speckle])
def test_nsd_is_that_of_deepminds_library(draw, dims, spacing):
    one, other = draw(1, dims), draw(2, dims)
    theirs = surface_distance.compute_surface_distances(other, one, spacing[:dims])
    expected = surface_distance.compute_surface_dice_at_tolerance(theirs, 1.0)
    assert 0 < expected < 1
    assert nsd(one, other, spacing[:dims]) == pytest.approx(expected, abs=1e-12)


def test_nsd_goes_by_area_not_by_number():
    # Two plates of 10x10 voxels: the faces of one are 100 mm² each, those of the other 10 mm².
    large, small = box((2, 2, 2), (12, 12, 3)), box((2, 28, 5), (12, 29, 15))
    assert nsd(large, large | small, (1.0, 1.0, 0.1)) == pytest.approx(400 / 420, abs=0.05)
    edges = [m & ~ndimage.binary_erosion(m) for m in (large, large | small)]
    assert 2 * edges[0].sum() / (edges[0].sum() + edges[1].sum()) == pytest.approx(2 / 3)


@pytest.mark.parametrize("policy", ["passion", "brats-2022", "brats-2023", "diagonal"])
def test_volume_error_is_in_millilitres(policy):
    one, other = box((0, 0, 0), (10, 10, 10)), box((5, 5, 5), (25, 15, 15))
    assert value("volume_error", one, other, (1.0, 0.5, 3.0), policy) == pytest.approx(1.5)
    assert value("volume_error", other, one, (1.0, 0.5, 3.0), policy) == pytest.approx(1.5)


def test_false_positives_are_components_that_touch_nothing():
    reference = box((10, 10, 10), (14, 14, 14))
    one_voxel = box((13, 13, 13), (14, 14, 14))
    beside = box((16, 10, 10), (17, 14, 14))  # 3 voxels from the last of the reference: 2 lie between
    far = box((0, 0, 0), (2, 2, 2)) | box((2, 2, 2), (3, 3, 3))  # joined at a corner
    prediction = one_voxel | beside | far | box((25, 25, 25), (26, 26, 26))
    assert value("false_positives", prediction, reference) == 3
    assert value("false_positives", prediction, reference, policy="brats-2023") == 2
    assert value("false_positives", prediction & False, reference) == 0
    assert value("false_positives", prediction, reference & False) == 4


HALF = {"dice": 0.0, "nsd": 0.0, "volume_error": 0.064}


@pytest.mark.parametrize(
    ("policy", "one_empty"),
    [
        ("passion", 1.0),
        ("brats-2022", 373.13),
        ("brats-2023", 374.0),
        ("diagonal", (60**2 + 30**2 + 15**2) ** 0.5),
    ],
)
@pytest.mark.parametrize("metric", MASKED)
def test_empty_masks(metric, policy, one_empty):
    empty, full = np.zeros((30, 30, 30), dtype=bool), box((5, 5, 5), (9, 9, 9))
    spacing = (2.0, 1.0, 0.5)
    score = partial(value, metric, spacing=spacing, policy=policy)
    worst = {**HALF, "hd95": one_empty}
    assert score(empty, empty) == (1.0 if METRICS[metric].higher_is_better else 0.0)
    assert score(empty, full) == pytest.approx({**worst, "false_positives": 0}[metric], abs=1e-9)
    assert score(full, empty) == pytest.approx({**worst, "false_positives": 1}[metric], abs=1e-9)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("metric", MASKED)
def test_a_mask_beside_itself(metric, policy):
    mask = blob(3)
    best = 1.0 if METRICS[metric].higher_is_better else 0.0
    assert value(metric, mask, mask, (0.5, 1, 3), policy) == pytest.approx(best)


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_a_metric_says_how_to_read_it(metric: Metric):
    assert metric.title
    assert metric.unit in ("", "mm", "mL", "per case")
    sentences = {metric.rule(policy) for policy in POLICIES.values()}
    assert all(metric.title.split(" ")[-1].lower() in s.lower() or "NSD" in s for s in sentences)


def test_what_stands_under_a_table():
    assert "0 where both masks are empty, 1.0 mm where exactly one is" in text("passion")
    assert "373.13 mm where exactly one is" in text("brats-2022")
    assert "the image's diagonal where exactly one is" in text("diagonal")
    assert "more than 50 mm³" in text("brats-2023")
    assert "374.0 mm for each lesion missed" in text("brats-2023")
    assert text("passion", dims=2).endswith("Slices are scored by themselves and averaged.")
    assert text("passion", 2, slices="per-volume").endswith("Cases are scored as volumes.")
    assert "those without the region left out" in text("passion", 2, empty_slices="skip")


def text(policy, dims=3, **options):
    return Scoring(POLICIES[policy], **options).conditions(dims)["text"]


def test_runs_that_are_scored_alike_record_the_same():
    usual = Scoring(PASSION).conditions(2)
    assert usual["policy"] == "passion"
    assert "slices" not in usual
    assert Scoring(PASSION, slices="per-volume").conditions(2)["slices"] == "per volume"
    assert Scoring(PASSION, slices="per-volume").conditions(3) == Scoring(PASSION).conditions(3)
    assert Scoring(PASSION, empty_slices="skip").conditions(2)["slices"] == "without empty slices"


def test_names_of_before_are_understood():
    assert OLD_NAMES == {"brats": "brats-2022", "nan-free": "diagonal"}
    assert find_policy("brats").one_empty == 373.13
    assert find_policy("brats-2022").name == find_policy("brats").name
    with pytest.raises(InputError, match=r"metric policy 'brats-2024'.*brats-2023"):
        find_policy("brats-2024")


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (("dice", "hd59"), r"metric 'hd59'.*hd95"),
        ((), "found the metrics none"),
        (("dice", "nsd", "dice"), "found the metrics dice, nsd, dice, expected one or more, each once"),
    ],
)
def test_metrics_that_cannot_be_computed_are_refused(metrics, message):
    with pytest.raises(InputError, match=message):
        Scoring(PASSION, metrics)


def calibration(confidence, inside):
    """The definition, bin by bin, as HGA's `test_ece_softmax` has it."""
    total = 0.0
    for low, high in zip(np.linspace(0, 1, 21)[:-1], np.linspace(0, 1, 21)[1:], strict=True):
        chosen = (confidence > low) & (confidence <= high)
        if chosen.any():
            total += abs(inside[chosen].mean() - confidence[chosen].mean()) * chosen.sum()
    return total / len(inside)


def ece(confidence, inside):
    reference = Reference(np.zeros((2, 2, 2), dtype=bool), UNIT, PASSION)
    return METRICS["ece"].score(Comparison(reference.mask, reference, confidence, inside))


def test_calibration_error():
    random = np.random.default_rng(0)
    confidence = random.beta(0.4, 0.4, 5000)
    confidence[:40] = np.repeat([0.0, 0.05, 0.5, 1.0], 10)
    for inside in (random.random(5000) < confidence, random.random(5000) < confidence**3):
        assert ece(confidence, inside) == pytest.approx(calibration(confidence, inside), abs=1e-12)
    assert ece(np.array([0.9] * 10), np.arange(10) < 9) == pytest.approx(0.0, abs=1e-12)
    assert ece(np.array([0.9] * 10), np.arange(10) < 0) == pytest.approx(0.9)
    assert math.isnan(ece(np.zeros(0), np.zeros(0, dtype=bool)))


def test_a_metric_of_probabilities_says_so_where_there_are_none():
    mask = box((1, 1, 1), (3, 3, 3))
    with pytest.raises(ValueError, match="needs probabilities"):
        value("ece", mask, mask)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shape"):
        dice(np.zeros((2, 3)), np.zeros((3, 2)))


def test_metrics_start_without_torch():
    code = "import sys, benchmark.evaluation.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_surfaces_where_the_processor_flushes_denormal_numbers():
    code = (
        "import numpy as np, torch; torch.set_flush_denormal(True)\n"
        "from benchmark.evaluation.metrics import POLICIES, score_masks\n"
        "mask = np.random.default_rng(0).random((20, 20, 20)) < 0.3\n"
        "mask[0] = True\n"
        "for policy in ('passion', 'brats-2023'):\n"
        "    print(score_masks('hd95', mask, mask, POLICIES[policy], (1.0, 1.0, 1.0)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.split()) == (0, ["0.0", "0.0"])
