import errno
import os

import numpy as np
import pytest
import torch

from datasets.batches.loader import Loader
from datasets.missingness.availability import Availability
from datasets.missingness.degrade import (
    KINDS,
    SEVERITIES,
    STRENGTHS,
    TOLERANCE,
    Degradation,
    DegradedStore,
    _bias,
    _ghosts,
    _lowres,
    _noise,
    _spike,
    degrade,
    degraded_volume,
)
from datasets.phantom.study import write_study
from datasets.preparation.prepare import prepare
from datasets.randomness import generator
from datasets.studies.brats import PHANTOM
from datasets.studies.myops import PHANTOM_HEART

BACKGROUND = -2.5
SPACE = (32, 40, 36)


def head():
    """A volume of tissue N(0, 1) with structure, in a background."""
    volume = np.full(SPACE, BACKGROUND, np.float32)
    x, y, z = np.meshgrid(*(np.linspace(0, 6, n) for n in (24, 30, 28)), indexing="ij")
    tissue = np.sin(x) + np.cos(2 * y) * np.sin(z + 1)
    volume[4:28, 5:35, 4:32] = (tissue - tissue.mean()) / tissue.std()
    return volume


def poor(kind, severity, seed=1, volume=None):
    volume = head() if volume is None else volume
    return degrade(volume, BACKGROUND, Degradation(kind, severity), generator(seed, "degrade"))


@pytest.mark.parametrize("scale", [0.125, 64.0])
@pytest.mark.parametrize("kind", KINDS)
def test_harm_does_not_depend_on_the_unit_of_the_intensities(kind, scale):
    """Raw intensities of an MR image, or a window of CT, have no deviation of 1."""
    made = degrade(head() * scale, BACKGROUND * scale, Degradation(kind, 2), generator(1, "degrade"))
    np.testing.assert_allclose(made / scale, poor(kind, 2), atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_background_shape_and_statistics_stay_and_harm_grows_with_severity(kind):
    clean = head()
    tissue = np.abs(clean - BACKGROUND) > TOLERANCE
    harm = []
    for severity in SEVERITIES:
        volume = poor(kind, severity)
        assert (volume.shape, volume.dtype) == (clean.shape, np.float32)
        assert np.isfinite(volume).all()
        assert (volume[~tissue] == BACKGROUND).all()
        if kind != "slab":
            assert volume[tissue].mean() == pytest.approx(clean[tissue].mean(), abs=1e-3)
            assert volume[tissue].std() == pytest.approx(clean[tissue].std(), rel=1e-3)
        harm.append(1 - np.corrcoef(volume[tissue], clean[tissue])[0, 1])
        assert np.array_equal(volume, poor(kind, severity))
        assert any(not np.array_equal(volume, poor(kind, severity, seed)) for seed in range(2, 12))
    assert 0.01 < harm[0] < harm[1] < harm[2]
    assert np.array_equal(clean, head())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "slab"])
def test_images_around_their_background_are_degraded_as_magnitudes(kind):
    """Images that were z-scored before, with a background of 0, have no magnitudes to add noise to."""
    clean = head()
    tissue = clean != BACKGROUND
    signed = np.where(tissue, clean, 0).astype(np.float32)
    made = degrade(signed, 0.0, Degradation(kind, 1), generator(1, "degrade"))
    assert (made[~tissue] == 0).all()
    assert made[tissue].mean() == pytest.approx(signed[tissue].mean(), abs=1e-3)
    assert made[tissue].std() == pytest.approx(signed[tissue].std(), rel=1e-3)
    alike, of_magnitudes = (np.corrcoef(v[tissue], clean[tissue])[0, 1] for v in (made, poor(kind, 1)))
    assert alike == pytest.approx(of_magnitudes, abs=0.03)
    assert 0.8 < alike < 0.99


def test_noise_is_rician():
    signal = np.repeat(np.float32([0, 3]), 64**2 * 8).reshape(2, 64, 512)
    for sigma in STRENGTHS["noise"]:
        noisy = _noise(signal, sigma, generator(1, "x"), 3)
        # Rayleigh mean without signal, and E[m^2] = A^2 + 2 sigma^2 (Gudbjartsson and Patz 1995).
        assert noisy[0].mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.01)
        assert (noisy[1] ** 2).mean() == pytest.approx(9 + 2 * sigma**2, rel=0.01)


