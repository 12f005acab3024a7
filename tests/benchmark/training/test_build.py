"""What a network learns in a run, by what the run is for."""

from contextlib import nullcontext

import pytest

from bench_errors import InputError
from benchmark.config.run_config import RunConfig
from benchmark.training.build import build_backbone, check_sizes
from datasets.studies.myops import MYOPS2020

M3AE = {"dataset": "myops2020", "backbone": {"name": "m3ae", "width": 2, "image": [8, 8, 8]}}


@pytest.mark.parametrize(
    ("content", "frozen"),
    [
        ({}, {"rebuilt.weight", "rebuilt.bias"}),
        ({"objective": "mae"}, set()),
        ({"pretrain": {"objective": "mae"}}, {"image", "rebuilt.weight", "rebuilt.bias"}),
        ({"pretrain": {"objective": "baseline"}}, {"rebuilt.weight", "rebuilt.bias"}),
    ],
)
def test_m3ae_s_image_learns_until_a_pretraining_has_taught_it(content, frozen):
    net = build_backbone(RunConfig.model_validate({**M3AE, **content}), MYOPS2020)
    assert {name for name, p in net.named_parameters() if not p.requires_grad} == frozen


@pytest.mark.parametrize(("backbone", "fits"), [("uhemis", True), ("transunet", False)])
def test_a_pretraining_on_another_crop_has_to_fit(backbone, fits):
    content = {
        "dataset": "myops2020",
        "backbone": {"name": backbone, "width": 2},
        "train": {"crop": 16},
        "pretrain": {"objective": "baseline", "train": {"crop": 32}},
    }
    expected = pytest.raises(
        InputError, match=r"transunet has other weights for pretrain\.train\.crop 32 than"
    )
    with nullcontext() if fits else expected:
        check_sizes(RunConfig.model_validate(content), MYOPS2020)


def test_a_network_that_cannot_be_pretrained_is_refused():
    config = RunConfig.model_validate({"dataset": "myops2020", "objective": "mae"})
    with pytest.raises(InputError, match="RFNet rebuilds no volumes"):
        build_backbone(config, MYOPS2020)
