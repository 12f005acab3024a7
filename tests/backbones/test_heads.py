"""Output channels: classes under a softmax, or regions that overlap."""

import pytest
import torch

from backbones.heads import Heads

NESTED = Heads(4, ((1, 2, 3), (1, 3), (3,)))  # WT, TC, ET; class 1 is the core's rest, 2 the oedema


def voxels(*probabilities: tuple[float, ...]) -> torch.Tensor:
    """One row [1, channels, voxels, 1, 1]."""
    return torch.tensor(probabilities, dtype=torch.float64).T[None, :, :, None, None]


def test_channels_and_members_of_classes_and_regions() -> None:
    index = torch.tensor([0, 1, 2, 3])
    assert Heads(4).channels == 4
    assert Heads(4).members(index).equal(torch.eye(4).bool())
    assert NESTED.channels == 3
    assert NESTED.members(index).int().tolist() == [[0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]]


def test_probabilities_are_those_of_a_softmax_or_of_sigmoids() -> None:
    logits = torch.tensor([[0.0, 2.0, -2.0]]).double()
    torch.testing.assert_close(Heads(3).probabilities(logits, 2.0), (logits / 2).softmax(dim=1))
    p = NESTED.probabilities(logits)
    torch.testing.assert_close(p, logits.sigmoid())
    assert NESTED.outcomes(p).sum().item() == pytest.approx(3)  # each region and its complement
    assert NESTED.probabilities(logits.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    ("region", "label"),
    [
        ((0.4, 0.3, 0.2), 0),
        ((0.6, 0.3, 0.2), 2),
        ((0.9, 0.8, 0.1), 1),
        ((0.9, 0.8, 0.7), 3),
        ((0.6, 0.45, 0.45), 2),  # the product of the regions alone would say 3
        ((0.1, 0.6, 0.2), 1),  # a core outside the tumour is a core
    ],
)
def test_the_last_region_above_a_half_decides(region: tuple[float, ...], label: int) -> None:
    classes = NESTED.class_probabilities(voxels(region))
    assert classes.shape == (1, 4, 1, 1, 1)
    assert classes.argmax(dim=1).item() == label
    assert classes.sum().item() == pytest.approx(1)


def test_the_share_of_a_class_is_that_its_region_holds_and_no_later_one() -> None:
    found = NESTED.class_probabilities(voxels((0.9, 0.8, 0.7))).flatten().tolist()
    assert found == pytest.approx([0.1 * 0.2 * 0.3, 0.8 * 0.3, 0.9 * 0.2 * 0.3, 0.7])


def test_a_region_of_classes_that_no_other_tells_apart_is_its_first() -> None:
    heads = Heads(6, ((2,), (3,), (1, 4, 5)))  # LVB, RVB, MYO of MyoPS
    assert heads.class_probabilities(voxels((0.1, 0.2, 0.9))).argmax(dim=1).item() == 1
    halves = Heads(3, ((1, 2), (1,), (2,)))
    assert halves.class_probabilities(voxels((0.9, 0.1, 0.1))).argmax(dim=1).item() == 1


@pytest.mark.parametrize("heads", [NESTED, Heads(4, ((1, 2), (2, 3))), Heads(4, ((1, 2), (2, 3), (1, 3)))])
def test_every_class_is_decided_where_its_own_regions_hold(heads: Heads) -> None:
    members = heads.members(torch.arange(heads.classes))
    p = torch.where(members, 0.95, 0.05)[None, :, :, None, None]
    assert heads.class_probabilities(p).argmax(dim=1).flatten().tolist() == list(range(heads.classes))


def test_classes_pass_as_they_are() -> None:
    p = torch.rand(2, 4, 3, 3, 3)
    assert Heads(4).class_probabilities(p) is p
    assert Heads(4).outcomes(p) is p