def test_ghosts_are_the_volume_moved_to_both_sides():
    signal = head() - BACKGROUND
    for seed in range(6):
        random = generator(seed, "x")
        axis, parts = int(random.integers(2)), int(random.integers(3, 7))
        phase = random.uniform(-np.pi / 4, np.pi / 4) + np.pi * random.integers(2)
        distance = SPACE[axis] // parts
        ghosts = [
            np.roll(signal, d, axis) * np.exp(1j * p) for d, p in ((-distance, phase), (distance, -phase))
        ]
        expected = np.abs(signal + 0.3 * sum(ghosts))
        assert np.allclose(_ghosts(signal, 0.3, generator(seed, "x"), 3), expected, atol=1e-4)


def test_bias_is_smooth_and_multiplies():
    signal = np.full(SPACE, 2, np.float32)
    field = np.log(_bias(signal, 0.3, generator(1, "x"), 3) / 2)
    assert 0.1 < np.abs(field).max() < 0.3 * 20
    # A polynomial of total degree 3 has no fourth difference.
    assert np.abs(np.diff(field, 4, axis=0)).max() < 1e-4


@pytest.mark.parametrize("dims", [2, 3])
def test_low_resolution_blurs_one_axis(dims):
    axes = set()
    for seed in range(12):
        profiles = []
        for axis in range(3):
            line = np.float32([0, 0, 0, 0, 5] + [0] * (SPACE[axis] - 5))
            signal = np.broadcast_to(np.moveaxis(line[:, None, None], 0, axis), SPACE).copy()
            blurred = _lowres(signal, 4, generator(seed, "x"), dims)
            profiles.append(np.abs(blurred - signal).max() > 0.5)
        assert sum(profiles) == 1
        axes.add(profiles.index(True))
    assert axes == set(range(dims))


def test_slices_are_means_over_their_thickness():
    line = np.arange(32, dtype=np.float32)
    signal = np.broadcast_to(line[:, None, None], (32, 3, 3)).copy()
    random = next(s for s in range(50) if generator(s, "x").integers(3) == 0)
    blurred = _lowres(signal, 4, generator(random, "x"), 3)[:, 1, 1]
    # Means 1.5, 5.5, ... of four voxels, at the middles of the thick slices: a ramp stays but at its ends.
    assert np.allclose(blurred[2:-2], line[2:-2], atol=1e-4)
    assert blurred[0] == pytest.approx(1.5)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_spike_adds_stripes_of_its_amplitude(dims):
    signal = np.full(SPACE, 4, np.float32)
    stripes = _spike(signal, 1.0, generator(3, "x"), dims) - 4
    assert np.abs(stripes).max() == pytest.approx(1, rel=0.02)
    assert stripes.std() == pytest.approx(0.5**0.5, rel=0.02)
    assert (np.ptp(stripes, axis=2).max() < 1e-4) == (dims == 2)


