"""Build what a run consists of from its configuration.

net = build_backbone(config, store.description)
objective = build_objective(config, store.description, loader)
check_sizes(config, store.description)            # before anything is trained
"""

from typing import TYPE_CHECKING

import backbones
import passion
from bench_edges import space_of
from bench_errors import InputError
from benchmark.config.initial_weights import check_order, pinned_weights, weights_file
from benchmark.config.run_config import RunConfig
from benchmark.run_folder.model_folder import MODEL, MODEL_CONFIG, read_model
from datasets.vocabulary import Description, presence

if TYPE_CHECKING:
    from backbones.contract import Backbone
    from datasets.batches.loader import Loader
    from passion.objective import Objective


def build_backbone(config: RunConfig, description: Description) -> "Backbone":
    """Build the run's network for the modalities and classes of a study, on the CPU.

    Raises `InputError` for options or a crop that do not fit.
    """
    network = backbones.create(
        config.backbone,
        modalities=len(description.modalities),
        classes=len(description.classes),
        crop=config.train.crop,
        spatial_dims=description.spatial_dims,
        regions=tuple(dict.fromkeys(region.classes for region in description.regions)),
    )
    if not config.objective.segments:
        network.begin("pretraining")
    elif config.pretrain and not config.pretrain.objective.segments:
        network.begin("finetuning")
    return network


def initial_backbone(config: RunConfig, description: Description) -> "Backbone":
    """Build the run's network with the weights that it starts from, on the CPU.

    Raises `InputError` as `build_backbone`, and for a `train.init` that has changed or does not fit.
    """
    network = build_backbone(config, description)
    if config.train.init:
        from backbones.weights import load_into
        from benchmark.run_folder.checkpoint import tensors_of

        file = weights_file(pinned_weights(config.train.init))
        check_order(config.train.init, description)
        if file.name == MODEL and (file.parent / MODEL_CONFIG).is_file():
            _, weights = read_model(file.parent, f"train.init {file.parent}")
        else:
            weights = tensors_of(file, file.read_bytes())
        load_into(network, weights, f"train.init {file}")
    return network


def build_objective(
    config: RunConfig, description: Description, loader: "Loader", teacher: "Backbone | None" = None
) -> "Objective":
    """Build the run's objective for a study, its training data and, where it needs one, a teacher."""
    modalities = description.modalities
    dedicated = config.subset(modalities)
    return passion.create(
        config.objective,
        modalities=len(modalities),
        classes=len(description.classes),
        counts=loader.units_per_modality(),
        cases=loader.units,
        batch_size=config.train.batch_size,
        teacher=teacher,
        subsets=[presence(dedicated, modalities)] if dedicated else loader.masks(),
        epochs=config.train.epochs,
    )


def check_sizes(config: RunConfig, description: Description) -> None:
    """Build the network with what it starts from, and try it on a test window that is not the training crop.

    Raises `InputError` for options, weights, a pre-training, a crop or a window that do not fit, and for
    `train.compile` of a network where it has no effect.
    """
    net = initial_backbone(config, description)
    before = config.pretraining
    if before and before.train.crop != config.train.crop:
        try:
            net.load_state_dict(build_backbone(before, description).state_dict())
        except RuntimeError as error:
            one = str(error).splitlines()[-1].strip("\t .")
            raise InputError(
                f"backbone {config.backbone.name} has other weights for pretrain.train.crop "
                f"{before.train.crop} than for train.crop {config.train.crop} ({one}): leave "
                "pretrain.train.crop out"
            ) from None
    if config.train.compile and not net.compiled:
        raise InputError(
            f"train.compile has no effect: backbone {config.backbone.name} names no part that torch.compile "
            "takes; leave it out"
        )
    if config.window == config.train.crop:
        return
    import torch

    volumes = torch.zeros(1, net.modalities, *space_of(config.window, description.spatial_dims))
    present = torch.arange(net.modalities)[None] == 0
    try:
        with torch.inference_mode():
            net.eval()(volumes, present)
    except Exception as error:  # whatever a network says to a size that it cannot take
        text = " ".join(str(error).split())
        raise InputError(
            f"backbone {config.backbone.name} for crop {config.train.crop} does not take windows of "
            f"{config.window} ({text}): leave out test.window"
        ) from None
