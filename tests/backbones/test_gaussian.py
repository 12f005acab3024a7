"""The floor against the posterior of an analytic mixture, and against NumPy's means and covariances."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

import backbones
import passion
from backbones.gaussian import RIDGE, Gaussian

MEANS = np.array([[0.0, 0.0], [2.0, 1.0], [-1.0, 3.0]])
COVARIANCES = np.array([[[1.0, 0.3], [0.3, 1.0]], [[0.5, -0.2], [-0.2, 0.8]], [[1.5, 0.0], [0.0, 0.4]]])
FREQUENCIES = np.array([0.7, 0.2, 0.1])
SPACE = (24, 24, 24)


def mixture(cases: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Volumes [B, 2, *SPACE] of a mixture of three Gaussians, and the classes [B, *SPACE]."""
    rng = np.random.default_rng(seed)
    target = rng.choice(3, p=FREQUENCIES, size=(cases, *SPACE))
    volumes = np.empty((cases, 2, *SPACE))
    for label in range(3):
        chosen = target == label
        drawn = rng.multivariate_normal(MEANS[label], COVARIANCES[label], int(chosen.sum()))
        for m in range(2):
            volumes[:, m][chosen] = drawn[:, m]
    return torch.tensor(volumes), torch.tensor(target)


def fitted(volumes: torch.Tensor, target: torch.Tensor, available: torch.Tensor) -> Gaussian:
    """The classifier that has seen a batch once."""
    net = backbones.create("gaussian", modalities=volumes.shape[1], classes=3).double().train()
    seen = torch.where(available[:, :, None, None, None], volumes, torch.nan)
    batch = SimpleNamespace(volumes=seen, present=available, target=target, cases=["a", "b", "c"])
    features = net.encode(seen, available)
    net.auxiliary(features, net.fuse(features, available), batch)
    return net.eval()


@pytest.mark.parametrize("subset", [(0,), (1,), (0, 1)])
def test_probabilities_are_the_posterior_of_the_mixture(subset):
    volumes, target = mixture(4)
    net = fitted(volumes, target, torch.ones(4, 2, dtype=torch.bool))
    fresh, _ = mixture(1, seed=1)
    present = torch.tensor([[m in subset for m in range(2)]])
    with torch.no_grad():
        found = net(fresh, present).softmax(dim=1)[0].flatten(1).T.numpy()
    x = fresh[0, list(subset)].flatten(1).T.numpy()
    densities = [
        frequency * multivariate_normal(mean[list(subset)], covariance[np.ix_(subset, subset)]).pdf(x)
        for frequency, mean, covariance in zip(FREQUENCIES, MEANS, COVARIANCES, strict=True)
    ]
    expected = np.stack(densities, axis=-1).reshape(len(x), 3)
    expected /= expected.sum(axis=1, keepdims=True)
    # What is left is the error of means and variances from 55,000 voxels.
    assert np.abs(found - expected).mean() < 0.01
    assert np.mean(found.argmax(axis=1) == expected.argmax(axis=1)) > 0.98


def test_a_subset_is_fitted_on_the_cases_that_have_all_of_it():
    volumes, target = mixture(3)
    available = torch.tensor([[True, True], [True, False], [False, True]])
    net = fitted(volumes, target, available)
    for present, cases in (((0, 1), [0]), ((0,), [0, 1]), ((1,), [0, 2])):
        index = torch.tensor(present)
        frequency, mean, covariance = net._fit(index)
        for label in range(3):
            x = volumes[cases][:, list(present)].movedim(1, 0)[:, target[cases] == label].numpy()
            np.testing.assert_allclose(mean[label], x.mean(axis=1), rtol=1e-9)
            expected = np.cov(x, bias=True).reshape(len(present), -1) + RIDGE * np.eye(len(present))
            np.testing.assert_allclose(covariance[label], expected, rtol=1e-9, atol=1e-12)
            share = (target[cases] == label).double().mean()
            assert frequency[label] == pytest.approx(float(share), abs=1e-4)


def test_a_subset_that_no_case_has_takes_its_modalities_as_independent():
    volumes, target = mixture(2)
    target[1].clamp_(max=1)  # no case with the second modality has class 2
    net = fitted(volumes, target, torch.tensor([[True, False], [False, True]]))
    _, mean, covariance = net._fit(torch.tensor([0, 1]))
    for m in range(2):
        _, alone, variance = net._fit(torch.tensor([m]))
        np.testing.assert_allclose(mean[:, m], alone[:, 0], rtol=1e-12)
        np.testing.assert_allclose(covariance[:, m, m], variance[:, 0, 0], rtol=1e-12)
    assert not covariance[:, 0, 1].any()


def test_a_class_that_was_never_seen_is_hardly_predicted_and_finite():
    volumes, target = mixture(2)
    net = fitted(volumes, target.clamp(max=1), torch.ones(2, 2, dtype=torch.bool))
    logits = net(volumes, torch.ones(2, 2, dtype=torch.bool))
    assert logits.isfinite().all()
    assert (logits.argmax(dim=1) == 2).double().mean() < 0.01


def test_air_is_background_and_no_part_of_the_fit():
    volumes, target = mixture(2)
    everything = torch.ones(2, 2, dtype=torch.bool)
    padded = torch.full((2, 2, 24, 24, 40), -9.0, dtype=torch.float64)
    padded[..., :24] = volumes
    labels = torch.zeros(2, 24, 24, 40, dtype=torch.int64)
    labels[..., :24] = target
    net, other = fitted(volumes, target, everything), fitted(padded, labels, everything)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)
    assert not net(padded, everything).argmax(dim=1)[..., 24:].any()


def test_no_voxel_depends_on_another():
    volumes, target = mixture(1)
    net = fitted(volumes, target, torch.ones(1, 2, dtype=torch.bool))
    order = torch.randperm(volumes[0, 0].numel(), generator=torch.Generator().manual_seed(0))
    mixed = volumes.flatten(2)[:, :, order].unflatten(2, SPACE)
    present = torch.ones(1, 2, dtype=torch.bool)
    expected = net(volumes, present).flatten(2)[:, :, order]
    torch.testing.assert_close(net(mixed, present).flatten(2), expected)


def test_testing_adds_nothing_and_training_under_an_objective_does():
    volumes, target = mixture(1)
    present = torch.ones(1, 2, dtype=torch.bool)
    batch = SimpleNamespace(volumes=volumes, present=present, target=target, cases=["a"])
    net = backbones.create("gaussian", modalities=2, classes=3).double().eval()
    objective = passion.create("baseline", modalities=2, classes=3)
    with torch.no_grad():
        objective.loss(net, batch)
    assert not net.count.any()
    losses = objective.loss(net.train(), batch)
    objective.backward(losses, list(net.parameters()))
    assert net.count[3].sum() == volumes[0, 0].numel()
    assert net.offset.grad is not None
