"""How large a network is: ``model_size(backbone, crop=80)``, written into a run's `model.json`.

A multiply-add counts as two operations; what is counted are convolutions and matrix products, as torch counts
them, in one forward pass of one training crop with every modality.
"""

import torch
from torch.utils.flop_counter import FlopCounterMode

from backbones import cpu
from backbones.contract import Backbone
from bench_edges import Edges, space_of


@torch.no_grad()
def model_size(backbone: Backbone, crop: Edges) -> dict[str, float]:
    """Return the number of trainable `parameters` and the `gflops` of a crop of these edges.

    Neither the network's mode nor any random state is changed by it.
    """
    device = next(backbone.parameters()).device
    shape = (1, backbone.modalities, *space_of(crop, backbone.spatial_dims))
    training = backbone.training
    backbone.eval()
    with cpu.plain(), FlopCounterMode(display=False) as counter:
        backbone(torch.zeros(shape, device=device), torch.ones(shape[:2], dtype=torch.bool, device=device))
    backbone.train(training)
    return {
        "parameters": sum(p.numel() for p in backbone.parameters() if p.requires_grad),
        "gflops": round(counter.get_total_flops() / 1e9, 3),
    }
