"""Weights that are handed in: they fit the configuration, and make the predictions."""

import secrets
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from backbones.contract import Backbone
from benchmark.board.check_scores import subsets_of
from benchmark.board.checked import CheckedTest
from benchmark.board.rules import keeping, require
from benchmark.models.predictions import read_maps
from benchmark.run_folder.folder import WEIGHTS, RunFolder
from benchmark.run_folder.tests import PREDICTIONS, TESTS
from benchmark.training.build import build_backbone
from benchmark.training.device import available_cores, prepare_device
from benchmark.training.inputs import Inputs
from benchmark.training.precision import use_precision
from benchmark.training.run import segmenter

FLOATS = {torch.float32: "F32", torch.float64: "F64"}
"""What a file of safetensors calls the numbers that networks of ours have."""

AWAY = 0.05
"""Share of the voxels that either takes for foreground in which predictions made here may be others.

Training on a GPU or in less than fp32 leaves some; those of another network are most.
"""


def check_weights(folder: RunFolder, inputs: Inputs, tests: Sequence[CheckedTest]) -> None:
    """Check the weights of a run folder, and that they make the predictions of each test that has some.

    The network is built only when its size is known to be that of the file. Raises `BrokenRule`.
    """
    path = folder.path / WEIGHTS
    with keeping("weights"):
        try:
            with safe_open(path, framework="pt") as file:
                parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                shapes = {name: tuple(part.get_shape()) for name, part in parts.items()}
                forms = {name: part.get_dtype() for name, part in parts.items()}
        except SafetensorError as error:
            raise ValueError(f"{WEIGHTS} is no whole file of tensors ({error})") from None
        with torch.device("meta"):
            outline = build_backbone(inputs.config, inputs.store.description).state_dict()
        fits = shapes == {name: tuple(tensor.shape) for name, tensor in outline.items()} and all(
            forms[name] == FLOATS.get(tensor.dtype)
            for name, tensor in outline.items()
            if tensor.is_floating_point()
        )
        require("weights", fits, f"{WEIGHTS} does not fit the network of the configuration")
        weights = load_file(path)
        finite = all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
        require("weights", finite, f"{WEIGHTS} has numbers that are not finite")
        backbone = build_backbone(inputs.config, inputs.store.description)
        backbone.load_state_dict(weights)
        for test in tests:
            if test.recomputed:
                _check_predictions(folder, inputs, test, backbone.eval())


def _check_predictions(folder: RunFolder, inputs: Inputs, test: CheckedTest, backbone: Backbone) -> None:
    """Segment one case again, and compare it with what was handed in."""
    device = prepare_device("cpu", available_cores())
    use_precision("fp32")
    here = replace(inputs, config=inputs.config.model_copy(update={"precision": "fp32"}))
    case = secrets.choice(inputs.tested)  # which nobody can have prepared for
    made = segmenter(here, test.settings["test"], backbone, device)(case).maps
    shape = inputs.store.record(case).shape
    file = folder.path / TESTS / test.name / PREDICTIONS / f"{case}.npz"
    shared = read_maps(file, subsets_of(inputs, case), shape)
    pairs = [np.stack([made[name], shared[name]]) for name in shared]
    foreground = sum(int((pair > 0).any(axis=0).sum()) for pair in pairs)
    other = sum(int((pair[0] != pair[1]).sum()) for pair in pairs)
    text = f"they predict case {case} otherwise than handed in, in {other} of {foreground} voxels"
    require("weights", other <= AWAY * foreground, text)
