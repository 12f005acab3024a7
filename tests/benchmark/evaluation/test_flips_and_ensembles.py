"""The mean over flips and over networks: by hand, and where it must change nothing; in float64."""

from itertools import product

import pytest
import torch

import backbones
from backbones.contract import Backbone, Features, Fused
from benchmark.evaluation.sliding_window import AS_IT_IS, averaged, class_sums, flips_of, predict
from datasets.vocabulary import subsets

CPU = torch.device("cpu")
NAMES = ("one", "two")


class Symmetric(Backbone):
    """Of every voxel and of its neighbours on both sides: it commutes with flips."""

    has_unimodal = False

    def __init__(self, spatial_dims=3):
        super().__init__(2, 3, spatial_dims)
        self.weights = torch.tensor([[1.0, -2.0], [3.0, 1.0], [-1.0, 2.0]], dtype=torch.float64)
        self.corners = []

    def encode(self, volumes, available):
        size = (3, 3, 3 if self.spatial_dims == 3 else 1)
        means = torch.nn.functional.avg_pool3d(volumes, size, 1, tuple(n // 2 for n in size))
        return Features([(volumes + means * available[..., None, None, None]).unsqueeze(2)], available)

    def encode_at(self, volumes, available, corners):
        self.corners += corners.tolist()
        return self.encode(volumes, available)

    def fuse(self, features, present, case):
        maps = features.levels[0].squeeze(2)[case] * present[..., None, None, None]
        logits = torch.einsum("cm,km...->kc...", self.weights, maps)
        return Fused(logits, [], logits)


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(("dims", "space"), [(3, (9, 4, 6)), (2, (9, 4, 3))])
def test_flips_change_nothing_of_a_symmetric_network(dims, space):
    net, volumes, chosen = Symmetric(dims), noise(2, *space), subsets(NAMES)
    plain = class_sums(net, volumes, chosen, NAMES, 4, CPU)
    number, net.corners = len(net.corners), []
    flipped = class_sums(net, volumes, chosen, NAMES, 4, CPU, flips=flips_of(net))
    torch.testing.assert_close(flipped, plain)
    assert len(net.corners) == number * 2**dims  # once a flip, whatever the subsets are
    first, last = torch.tensor(net.corners).unbind(1)
    assert ((last - first).abs()[:, :dims] == 3).all()
    assert ((first > last).sum(dim=0)[:dims] * 2 == len(net.corners)).all()


def test_the_mean_over_flips_by_hand():
    torch.manual_seed(0)
    net = backbones.create("rfnet", modalities=2, classes=3, width=2, crop=16).double().eval()
    volumes, present = noise(2, 16, 16, 16), torch.tensor([[True, False]])
    expected = torch.zeros(3, 16, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        for flips in product((False, True), repeat=3):
            axes = [axis for axis, flip in enumerate(flips) if flip]
            logits = net(volumes.flip([1 + axis for axis in axes])[None], present)[0]
            expected += logits.softmax(dim=0).flip([1 + axis for axis in axes]) / 8
    (found,) = class_sums(net, volumes, [NAMES[:1]], NAMES, 16, CPU, flips=flips_of(net))
    torch.testing.assert_close(found, expected.float())
    (classes,) = predict(net, volumes, [NAMES[:1]], NAMES, 16, CPU, flips=True)
    assert torch.equal(classes, found.argmax(dim=0).to(torch.uint8))
    each = [class_sums(net, volumes, [NAMES[:1]], NAMES, 16, CPU, flips=[flip])[0] for flip in flips_of(net)]
    torch.testing.assert_close(sum(each) / 8, found)
    assert not torch.allclose(each[0], each[1])
    assert flips_of(net, every=False) == [AS_IT_IS]


def test_networks_are_averaged_as_probabilities_and_one_is_as_it_is():
    sums = [noise(2, 3, 4, 4, 4).softmax(dim=1) * windows for windows in (1, 2, 4)]
    assert averaged(sums[:1]) is sums[0]
    torch.testing.assert_close(averaged([sums[0], sums[0]]) / 2, sums[0])
    expected = sums[0] + sums[1] / 2 + sums[2] / 4
    torch.testing.assert_close(averaged(iter(sums)), expected)
    torch.testing.assert_close(averaged([each[0] for each in sums]), expected[0])
