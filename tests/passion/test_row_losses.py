"""A loss whose gradient is taken at once equals the same loss left to autograd."""

import pytest
import torch

from passion.row_losses import at_once


def loss(rows):
    values = rows.abs().pow(3.0).flatten(1).mean(dim=1)
    return values, values.detach() * 2


@pytest.mark.parametrize("upstream", [(1.0, 1.0), (0.0, -3.0)])
def test_value_measure_and_gradient(upstream):
    rows = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours, plain = rows.clone().requires_grad_(), rows.clone().requires_grad_()
    (values, measure), (expected, _) = at_once(loss, ours), loss(plain)
    weights = torch.tensor(upstream, dtype=torch.float64)
    (values * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(ours.grad, plain.grad)
    torch.testing.assert_close(measure, 2 * expected.detach())
    assert not measure.requires_grad


def test_without_gradients_it_is_the_plain_loss():
    rows = torch.ones(1, 2, requires_grad=True)
    with torch.no_grad():
        values, _ = at_once(loss, rows)
    assert not values.requires_grad
    assert not at_once(loss, rows.detach())[0].requires_grad


def test_a_scaled_loss_of_half_precision_keeps_its_small_gradients():
    rows = torch.randn(1, 8, generator=torch.Generator().manual_seed(0)).half().requires_grad_()
    tiny = 2.0**-26  # below what fp16 can hold, until the scale of training lifts it
    values = at_once(lambda r: (r.float() * tiny).sum(dim=1), rows)
    (values * 2.0**16).sum().backward()
    torch.testing.assert_close(rows.grad, torch.full_like(rows, 2.0**-10))
