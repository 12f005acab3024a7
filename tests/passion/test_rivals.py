"""What the rivals add to the baseline, against their formulas written out."""

import math
from itertools import groupby
from typing import get_args

import pytest
import torch
from tiny_backbone import TinyBackbone, TinyBatch, create, tiny_batch
from torch import Tensor

from backbones.heads import Heads
from passion.losses import CaseLabels
from passion.objective import Losses, Objective, Tasks
from passion.rivals.dwa import DynamicWeightAverage, average_weights
from passion.rivals.gradnorm import GradNorm, norm_slope
from passion.rivals.gss import group_teacher
from passion.rivals.hga import Order
from passion.rivals.kd import Distillation
from passion.rivals.pcgrad import project
from passion.rivals.pmr import imbalance, prototype_scores
from passion.rivals.uncertainty import Uncertainty


def network() -> TinyBackbone:
    return TinyBackbone().double()


def step(objective: Objective, net: TinyBackbone, batch: TinyBatch) -> dict[str, Tensor]:
    """Return the gradient of each parameter that has one."""
    net.zero_grad()
    objective.backward(objective.loss(net, batch), list(net.parameters()))
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def test_moddrop_is_the_baseline_by_name() -> None:
    net, batch = network(), tiny_batch("1010", "0100")
    assert create("moddrop").options.policy == "idt_drop"
    torch.testing.assert_close(
        create("moddrop").loss(net, batch).total, create("baseline").loss(net, batch).total
    )


def test_uncertainty_divides_by_the_variance_and_pays_for_it() -> None:
    net, batch, objective = network(), tiny_batch("1100", "1000"), create("uncertainty")
    assert isinstance(objective, Uncertainty)
    s = torch.tensor([0.4, -0.2, 1.0, 3.0])
    objective.log_variance.data.copy_(s)
    losses = objective.loss(net, batch)
    t = losses.terms
    own = sum(math.exp(-s[m]) * t["sep"][m] + n * s[m] / 2 for m, n in enumerate([2, 1, 0, 0]))
    torch.testing.assert_close(losses.total, t["fuse"] + t["prm"] + own)
    objective.backward(losses, list(net.parameters()))
    expected = -torch.exp(-s) * t["sep"] + torch.tensor([2, 1, 0, 0]) / 2
    torch.testing.assert_close(objective.log_variance.grad, expected.float())


def test_uncertainty_at_rest_gives_the_weight_one_over_the_loss() -> None:
    """d/ds (exp(-s) L + s / 2) = 0 at exp(-s) = 1 / (2 L)."""
    objective = create("uncertainty")
    assert isinstance(objective, Uncertainty)
    sep = torch.tensor([0.5, 1.0, 2.0, 4.0])
    optimiser = torch.optim.Adam(objective.parameters(), lr=0.05)
    for _ in range(800):
        optimiser.zero_grad()
        objective.weigh(sep, torch.ones(1, 4, dtype=torch.bool)).backward()
        optimiser.step()
    changed = objective.end_epoch()
    assert changed is not None
    assert changed["weight"] == pytest.approx((1 / (2 * sep)).tolist(), rel=1e-3)


def test_dynamic_weights_follow_the_rate_of_descent() -> None:
    rate = torch.tensor([1.0, 0.5, math.nan, 0.8], dtype=torch.float64)
    known = [math.exp(r / 2) for r in (1.0, 0.5, 0.8)]
    expected = [3 * known[0] / sum(known), 3 * known[1] / sum(known), 1, 3 * known[2] / sum(known)]
    assert average_weights(rate, 2.0).tolist() == pytest.approx(expected)


def test_dynamic_weights_need_two_epochs_and_the_modality_in_both() -> None:
    net, objective = network(), create("dwa")
    assert isinstance(objective, DynamicWeightAverage)
    means = []
    for subsets in (("1110", "1100"), ("1011", "1000")):
        assert objective.weight.tolist() == [1, 1, 1, 1]
        losses = objective.loss(net, tiny_batch(*subsets, seed=len(means) + 1))
        means.append(losses.terms["sep"] / torch.tensor([s.count("1") for s in zip(*subsets, strict=True)]))
        objective.end_epoch()
    both = [0, 2]
    rate = means[1][both] / means[0][both]
    torch.testing.assert_close(objective.weight[both], 2 * torch.softmax(rate / 2, dim=0))
    assert objective.weight[[1, 3]].tolist() == [1, 1]
    losses = objective.loss(net, tiny_batch("1111"))
    t = losses.terms
    torch.testing.assert_close(losses.total, t["fuse"] + t["prm"] + (objective.weight * t["sep"]).sum())