def test_a_slab_is_lost_at_one_end():
    for severity, share in zip(SEVERITIES, STRENGTHS["slab"], strict=True):
        for seed in range(8):
            lost = poor("slab", severity, seed) != head()
            sizes = [np.flatnonzero(lost.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
            extents = (24, 30, 28)
            (axis,) = [a for a in range(3) if len(sizes[a]) < extents[a]]
            assert len(sizes[axis]) == round(share * extents[axis])
            start = (4, 5, 4)[axis]
            assert sizes[axis][0] == start or sizes[axis][-1] == start + extents[axis] - 1
            assert (poor("slab", severity, seed)[lost] == BACKGROUND).all()


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    made = {}
    for layout, description in (("brats", PHANTOM), ("myops", PHANTOM_HEART)):
        folder = tmp_path_factory.mktemp(layout)
        write_study(folder / "files", 2, 32, 0, layout)
        made[layout] = prepare(folder / "files", description, folder / "store")
    return made


def test_a_prepared_background_is_known_to_the_bit(stores):
    store = stores["brats"]
    case = store.cases[0]
    volume = np.array(store.volumes(case)[1])
    changed = degraded_volume(store, case, 1, Degradation("noise", 3)) != volume
    assert volume[~changed].max() == volume.min()
    assert 0.1 < changed.mean() < 0.9


@pytest.mark.parametrize("layout", ["brats", "myops"])
def test_the_loader_sees_pieces_of_the_one_degraded_volume(stores, layout, tmp_path):
    store = stores[layout]
    case, modalities = store.cases[0], store.description.modalities
    what = {(case, modalities[1]): Degradation("ghosts", 3)}
    seen = DegradedStore.of(store, what, tmp_path / "cache")
    expected = np.array(store.volumes(case))
    expected[1] = degraded_volume(store, case, 1, Degradation("ghosts", 3))
    volumes = seen.volumes(case)
    assert np.array_equal(np.array(volumes), expected)
    assert np.array_equal(volumes[1], expected[1])
    assert np.array_equal(volumes[0], expected[0])
    assert np.array_equal(volumes[1, 2:5], expected[1, 2:5])
    assert np.array_equal(volumes[..., 1:2], expected[..., 1:2])
    assert np.array_equal(volumes[:, 3:9, 4], expected[:, 3:9, 4])
    with pytest.raises(TypeError, match="one modality"):
        volumes[[0, 1]]
    assert np.array_equal(seen.volumes(store.cases[1]), store.volumes(store.cases[1]))

    (file,) = (tmp_path / "cache").rglob("*.npy")
    written = file.stat().st_mtime_ns
    table = Availability("x", modalities, (case,), np.ones((1, len(modalities)), dtype=bool), None, what)
    it = Loader(seen, [case], table, crop=16, augment=False)
    for epoch in range(3):
        for batch in it.batches(epoch):
            crop = batch.volumes[0, 1].numpy()
            clean = next(Loader(store, [case], table, crop=16, augment=False).batches(epoch)).volumes[0, 0]
            if layout == "brats":
                assert torch.equal(batch.volumes[0, 0], clean)
            windows = np.lib.stride_tricks.sliding_window_view(expected[1], crop.shape)
            matches = (windows[..., 0, 0, 0] == crop[0, 0, 0]) & (
                windows[..., -1, -1, -1] == crop[-1, -1, -1]
            )
            assert any(
                np.array_equal(windows[place], crop) for place in zip(*np.nonzero(matches), strict=True)
            )
    assert file.stat().st_mtime_ns == written


def test_a_degraded_volume_is_on_the_disk_before_it_has_its_name(stores, tmp_path, monkeypatch):
    """A crash would leave a name with less than the volume behind it, which all later reads would trust."""
    case = stores["brats"].cases[0]
    seen = DegradedStore.of(stores["brats"], {(case, "t1"): Degradation("slab", 3)}, tmp_path)
    synced = []

    def fsync(descriptor):
        synced.append(os.fstat(descriptor).st_size)
        assert list(tmp_path.rglob("*.npy")) == []

    monkeypatch.setattr(os, "fsync", fsync)
    seen.volumes(case)
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert synced == [file.stat().st_size]


def test_a_full_disk_is_told_as_such_and_keeps_no_piece_of_a_volume(stores, tmp_path, monkeypatch):
    case = stores["brats"].cases[0]
    seen = DegradedStore.of(stores["brats"], {(case, "t1"): Degradation("slab", 3)}, tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", full)
        with pytest.raises(OSError, match="No space left"):
            seen.volumes(case)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert seen.volumes(case)[2].shape == stores["brats"].volumes(case)[2].shape


def test_absent_and_degraded_are_different_things(stores, tmp_path):
    store = stores["brats"]
    case = store.cases[0]
    row = np.array([[True, False, True, True]])
    table = Availability("x", PHANTOM.modalities, (case,), row, None, {(case, "t1"): Degradation("slab", 3)})
    seen = DegradedStore.of(store, table.degraded, tmp_path)
    (batch,) = Loader(seen, [case], table, crop=32, augment=False).batches(0)
    assert batch.available.tolist() == row.tolist()
    assert (batch.volumes[0, 1] == 0).all()
    assert (batch.volumes[0, 2] != 0).all()
    assert table.quality == {"t1": {"slab-3": 1.0}}
    assert table.to_csv().splitlines()[1] == f"{case},1,0,slab-3,1"


def test_severities_share_their_draws_and_cases_do_not(stores):
    store = stores["brats"]
    volumes = [degraded_volume(store, store.cases[0], 0, Degradation("slab", s)) for s in SEVERITIES]
    lost = [v != store.volumes(store.cases[0])[0] for v in volumes]
    assert not (lost[0] & ~lost[1]).any()
    assert not (lost[1] & ~lost[2]).any()
    with pytest.raises(KeyError):
        degraded_volume(store, store.cases[0], 0, Degradation("fog", 1))
