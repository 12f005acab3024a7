import numpy as np
import pytest
import torch
from scipy import ndimage

from datasets.batches.augment import Change, apply, draw, sources
from datasets.randomness import generator

SPACE = (15, 20, 17)


def change(plane=(0, 1), degrees=0, scale=1.0, shift=0.0, flips=(False, False, False), modalities=2):
    shape = (modalities, 1, 1, 1)
    return Change(plane, degrees, torch.full(shape, scale), torch.full(shape, shift), flips)


def sample(space=SPACE, modalities=2):
    random = np.random.default_rng(3)
    volumes = torch.from_numpy(random.normal(size=(modalities, *space)).astype(np.float32))
    return volumes, torch.from_numpy(random.integers(1, 4, size=space).astype(np.uint8))


@pytest.mark.parametrize("plane", [(0, 1), (1, 2), (0, 2)])
@pytest.mark.parametrize("degrees", [-10, -7, -1, 0, 4, 9])
def test_rotation_takes_the_voxels_that_scipy_takes(plane, degrees):
    volumes, target = sample()
    turned, moved = apply(change(plane, degrees), volumes, target)
    options = {"axes": plane, "reshape": False, "order": 0, "mode": "constant"}
    for mine, before in zip(turned, volumes, strict=True):
        assert np.array_equal(mine.numpy(), ndimage.rotate(before.numpy(), degrees, cval=-1, **options))
    assert np.array_equal(moved.numpy(), ndimage.rotate(target.numpy(), degrees, cval=0, **options))


@pytest.mark.parametrize("flips", [(True, False, False), (False, True, True), (True, True, True)])
def test_flips_come_after_the_rotation(flips):
    volumes, target = sample()
    turned, moved = apply(change((0, 2), 8), volumes, target)
    both, moved_both = apply(change((0, 2), 8, flips=flips), volumes, target)
    axes = [axis for axis, flip in enumerate(flips) if flip]
    assert torch.equal(both, turned.flip([a + 1 for a in axes]))
    assert torch.equal(moved_both, moved.flip(axes))


@pytest.mark.parametrize("epoch", range(6))
def test_a_drawn_change_is_the_published_formula(epoch):
    volumes, target = sample()
    drawn = draw(generator(7, "augment", epoch, "a"), 2, SPACE)
    found, moved = apply(drawn, volumes, target)
    axes = [axis for axis, flip in enumerate(drawn.flips) if flip]
    options = {"axes": drawn.plane, "reshape": False, "order": 0, "mode": "constant"}
    for m, volume in enumerate(volumes.numpy()):
        turned = ndimage.rotate(volume, drawn.degrees, cval=-1, **options)
        changed = turned * drawn.scale[m].numpy() + drawn.shift[m].numpy()
        assert np.allclose(found[m], np.flip(changed, axes), atol=1e-6)
    assert np.array_equal(
        moved, np.flip(ndimage.rotate(target.numpy(), drawn.degrees, cval=0, **options), axes)
    )


def test_the_work_is_done_where_the_sample_is():
    volumes, target = sample()
    drawn = draw(generator(7, "augment"), 2, SPACE)
    found, moved = apply(drawn, volumes.to("meta"), target.to("meta"), [True, False])
    assert found.is_meta
    assert moved.is_meta


def test_outside_is_changed_in_intensity_like_the_rest():
    volumes, target = sample()
    turned, moved = apply(change(degrees=9, scale=1.1, shift=0.1), volumes, target)
    _, outside = sources(SPACE, (0, 1), 9, (False,) * 3)
    assert outside.any()
    assert torch.allclose(turned.flatten(1)[:, outside], torch.tensor(-1.0))
    assert (moved.flatten()[outside] == 0).all()
    assert (moved.flatten()[~outside] > 0).all()


def test_absent_modalities_stay_as_they_are():
    volumes, target = sample()
    volumes[0] = 0
    turned, _ = apply(change(degrees=9, shift=0.1), volumes, target, [False, True])
    assert (turned[0] == 0).all()
    assert not torch.equal(turned[1], volumes[1])


def test_nothing_is_changed_in_place():
    volumes, target = sample()
    before = volumes.clone(), target.clone()
    apply(change(degrees=5, scale=1.1), volumes, target)
    assert torch.equal(volumes, before[0])
    assert torch.equal(target, before[1])


def test_draws_follow_the_published_distribution():
    drawn = [draw(generator(1, "augment", epoch, "a"), 4, SPACE) for epoch in range(4000)]
    degrees = np.bincount([d.degrees + 10 for d in drawn], minlength=20)
    assert len(degrees) == 20  # -10 to 9: the released upper end is exclusive
    assert np.abs(degrees - 200).max() < 60
    planes = [sum(d.plane == plane for d in drawn) for plane in [(0, 1), (1, 2), (0, 2)]]
    assert np.abs(np.array(planes) - 4000 / 3).max() < 120
    assert np.mean([d.flips for d in drawn], axis=0) == pytest.approx([0.5] * 3, abs=0.03)
    scale = torch.stack([d.scale for d in drawn])
    shift = torch.stack([d.shift for d in drawn])
    assert scale.shape == (4000, 4, 1, 1, 1)
    for values, low, high in ((scale, 0.9, 1.1), (shift, -0.1, 0.1)):
        assert low <= values.min() < low + 0.001
        assert high - 0.001 < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.002)
        assert values.std() == pytest.approx(0.2 / 12**0.5, rel=0.03)


@pytest.mark.parametrize(("space", "spatial_dims"), [(SPACE, 3), ((15, 20, 1), 2)])
def test_the_released_intensity_change_is_drawn_along_the_first_axis(space, spatial_dims):
    drawn = draw(generator(1, "augment"), 4, space, spatial_dims, along_first_axis=True)
    assert drawn.scale.shape == (4, 15, 1, 1)
    assert len(drawn.scale.unique()) == len(drawn.shift.unique()) == 4 * 15
    volumes, target = torch.ones(4, *space), torch.zeros(space, dtype=torch.uint8)
    plain = Change((0, 1), 0, drawn.scale, drawn.shift, (False,) * 3)
    changed, _ = apply(plain, volumes, target)
    assert torch.allclose(changed, (drawn.scale + drawn.shift).expand_as(changed))


def test_slices_stay_in_their_plane():
    for epoch in range(50):
        drawn = draw(generator(1, "augment", epoch), 3, (12, 14, 1), spatial_dims=2)
        assert drawn.plane == (0, 1)
        assert not drawn.flips[2]
        assert drawn.scale.shape == (3, 1, 1, 1)
    volumes, target = sample((12, 14, 1), 3)
    turned, _ = apply(change(degrees=6, modalities=3), volumes, target)
    expected = ndimage.rotate(volumes[0, ..., 0].numpy(), 6, reshape=False, order=0, cval=-1, axes=(0, 1))
    assert np.array_equal(turned[0, ..., 0].numpy(), expected)
