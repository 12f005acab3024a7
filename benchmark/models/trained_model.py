"""A trained network with all that using it takes: ``model = load_trained("runs/demo/NAME", Path("runs"))``.

It comes from a run folder, which `bench run` or `bench weights import` wrote, or from a model folder of
`bench weights export`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.contract import Backbone
from bench_errors import InputError
from benchmark.config.editions import current_layout
from benchmark.config.run_config import RunConfig, read_config
from benchmark.evaluation.sliding_window import Flip, class_sums, flips_of
from benchmark.models.confidence import recorded_dice
from benchmark.report.data.find import find_folder
from benchmark.run_folder.checkpoint import load_weights
from benchmark.run_folder.folder import RunFolder
from benchmark.run_folder.model_folder import MODEL_CONFIG, read_model
from benchmark.run_folder.tests import TestFolder
from benchmark.training.build import build_backbone
from benchmark.training.precision import autocast, check_precision, use_precision
from datasets.preparation.crop import box_rule
from datasets.preparation.likeness import Likeness
from datasets.vocabulary import Description, Subset


@dataclass(frozen=True, eq=False)
class Trained:
    """A network with its tested weights, and how its training images were.

    Attributes:
        path: the folder it was read from.
        content: of the run's `config.yaml`, with the `scores` of its own test, as `recorded_dice` has them.
        config: the run's configuration.
        description: of the dataset it was trained on.
        backbone: the network, in evaluation mode, on the CPU until `to`.
    """

    path: Path
    content: dict[str, Any]
    config: RunConfig
    description: Description
    backbone: Backbone

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.path.name

    @property
    def box(self) -> str:
        """The rule by which training cropped its cases; see `datasets.preparation.crop.crop`."""
        return str(self.content.get("preparation", {}).get("box", box_rule(self.description)))

    @property
    def likeness(self) -> Likeness | None:
        """What its training images looked like; None for runs of older versions, which do not say."""
        return Likeness.from_dict(self.content["images"]) if "images" in self.content else None

    @property
    def subset(self) -> Subset | None:
        """The subset that the network is dedicated to; None: it is for all."""
        return self.config.subset(self.description.modalities)

    @property
    def unseen(self) -> tuple[str, ...]:
        """Modalities that training showed of no case: what the network makes of them is chance."""
        realised = self.content.get("data", {}).get("availability", {}).get("realised", {})
        shown = self.subset or self.description.modalities
        return tuple(m for m in self.description.modalities if realised.get(m, 0) >= 1 or m not in shown)

    @property
    def flips(self) -> list[Flip]:
        """The flips of a window that its test averages over."""
        return flips_of(self.backbone, self.config.test.flips)

    def class_sums(
        self, volumes: Tensor, subset: Subset, device: torch.device, flips: Sequence[Flip]
    ) -> Tensor:
        """Return what `sliding_window.class_sums` does for one subset [C, *space], on the CPU."""
        modalities, window = self.description.modalities, self.config.window
        use_precision(self.precision(device))  # each time: those of an ensemble may differ
        with autocast(self.precision(device), device):
            sums = class_sums(self.backbone, volumes, [subset], modalities, window, device, flips=flips)
        return sums[0].cpu()

    def precision(self, device: torch.device) -> str:
        """The run's precision, or fp32 where `device` cannot compute at it."""
        try:
            check_precision(self.config.precision, device)
        except InputError:
            return "fp32"
        return self.config.precision


def load_trained(text: str, runs: Path, device: torch.device | None = None) -> Trained:
    """Load the run or model folder that `text` names: a path, or the name of a run below `runs`.

    Raises `InputError` where there is none, it has no weights, or they do not fit or are damaged.
    """
    path, content, weights = _read(text, runs)
    config = read_config(content["config"], str(path))
    description = Description.from_dict(content["dataset"])
    backbone = build_backbone(config, description)
    try:
        backbone.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"the weights in {path} do not fit its configuration ({' '.join(str(error).split())[:160]}): "
            "give the folder as it was written"
        ) from None
    return Trained(path, content, config, description, backbone.eval().to(device or "cpu"))


def _read(text: str, runs: Path) -> tuple[Path, dict[str, Any], dict[str, Tensor]]:
    path = Path(text)
    if (path / MODEL_CONFIG).is_file() and not (path / "config.yaml").exists():
        return path, *read_model(path)
    folder = find_folder(text, runs)
    return folder.path, _as_tested(folder), load_weights(folder)


def _as_tested(folder: RunFolder) -> dict[str, Any]:
    """The content of a run's `config.yaml` with settings and scores of its own test."""
    content = folder.config()
    content["config"] = current_layout(content["config"])
    if test := own_test(folder):
        settings = test.settings()
        content["config"]["test"], content["metrics"] = settings["test"], settings["metrics"]
        if test.done:
            content["scores"] = recorded_dice(test.cases)
    return content


def own_test(folder: RunFolder) -> TestFolder | None:
    """Return the test of a run on its own data that says what it is; None without any.

    A done one goes before others, one as published before those with poor images or flips.
    """

    def order(test: TestFolder) -> tuple[bool, ...]:
        settings = test.settings()["test"]
        return test.done, not settings.get("outside"), not settings.get("flips")

    return max(folder.own_tests(), key=order, default=None)


def check_alike(models: Sequence[Trained]) -> None:
    """Raise `InputError` unless the models can be averaged: same study, images prepared in the same way."""
    first = models[0]
    for model in models[1:]:
        for what, ours, theirs in (
            ("modalities", first.description.modalities, model.description.modalities),
            ("labels", first.description.file_labels, model.description.file_labels),
            ("box", first.box, model.box),
            ("normalisation", first.description.normalise, model.description.normalise),
            ("whole", first.description.whole, model.description.whole),
            ("grid", first.description.grid, model.description.grid),
            ("slices", first.description.slices, model.description.slices),
            ("orientation", _orientation(first), _orientation(model)),
        ):
            if ours != theirs:
                raise InputError(
                    f"--ensemble {model.name}: found {what} {theirs}, expected {ours} as of {first.name}: "
                    "only runs on one kind of study can be averaged"
                )


def _orientation(model: Trained) -> str:
    return model.likeness.orientation if model.likeness else ""
