"""Testing over windows: every subset's own result, whatever is batched; in float64 but for the sums."""

from types import SimpleNamespace

import pytest
import torch

import backbones
from benchmark.evaluation import sliding_window as evaluate
from benchmark.evaluation.segment_case import segment_case
from benchmark.evaluation.sliding_window import pad_to, predict, window_starts
from datasets.studies.brats import BRATS2020
from datasets.vocabulary import subsets
from tests.passion.tiny_backbone import RegionBackbone
from tests.tiny_networks import CROPS, tiny

CPU = torch.device("cpu")
NAMES = ("flair", "t1ce", "t1", "t2")


@pytest.mark.parametrize(
    ("length", "window", "starts"),
    [(80, 80, [0]), (81, 80, [0, 1]), (120, 80, [0, 40]), (150, 80, [0, 40, 70]), (1, 1, [0])],
)
def test_windows_overlap_by_half_and_the_last_is_aligned_to_the_end(length, window, starts):
    assert window_starts(length, window) == starts


def test_small_volumes_are_padded_at_the_end_with_each_minimum():
    volumes = torch.arange(16.0).view(2, 2, 2, 2) - 3
    padded = pad_to(volumes, (2, 3, 4))
    assert padded.shape == (2, 2, 3, 4)
    assert torch.equal(padded[:, :, :2, :2], volumes)
    assert padded[0, 0, 2, 3] == -3
    assert padded[1, 1, 0, 3] == 5


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return backbones.create("rfnet", modalities=4, classes=4, width=2, crop=16).double()


