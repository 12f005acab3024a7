"""TransUNet: modalities meet before the transformer, any multiple of 16 voxels; all in float64."""

import pytest
import torch

import backbones
from backbones.transunet import TransUNet
from bench_errors import InputError


def tiny(modalities: int = 3, crop: int = 32, spatial_dims: int = 3, dropout: float = 0.1) -> TransUNet:
    torch.manual_seed(0)
    options = {"width": 2, "dropout": dropout}
    return backbones.create("transunet", modalities, 4, crop, spatial_dims, **options).double().eval()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def test_its_size_is_that_of_the_table() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in backbones.create("transunet", 4, 4).parameters()) == 12_042_200


def test_the_transformer_sees_one_set_of_tokens_however_many_modalities() -> None:
    net, seen = tiny(), []
    net.transformer.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    present = torch.tensor([[True, True, True], [False, True, False]])
    net(noise(2, 3, 32, 32, 32), present)
    assert [tuple(shape) for shape in seen] == [(2, 8, 64)]  # (32 / 16)^3 tokens of 32 * 2 channels


@pytest.mark.parametrize(
    ("spatial_dims", "last"), [(3, [(16,) * 3, (8,) * 3, (4,) * 3, (2,) * 3]), (2, None)]
)
def test_side_outputs_have_the_scales_2_4_8_16(spatial_dims: int, last: list | None) -> None:
    net = tiny(spatial_dims=spatial_dims)
    present = torch.ones(1, 3, dtype=torch.bool)
    volumes = noise(1, 3, 32, 32, 32 if spatial_dims == 3 else 1)
    sides = net.fuse(net.encode(volumes, present), present).side_logits
    assert [s.shape[2:] for s in sides] == (last or [(n, n, 1) for n in (16, 8, 4, 2)])


def test_slices_have_kernels_of_one_on_the_third_axis() -> None:
    convolutions = [m for m in tiny(spatial_dims=2).modules() if isinstance(m, torch.nn.Conv3d)]
    assert all(m.kernel_size[2] == m.stride[2] == 1 for m in convolutions)


def test_other_volumes_get_interpolated_positions() -> None:
    net = tiny()
    present = torch.ones(1, 3, dtype=torch.bool)
    volumes = noise(1, 3, 48, 16, 32)
    with torch.no_grad():
        before = net(volumes, present)
        net.transformer.position.normal_()
        assert before.shape == (1, 4, 48, 16, 32)
        assert not torch.allclose(net(volumes, present), before)
        net.transformer.position.fill_(0.5)  # the same everywhere, so interpolated or not
        constant = net(volumes, present)
        other = tiny(crop=48)
        other.load_state_dict({**net.state_dict(), "transformer.position": torch.full((1, 64, 3, 3, 3), 0.5)})
        torch.testing.assert_close(other(volumes, present), constant)


def test_dropout_acts_in_training_only() -> None:
    net, present = tiny(crop=32, dropout=0.5), torch.ones(1, 3, dtype=torch.bool)
    volumes = noise(1, 3, 32, 32, 32)  # a lone token would be normalised to 0
    assert torch.equal(net(volumes, present), net(volumes, present))
    net.train()
    assert not torch.equal(net(volumes, present), net(volumes, present))


@pytest.mark.parametrize("crop", [0, 8, 40])
def test_a_crop_without_a_whole_token_grid_is_refused(crop: int) -> None:
    with pytest.raises(InputError, match="multiple of 16"):
        tiny(crop=crop)


def test_volumes_without_a_whole_token_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        tiny().encode(torch.zeros(1, 3, 32, 32, 24), torch.ones(1, 3, dtype=torch.bool))


def test_subsets_without_cases_are_an_error() -> None:
    net = tiny(crop=16)
    features = net.encode(noise(1, 3, 16, 16, 16), torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="3 subsets for 1 cases"):
        net.fuse(features, torch.ones(3, 3, dtype=torch.bool))