def test_gradnorm_slope_is_that_of_its_loss() -> None:
    weight = torch.tensor([0.7, 1.4, 0.9, 1.0], dtype=torch.float64, requires_grad=True)
    norms, ratio = torch.tensor([3.0, 1.0, 2.0, 9.0]).double(), torch.tensor([0.5, 0.9, 0.7, 9.0]).double()
    shown = torch.tensor([True, True, True, False])
    size = (weight * norms)[shown]
    rate = ratio[shown] / ratio[shown].mean()
    loss = (size - (size.mean() * rate**1.5).detach()).abs().sum()
    (expected,) = torch.autograd.grad(loss, weight)
    torch.testing.assert_close(norm_slope(weight.detach(), norms, ratio, shown, 1.5), expected)


def test_gradnorm_gives_the_network_the_weighted_gradient() -> None:
    net, batch, objective = network(), tiny_batch("1110", "0010"), create("gradnorm")
    assert isinstance(objective, GradNorm)
    objective.theta.data.copy_(torch.tensor([0.5, -0.3, 0.1, 0.0]))
    losses = objective.loss(net, batch)
    t = losses.terms
    torch.testing.assert_close(
        losses.total, t["fuse"] + t["prm"] + (objective.weight * t["sep"]).sum(), rtol=1e-6, atol=0
    )
    losses.total.backward()
    expected = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    found = step(objective, net, batch)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])


def test_gradnorm_weights_move_towards_equal_gradients() -> None:
    """With alpha 0 the gradients of all modalities are to be equally large."""
    net, batch = network(), tiny_batch("1111")
    objective = create("gradnorm", alpha=0.0)
    assert isinstance(objective, GradNorm)
    with torch.no_grad():
        for p in net.encoders[0].parameters():
            p *= 20
    optimiser = torch.optim.SGD(objective.parameters(), lr=0.02)
    for _ in range(300):
        step(objective, net, batch)
        optimiser.step()
    shared = [p for p in net.unimodal_head.parameters()]
    sep = objective.loss(net, batch).tasks.own
    norms = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, shared, retain_graph=True)]).norm()
        for loss in sep
    ]
    sizes = objective.weight * torch.stack(norms)
    assert sizes.max() / sizes.min() < 1.1 < max(norms) / min(norms)
    assert objective.weight.sum().item() == pytest.approx(4, rel=1e-6)


def test_projection_removes_conflicts_alone() -> None:
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    # Each is projected onto the normal plane of the other: (1/2, 1/2) and (0, 1).
    torch.testing.assert_close(project(torch.stack((first, second))), torch.tensor([0.5, 1.5]))
    third = torch.tensor([2.0, 1.0])
    torch.testing.assert_close(project(torch.stack((first, third))), first + third)
    torch.testing.assert_close(project(torch.stack((first, torch.zeros(2)))), first)


def test_the_order_of_projections_is_torchs_random_order() -> None:
    gradients = torch.randn(6, 3, generator=torch.Generator().manual_seed(3))
    results = []
    for seed in (0, 0, 1, 2, 3):
        torch.manual_seed(seed)
        results.append(project(gradients))
    assert results[0].equal(results[1])
    assert not all(r.allclose(results[0]) for r in results)


def test_surgery_without_conflict_is_the_gradient_of_the_total() -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    own = torch.stack([parameter[0] * 3, parameter.sum()])
    shared = parameter[1] * 2
    tasks = Tasks(shared, own, torch.tensor([1, 1]))
    create("pcgrad").backward(Losses(shared + own.sum(), {}, tasks), [parameter])
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [4, 3]


def test_prototype_scores_against_the_formula_written_out() -> None:
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(2, 3, 10, generator=generator).double()
    target = torch.tensor([0, 0, 0, 2, 2, 2, 2, 3, 3, 0])  # class 1 is absent
    pce, score, distance = prototype_scores(features, CaseLabels(target, 4, torch.float64))
    for r in range(2):
        centres = {k: features[r, :, target == k].sum(1) / ((target == k).sum() + 1e-5) for k in (0, 2, 3)}
        own = []
        for v in range(10):
            near = {k: math.exp(-(features[r, :, v] - c).norm()) for k, c in centres.items()}
            own.append(near[int(target[v])] / sum(near.values()))
        assert score[r].item() == pytest.approx(sum(own) / 10)
        assert pce[r].item() == pytest.approx(-sum(math.log(max(p, 0.005)) for p in own) / 10)
        far = [(features[r, :, v] - centres[int(target[v])]).norm().item() for v in range(10)]
        assert distance[r].item() == pytest.approx(sum(far) / 10)


