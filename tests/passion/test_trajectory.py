"""Training with PASSION follows a literal transcription of its formulas: losses and beta, in float64.

The transcription is written for reading against the paper: one-hot copies, a loop over modalities, one call
of `fuse` for each subset. Both sides share only the network.
"""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import backbones
import passion
from backbones.contract import Backbone, Fused

MASKS = ("1110", "0010", "1111", "0110", "1010", "0100", "0001")  # each a row of mr2468, flair t1ce t1 t2
EPOCHS, CLASSES, CROP, TAU = 3, 4, 16, 4.0


def batches() -> list[SimpleNamespace]:
    generator = torch.Generator().manual_seed(5)
    made = []
    for i, mask in enumerate(MASKS):
        present = torch.tensor([[bit == "1" for bit in mask]])
        volumes = torch.randn(1, 4, CROP, CROP, CROP, generator=generator, dtype=torch.float64)
        coarse = torch.randint(0, CLASSES, (1, 4, 4, 4), generator=generator)
        target = coarse
        for axis in (1, 2, 3):
            target = target.repeat_interleave(CROP // 4, axis)
        if i == 0:
            target[target == 3] = 0  # a class that the crop lacks
        made.append(SimpleNamespace(volumes=volumes, present=present, target=target, cases=[f"case{i}"]))
    return made


def enlarged(p: Tensor, to: Tensor) -> Tensor:
    return F.interpolate(p, size=to.shape[2:], mode="trilinear", align_corners=True)


def task(p: Tensor, y: Tensor) -> Tensor:
    """p and y [1, C, D, H, W]."""
    entropy, dice = torch.zeros_like(p[:, 0]), 0.0
    for c in range(CLASSES):
        weight = 1 - y[:, c].sum() / y[:, c].numel()
        entropy = entropy - weight * y[:, c] * torch.log(torch.clamp(p[:, c], 0.005, 1))
        dice = dice + 2 * (p[:, c] * y[:, c]).sum() / (p[:, c].sum() + y[:, c].sum() + 1e-7)
    return entropy.mean() + 1 - dice / CLASSES


def kl(student: Tensor, teacher: Tensor, y: Tensor) -> Tensor:
    q_s = torch.clamp(enlarged(torch.softmax(student / TAU, dim=1), y), 0.005, 1)
    q_t = torch.clamp(enlarged(torch.softmax(teacher.detach() / TAU, dim=1), y), 0.005, 1)
    return TAU**2 * (q_t * (q_t.log() - q_s.log())).mean()


def similarity(f: Tensor, y: Tensor) -> Tensor:
    """f [1, F, D, H, W] -> [1, K, D, H, W], K the classes with a voxel."""
    maps = []
    for k in range(CLASSES):
        if y[:, k].sum() > 0:
            mask = y[:, k : k + 1]
            prototype = (f * mask).sum(dim=(2, 3, 4), keepdim=True) / (mask.sum() + 1e-5)
            norms = f.norm(dim=1).clamp(min=1e-5) * prototype.norm(dim=1).clamp(min=1e-5)
            maps.append((f * prototype).sum(dim=1) / norms)
    return torch.stack(maps, dim=1)


def literal_step(
    net: Backbone, batch: SimpleNamespace, beta: Tensor, w: Tensor, variant: str
) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch of one and its distances [4]."""
    features = net.encode(batch.volumes, batch.present)
    y = F.one_hot(batch.target, CLASSES).permute(0, 4, 1, 2, 3).double()
    teacher: Fused = net.fuse(features, batch.present)
    loss = task(torch.softmax(teacher.logits, dim=1), y)
    for level, side in enumerate(teacher.side_logits):
        loss = loss + 0.5 ** (level + 1) * task(enlarged(torch.softmax(side, dim=1), y), y)
    unimodal = net.unimodal(features)
    held = [m for m in range(4) if batch.present[0, m]]
    sep, pixel, proto = {}, {}, {}
    distance = torch.zeros(4, dtype=torch.float64)
    for m in held:
        sep[m] = task(torch.softmax(unimodal[:, m], dim=1), y)
        alone = torch.zeros(1, 4, dtype=torch.bool)
        alone[0, m] = True
        student = net.fuse(features, alone)
        pixel[m] = kl(student.logits, teacher.logits, y)
        for level, (s, t) in enumerate(zip(student.side_logits, teacher.side_logits, strict=True)):
            pixel[m] = pixel[m] + 0.5 ** (level + 1) * kl(s, t, y)
        difference = similarity(student.decoder_features, y) - similarity(
            teacher.decoder_features.detach(), y
        )
        proto[m] = (difference**2).mean()
        distance[m] = difference.abs().mean().detach()
    mean = distance.sum() / len(held)
    for m in held:
        delta = 1.0 if len(held) > 1 and 1 - distance[m] / mean < 0 else 0.0
        gate = delta if variant == "released" else 1.0
        loss = (
            loss
            + gate * beta[m] * w[m] * sep[m]
            + 0.5 * beta[m] * w[m] * pixel[m]
            + 0.1 * delta * w[m] * proto[m]
        )
    return loss, distance


def step(net: Backbone, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """Update with zeros for the gradients that absent modalities leave out."""
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    loss.backward()
    optimiser.step()


def optimiser_of(net: Backbone) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        net.parameters(), lr=2e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-4, amsgrad=True
    )


def set_rate(optimiser: torch.optim.Optimizer, epoch: int) -> None:
    optimiser.param_groups[0]["lr"] = round(2e-4 * (1 - epoch / EPOCHS) ** 0.9, 8)


def literal_trajectory(net: Backbone, variant: str) -> tuple[list[float], list[Tensor]]:
    counts = torch.tensor([sum(mask[m] == "1" for mask in MASKS) for m in range(4)]).double()
    w = len(MASKS) / counts if variant == "released" else 1 / (1 - (len(MASKS) - counts) / len(MASKS))
    beta, eta = torch.ones(4, dtype=torch.float64), 0.01
    optimiser, curve, betas = optimiser_of(net), [], []
    for epoch in range(EPOCHS):
        set_rate(optimiser, epoch)
        total, seen = torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
        for batch in batches():
            loss, distance = literal_step(net, batch, beta, w, variant)
            step(net, optimiser, loss)
            curve.append(loss.item())
            if variant == "released" or batch.present.sum() > 1:
                total, seen = total + distance, seen + batch.present[0]
        if epoch % 100 == 0:
            eta *= 1.5
        took_part = seen > 0
        mean = torch.where(took_part, total / seen.clamp(min=1), 0)
        rp = torch.where(took_part, 1 - mean / (mean.sum() / took_part.sum()), 0)
        beta = torch.clamp(beta - eta * rp, 0.1, 4)
        beta = 2 * beta / beta.pow(2).sum().sqrt()
        betas.append(beta)
    return curve, betas


def our_trajectory(net: Backbone, variant: str) -> tuple[list[float], list[Tensor]]:
    counts = [sum(mask[m] == "1" for mask in MASKS) for m in range(4)]
    objective = passion.create("passion", 4, CLASSES, variant=variant, counts=counts, cases=len(MASKS))
    optimiser, curve, betas = optimiser_of(net), [], []
    for epoch in range(EPOCHS):
        set_rate(optimiser, epoch)
        for batch in batches():
            losses = objective.loss(net, batch)
            step(net, optimiser, losses.total)
            curve.append(losses.total.item())
        changed = objective.end_epoch()
        assert changed is not None
        betas.append(torch.tensor(changed["beta"], dtype=torch.float64))
    return curve, betas


# Formulas are the same for all networks: golden losses hold each to them.
@pytest.mark.parametrize("variant", ["released", pytest.param("paper", marks=pytest.mark.long)])
def test_training_follows_the_literal_formulas(variant: str) -> None:
    torch.manual_seed(0)
    net = backbones.create("rfnet", modalities=4, classes=CLASSES, width=4, crop=CROP).double()
    net.eval()  # no dropout
    curve, betas = our_trajectory(copy.deepcopy(net), variant)
    expected_curve, expected_betas = literal_trajectory(net, variant)
    assert len(curve) >= 20
    torch.testing.assert_close(curve, expected_curve, rtol=1e-5, atol=0)
    torch.testing.assert_close(torch.stack(betas), torch.stack(expected_betas), rtol=1e-5, atol=0)
    assert (betas[-1] - 1).abs().max() > 1e-3