def noise(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_one_window_equals_the_network_for_every_subset(net):
    volumes = noise(4, 16, 16, 16)
    maps = predict(net, volumes, subsets(NAMES), NAMES, 16, CPU)
    assert maps.shape == (15, 16, 16, 16)
    net.eval()
    with torch.no_grad():
        for subset, found in zip(subsets(NAMES), maps, strict=True):
            present = torch.tensor([[m in subset for m in NAMES]])
            assert torch.equal(net(volumes[None], present).argmax(dim=1)[0].to(torch.uint8), found)


def test_overlapping_windows_are_averaged(net):
    volumes = noise(4, 24, 16, 16)
    net.eval()
    total = torch.zeros(4, 24, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        for start in (0, 8):
            logits = net(volumes[None, :, start : start + 16], torch.ones(1, 4, dtype=torch.bool))
            total[:, start : start + 16] += logits.softmax(dim=1)[0]
    found = predict(net, volumes, [NAMES], NAMES, 16, CPU)
    assert torch.equal(found[0], total.argmax(dim=0).to(torch.uint8))


@pytest.mark.parametrize("name", list(backbones.BACKBONES))
def test_outside_a_subset_poor_volumes_take_the_place_of_absent_ones(name):
    torch.manual_seed(0)
    crop = CROPS.get(name, 32)
    net = backbones.create(name, modalities=4, classes=4, crop=crop, **tiny(name)).double().eval()
    volumes, poor = noise(4, crop + 8, crop, crop), noise(4, crop + 8, crop, crop, seed=2)
    chosen = [("flair",), ("t1ce", "t1"), NAMES[:3]]
    maps = predict(net, volumes, chosen, NAMES, crop, CPU, poor)
    for subset, found in zip(chosen, maps, strict=True):
        shown = torch.stack([(volumes if m in subset else poor)[i] for i, m in enumerate(NAMES)])
        # In no subset is t2, so it is absent.
        (expected,) = predict(net, shown, [NAMES[:3]], NAMES, crop, CPU)
        assert torch.equal(found, expected)
    if name != "gaussian":  # which finds nothing before it is fitted
        assert not torch.equal(maps, predict(net, volumes, chosen, NAMES, crop, CPU))
    same = predict(net, volumes, chosen, NAMES, crop, CPU, volumes)
    assert torch.equal(same, same[-1:].expand_as(same))


def test_mode_is_left_as_it_was_and_the_output_has_the_volume_size(net):
    net.train()
    maps = predict(net, noise(4, 9, 20, 16), [("t2",)], NAMES, 16, CPU)
    assert net.training
    assert maps.shape == (1, 9, 20, 16)


def test_windows_may_have_an_edge_an_axis(net):
    volumes = noise(4, 16, 32, 40)
    sums = evaluate.class_sums(net, volumes, [NAMES], NAMES, (16, 32, 16), CPU)
    assert evaluate.count_windows(volumes.shape[1:], (16, 32, 16), 3) == 4
    assert torch.equal(sums.sum(dim=1)[0, 0, 0].round().int(), torch.tensor([1] * 8 + [2] * 24 + [1] * 8))
    flat = evaluate.count_windows((40, 32, 7), (16, 32), 2)
    assert flat == 4 * 7


def test_a_batch_that_memory_does_not_hold_is_halved(net, monkeypatch):
    volumes, chosen = noise(4, 24, 16, 16), subsets(NAMES)[:7]
    expected = evaluate.class_sums(net, volumes, chosen, NAMES, 16, CPU)
    fuse, sizes = net.fuse, []

    def small_memory(features, present, case):
        sizes.append(len(present))
        if len(present) > 2:
            raise torch.OutOfMemoryError
        return fuse(features, present, case)

    monkeypatch.setattr(net, "fuse", small_memory)
    monkeypatch.setattr(evaluate, "ROWS_AT_ONCE", 5)
    found = evaluate.class_sums(net, volumes, chosen, NAMES, 16, CPU)
    assert sizes == [5, 2, 2, 2, 1, 2, 2, 2, 1]
    torch.testing.assert_close(found, expected)


def test_windows_that_memory_does_not_hold_are_encoded_fewer_at_a_time(net, monkeypatch):
    volumes, chosen = noise(4, 40, 16, 16), subsets(NAMES)[:2]
    expected = evaluate.class_sums(net, volumes, chosen, NAMES, 16, CPU)
    encode, sizes, most = net.encode, [], 1

    def small_memory(crops, available):
        sizes.append(len(crops))
        if len(crops) > most:
            raise torch.OutOfMemoryError
        return encode(crops, available)

    monkeypatch.setattr(net, "encode", small_memory)
    monkeypatch.setattr(evaluate, "_batch_sizes", lambda *_: (6, 3))
    found = evaluate.class_sums(net, volumes, chosen, NAMES, 16, CPU)
    assert sizes == [3, 1, 1, 1, 1]
    torch.testing.assert_close(found, expected)
    most = 0
    with pytest.raises(torch.OutOfMemoryError):
        evaluate.class_sums(net, volumes, chosen, NAMES, 16, CPU)


def test_windows_whose_features_leave_no_memory_for_a_row_are_encoded_fewer_at_a_time(net, monkeypatch):
    volumes, chosen = noise(4, 40, 16, 16), subsets(NAMES)[:2]
    expected = evaluate.class_sums(net, volumes, chosen, NAMES, 16, CPU)
    fuse, failed = net.fuse, []

    def small_memory(features, present, case):
        if len(features.available) > 1 and case.max() > 0:  # the first window's rows are found, then it fails
            failed.append(len(present))
            raise torch.OutOfMemoryError
        return fuse(features, present, case)

    monkeypatch.setattr(net, "fuse", small_memory)
    monkeypatch.setattr(evaluate, "_batch_sizes", lambda *_: (2, 3))
    found = evaluate.class_sums(net, volumes, chosen, NAMES, 16, CPU)
    assert failed == [2, 1]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", list(backbones.BACKBONES))
def test_rows_of_several_windows_are_those_of_each(name):
    torch.manual_seed(0)
    crop = CROPS.get(name, 32)
    net = backbones.create(name, modalities=4, classes=4, crop=crop, **tiny(name)).double().eval()
    volumes = noise(2, 4, crop, crop, crop)
    present = torch.tensor([[True, False, False, True], [True, True, True, True]])
    features = net.encode(volumes, torch.ones(2, 4, dtype=torch.bool))
    found = evaluate._probabilities(net, features, present, False, torch.arange(4))
    for row, one in enumerate(found):
        window, subset = divmod(row, 2)
        expected = net(volumes[window : window + 1], present[subset : subset + 1])
        torch.testing.assert_close(one, net.heads.probabilities(expected)[0])


def test_a_row_that_no_memory_holds_is_an_error(net, monkeypatch):
    def no_memory(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(net, "fuse", no_memory)
    with pytest.raises(torch.OutOfMemoryError):
        predict(net, noise(4, 16, 16, 16), [NAMES], NAMES, 16, CPU)


def test_regions_are_averaged_over_windows_and_decided_at_a_half():
    net = RegionBackbone().double().eval()
    volumes, chosen = 4 * noise(4, 24, 16, 16), [("flair", "t1ce"), ("t2",)]
    expected = torch.zeros(2, 3, 24, 16, 16, dtype=torch.float64)
    present = torch.tensor([[name in subset for name in NAMES] for subset in chosen])
    with torch.no_grad():
        for start in (0, 8):
            window = volumes[None, :, start : start + 16].expand(2, -1, -1, -1, -1)
            expected[:, :, start : start + 16] += net(window, present).sigmoid()
    expected[:, :, 8:16] /= 2
    maps = predict(net, volumes, chosen, NAMES, 16, CPU).long()
    sums = evaluate.class_sums(net, volumes, chosen, NAMES, 16, CPU)
    assert torch.equal(sums.argmax(dim=1), maps)
    torch.testing.assert_close(sums.sum(dim=1), torch.ones(2, 24, 16, 16))
    whole, core, enhancing = (expected > 0.5).unbind(dim=1)
    decided = torch.where(enhancing, 3, torch.where(core, 1, torch.where(whole, 2, 0)))
    assert (decided == maps).double().mean() > 0.999  # sums are in single precision
    assert len(maps.unique()) == 4


def test_a_dedicated_network_gives_its_subset_alone(net):
    store = SimpleNamespace(
        description=BRATS2020,
        available=lambda case: (True,) * 4,
        volumes=lambda case: noise(4, 16, 16, 16).numpy(),
    )
    asked = {"window": 16, "device": CPU, "dedicated": ("flair", "t2")}
    maps = segment_case(net, store, "case", **asked).maps
    assert list(maps) == ["flair+t2"]
    whole = predict(net, noise(4, 16, 16, 16), [("flair", "t2")], NAMES, 16, CPU)
    assert torch.equal(torch.from_numpy(maps["flair+t2"]), whole[0])