def test_imbalance_of_two_modalities_is_the_papers() -> None:
    assert imbalance(torch.tensor([0.6, 0.4])).tolist() == pytest.approx([0, 0.5])
    assert imbalance(torch.tensor([0.9, 0.3])).tolist() == pytest.approx([0, 1])
    assert imbalance(torch.tensor([0.7])).tolist() == [0]


def test_pmr_drives_the_slower_modalities() -> None:
    net, batch = network(), tiny_batch("1110", "0001")
    losses = create("pmr", alpha=2.0).loss(net, batch)
    t = losses.terms
    rho = imbalance(t["score"][:3])
    assert sorted((rho > 0).tolist()) == [False, True, True]
    expected = t["fuse"] + t["prm"] + t["sep"].sum() + 2 * (rho * t["pce"][:3]).sum()
    torch.testing.assert_close(losses.total, expected)  # a lone modality lags behind none


def test_distillation_from_oneself_is_the_kl_of_the_students() -> None:
    net, batch = network(), tiny_batch("1100", "0010")
    losses = create("kd", teacher=network()).loss(net, batch)  # the same weights
    own = create("passion").loss(net, batch).terms["kl"]
    assert losses.terms["kd"].item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(losses.terms["kl"], own)
    t = losses.terms
    torch.testing.assert_close(losses.total, t["fuse"] + t["prm"] + t["sep"].sum() + 0.5 * t["kl"].sum())


def test_the_teacher_sees_what_the_case_has_and_stays_as_it_is() -> None:
    net, teacher, batch = network(), TinyBackbone().double().train(), tiny_batch("1000")
    objective = create("kd", teacher=teacher)
    assert isinstance(objective, Distillation)
    assert not teacher.training
    alike = objective.loss(net, batch).terms["kd"]
    seen = TinyBatch(batch.volumes.nan_to_num(0.5), batch.present, batch.target, batch.cases)
    seen.available = torch.tensor([[True, True, False, False]])  # type: ignore[attr-defined]
    losses = objective.loss(net, seen)
    assert alike.item() == pytest.approx(0, abs=1e-12)
    assert losses.terms["kd"] > 1e-6
    losses.total.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert objective.state_dict() == {"epoch": 0}


def test_the_group_teacher_by_hand() -> None:
    """Voxels: the leader is sure; the two others are; nobody is."""
    p = torch.tensor([[[0.7, 0.3, 0.6]], [[0.1, 0.8, 0.9]], [[0.2, 0.9, 0.5]]])
    regions = Heads(2, ((1,),))
    torch.testing.assert_close(group_teacher(p, True, regions), torch.tensor([[0.7, 0.85, 0.5]]))
    torch.testing.assert_close(group_teacher(p, False, regions), torch.tensor([[0.1, 0.3, 0.5]]))
    torch.testing.assert_close(group_teacher(p[:1], True, regions), p[0])
    two = torch.stack((p, 1 - p), dim=1).squeeze(2)
    raw = torch.tensor([[0.7, 0.85, 0.5], [0.85, 0.7, 0.1]])
    torch.testing.assert_close(group_teacher(two, True, Heads(2)), raw / raw.sum(dim=0))


def test_hga_gates_the_prototypes_of_modalities_that_do_well() -> None:
    net, batch = network(), tiny_batch("1110", "0001")
    objective = create("hga", lambda2=2.0)
    t = (losses := objective.loss(net, batch)).terms
    lags = t["score"] < t["score"][:3].mean()
    assert 0 < lags[:3].sum() < 3
    lags[3] = False  # a lone modality lags behind none
    expected = t["fuse"] + t["prm"] + t["sep"].sum() + 0.5 * t["kl"].sum() + 2 * (lags * t["proto"]).sum()
    torch.testing.assert_close(losses.total, expected)
    assert t["kl"][3].item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("order", get_args(Order))
def test_a_round_is_every_subset_once_in_its_order(order: Order) -> None:
    objective = create("hga", order=order)
    rounds = [[objective.subset(3, 15 * turn + step) for step in range(15)] for turn in range(6)]
    assert all(sorted(each) == sorted(objective.subsets) for each in rounds)
    sizes = [[sum(subset) for subset in each] for each in rounds]
    groups = [[size for size, _ in groupby(each)] for each in sizes]
    assert (rounds[0] == rounds[1]) == (order == "fixed")
    assert all(len(each) == 4 for each in groups) == (order != "random")
    assert (groups == [[1, 2, 3, 4]] * 6) == (order in ("fixed", "group_fixed_order"))
