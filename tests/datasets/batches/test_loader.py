import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from nifti_study import write_study

from bench_errors import InputError
from datasets.batches import augment as augmentation
from datasets.batches.loader import Loader
from datasets.missingness.availability import Availability, availability
from datasets.preparation.prepare import prepare
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020
from datasets.vocabulary import presence, subsets
from tests.nothing_waits import NothingWaits

CASES = [f"case{i}" for i in range(6)]


class Recorder:
    """A volume that notes which modalities are read of it."""

    def __init__(self, values, seen):
        self.values, self.seen = values, seen
        self.shape = values.shape

    def __getitem__(self, index):
        self.seen.add(index[0])
        return self.values[index]


class FakeStore:
    """A store in memory whose voxels tell where they come from."""

    def __init__(self, description=BRATS2020, space=(20, 24, 18), cases=CASES, lacking=()):
        self.description, self.cases, self.lacking = description, cases, lacking
        self.space = space
        self.seen = {case: set() for case in cases}
        places = np.arange(np.prod(space), dtype=np.float32).reshape(space)
        self.stacked = np.stack([places + 1e5 * (m + 1) for m in range(len(description.modalities))])

    def volumes(self, case):
        three = self.description.spatial_dims == 3
        return Recorder(self.stacked, self.seen[case]) if three else self.stacked

    def labels(self, case):
        labels = np.zeros(self.space, dtype=np.uint8)
        labels[15, 4, 0] = 2
        return labels

    def labelled(self, case):
        return tuple(np.count_nonzero(self.labels(case), axis=(1, 2)))

    def available(self, case):
        return tuple(m not in self.lacking for m in self.description.modalities)


def loader(store=None, profile="mr2468", **options):
    store = store or FakeStore()
    existing = np.array([store.available(case) for case in store.cases])
    table = availability(profile, store.cases, store.description, existing=existing)
    return Loader(store, store.cases, table, **{"crop": 16, "augment": False, **options})


def equal(one, other):
    tensors = ("volumes", "available", "present", "target", "corners")
    return one.cases == other.cases and all(torch.equal(getattr(one, t), getattr(other, t)) for t in tensors)


def cases_of(batch):
    return [re.split("[#@]", name)[0] for name in batch.cases]


def test_an_epoch_is_every_case_once_in_a_drawn_order():
    it = loader(batch_size=4)
    first, second = list(it.batches(0)), list(it.batches(1))
    assert len(it) == len(first) == 2
    assert it.units == 6
    names = [[case for batch in epoch for case in batch.cases] for epoch in (first, second)]
    assert sorted(names[0]) == sorted(names[1]) == CASES
    assert names[0] != names[1]
    batch = first[0]
    assert batch.volumes.shape == (4, 4, 16, 16, 16)
    assert batch.volumes.dtype == torch.float32
    assert batch.target.shape == (4, 16, 16, 16)
    assert batch.target.dtype == torch.int64
    assert batch.available.dtype == batch.present.dtype == torch.bool


def test_crops_are_whole_pieces_of_the_volume_and_differ_between_epochs():
    it = loader(profile="complete")
    corners = set()
    for epoch in range(8):
        for batch in it.batches(epoch):
            corner = int(batch.volumes[0, 0, 0, 0, 0] - 1e5)
            x, y, z = np.unravel_index(corner, (20, 24, 18))
            place = (slice(x, x + 16), slice(y, y + 16), slice(z, z + 16))
            assert np.array_equal(batch.volumes[0], FakeStore().stacked[(slice(None), *place)])
            assert np.array_equal(batch.target[0], FakeStore().labels("")[place])
            corners.add((x, y, z))
    assert len(corners) > 35
    assert [{c[i] for c in corners} for i in (0, 2)] == [set(range(5)), set(range(3))]


@pytest.mark.parametrize("augment", [False, True, "released"])
@pytest.mark.parametrize("policy", ["idt", "idt_drop"])
def test_an_epoch_can_be_repeated_by_itself_and_does_not_hang_on_batches(augment, policy):
    options = {"augment": augment, "policy": policy, "label_share": 0.5}
    singles = {b.cases[0]: b for b in loader(**options).batches(3)}
    again = loader(**options)
    list(again.batches(0))
    assert all(equal(b, singles[b.cases[0]]) for b in again.batches(3))
    assert [b.cases for b in again.batches(3, 4)] == [b.cases for b in again.batches(3)][4:]
    assert all(equal(b, singles[b.cases[0]]) for b in again.batches(3, 4))
    assert list(again.batches(3, len(again))) == []
    pair = next(loader(batch_size=2, **options).batches(3))
    for i, case in enumerate(pair.cases):
        assert torch.equal(pair.volumes[i], singles[case].volumes[0])
        assert torch.equal(pair.present[i], singles[case].present[0])


@pytest.mark.parametrize(("steps", "batch_size"), [(2, 2), (5, 2), (7, 1), (1, 13)])
def test_epochs_of_a_number_of_steps_go_through_the_cases_again_and_again(steps, batch_size):
    """Whatever the epochs are, the samples are those of the passes, which are epochs of every case once."""
    options = {"policy": "idt_drop", "augment": True}
    passes = loader(**options)
    expected = [batch for turn in range(5) for batch in passes.batches(turn)][: 2 * steps * batch_size]
    it = loader(batch_size=batch_size, steps_per_epoch=steps, **options)
    assert (len(it), it.units, it.cases_in(steps - 1)) == (steps, 6, batch_size)
    epochs = [list(it.batches(epoch)) for epoch in range(2)]
    assert [len(epoch) for epoch in epochs] == [steps, steps]
    samples = iter(expected)
    for batch in (batch for epoch in epochs for batch in epoch):
        assert len(batch.cases) == batch_size
        for i, case in enumerate(batch.cases):
            one = next(samples)
            assert case == one.cases[0]
            assert torch.equal(batch.volumes[i], one.volumes[0])
            assert torch.equal(batch.present[i], one.present[0])
    assert equal(next(it.batches(1, steps - 1)), epochs[1][-1])
    parts = [loader(batch_size=batch_size, steps_per_epoch=steps, part=(rank, 2)) for rank in range(2)]
    shared = [[b.cases for b in part.batches(1)] for part in parts]
    for batch, first, second in zip(epochs[1], *shared, strict=True):
        assert (first, second) == (batch.cases[::2], batch.cases[1::2] or batch.cases)


def test_crops_may_have_an_edge_an_axis():
    (batch,) = loader(FakeStore(cases=["a"]), crop=(8, 24, 16), profile="complete").batches(0)
    assert batch.volumes.shape == (1, 4, 8, 24, 16)
    x, y, z = np.unravel_index(int(batch.volumes[0, 0, 0, 0, 0] - 1e5), (20, 24, 18))
    place = (slice(x, x + 8), slice(y, y + 24), slice(z, z + 16))
    assert np.array_equal(batch.volumes[0], FakeStore().stacked[(slice(None), *place)])
    flat = FakeStore(MYOPS2020, space=(20, 24, 3), cases=["a"])
    batch = next(loader(flat, crop=(16, 8), profile="complete", augment=True).batches(0))
    assert batch.volumes.shape == (1, 3, 16, 8, 1)
    with pytest.raises(InputError, match="the study is 2-D"):
        next(loader(flat, crop=(16, 8, 16), profile="complete").batches(0))


def test_a_started_epoch_can_be_left():
    it = loader()
    batches = it.batches(0)
    first = next(batches)
    batches.close()
    assert equal(first, next(it.batches(0)))
    assert it.wait >= 0


def test_what_fails_in_the_background_is_raised():
    it = loader()
    it._store.labels = lambda case: 1 / 0
    with pytest.raises(ZeroDivisionError):
        next(it.batches(0))


@pytest.mark.parametrize("augment", [False, True, "released"])
def test_absent_modalities_are_zero_and_never_read(augment):
    store = FakeStore()
    it = loader(store, augment=augment)
    table = availability("mr2468", CASES, BRATS2020)
    for batch in it.batches(0):
        row = table.table[CASES.index(batch.cases[0])]
        assert batch.available[0].tolist() == batch.present[0].tolist() == row.tolist()
        for m, there in enumerate(row):
            assert (batch.volumes[0, m] != 0).any() == there
        assert store.seen[batch.cases[0]] == set(np.flatnonzero(row))
    assert it.units_per_modality() == table.table.sum(axis=0).tolist()


def test_random_drop_takes_every_subset_of_what_the_case_has():
    table = Availability("csv:x", BRATS2020.modalities, ("a",), np.array([[True, False, True, True]]), None)
    it = Loader(FakeStore(cases=["a"]), ["a"], table, crop=16, policy="idt_drop", augment=False)
    counts = {}
    for epoch in range(700):
        unit = it._units[0]
        key = tuple(it._subset(unit, epoch).tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 7
    assert all(not key[1] for key in counts)
    assert min(counts.values()) > 60
    assert next(it.batches(0)).available.tolist() == [[True, False, True, True]]


FLAIR, PAIR, ALL = (True, False, False, False), (True, False, False, True), (True,) * 4


def halves():
    """Six cases: four have FLAIR and T2, two of these all four, and two T1ce alone."""
    rows = np.array([[1, 0, 0, 1]] * 2 + [[1, 1, 1, 1]] * 2 + [[0, 1, 0, 0]] * 2, dtype=bool)
    return Availability("halves", BRATS2020.modalities, tuple(CASES), rows, None)


def test_the_subsets_that_a_case_can_show():
    masks = Loader(FakeStore(), CASES, halves(), crop=16).masks()
    assert masks == [presence(subset, BRATS2020.modalities) for subset in subsets(BRATS2020.modalities)]
    assert Loader(FakeStore(), CASES[:2], halves(), crop=16).masks() == [FLAIR, (False,) * 3 + (True,), PAIR]


def test_a_step_shows_the_subset_that_the_objective_names():
    it = Loader(FakeStore(), CASES, halves(), crop=16, augment=False, batch_size=2)
    order = [PAIR, ALL, PAIR, ALL, PAIR, PAIR, None, None, None]
    epochs = [list(it.batches(epoch, 0, order.__getitem__)) for epoch in range(3)]
    shown = [batch for epoch in epochs for batch in epoch]
    for batch, mask in zip(shown[:6], order, strict=False):
        assert batch.present.tolist() == [list(mask)] * 2
        assert (batch.present & ~batch.available).sum() == 0
        assert set(cases_of(batch)) <= set(CASES[2:4] if mask == ALL else CASES[:4])
        assert torch.equal((batch.volumes != 0).any(dim=(2, 3, 4)), batch.available)
    seen = [cases_of(batch) for batch in shown]
    assert sorted(seen[0] + seen[2]) == CASES[:4]  # all that can, before one comes again
    assert sorted(seen[1]) == sorted(seen[3]) == CASES[2:4]
    again = {case: volume for case, volume in zip(seen[1], shown[1].volumes, strict=True)}
    assert not any(torch.equal(v, again[c]) for c, v in zip(seen[3], shown[3].volumes, strict=True))
    assert all(equal(one, other) for one, other in zip(epochs[2], it.batches(2), strict=True))


def test_named_subsets_are_the_same_from_any_step_on_and_parted_between_devices():
    it = Loader(FakeStore(), CASES, halves(), crop=16, batch_size=2)
    parts = [Loader(FakeStore(), CASES, halves(), crop=16, batch_size=2, part=(k, 2)) for k in range(2)]
    whole = list(it.batches(1, 0, lambda step: ALL if step == 4 else FLAIR))
    rest = list(it.batches(1, 1, lambda step: ALL if step == 4 else FLAIR))
    assert all(equal(one, other) for one, other in zip(whole[1:], rest, strict=True))
    shared = [list(p.batches(1, 0, lambda step: ALL if step == 4 else FLAIR)) for p in parts]
    assert [a.cases + b.cases for a, b in zip(*shared, strict=True)] == [b.cases for b in whole]


def test_samples_of_one_case_in_a_batch_have_names_of_their_own():
    """By which networks draw: two of one case had the same noise."""
    it = Loader(FakeStore(), CASES[1:3], halves(), crop=16, batch_size=2)
    (batch,) = it.batches(0, 0, lambda step: ALL)  # which one of the two cases can show
    assert cases_of(batch) == [CASES[2]] * 2
    assert len(set(batch.cases)) == 2


def test_a_subset_that_no_case_can_show_is_refused():
    it = Loader(FakeStore(), CASES[:2], halves(), crop=16)
    with pytest.raises(InputError, match=r"no training case can show flair\+t1ce\+t1\+t2"):
        next(it.batches(0, 0, lambda step: ALL))


def test_pdt_shows_everything_and_draws_from_all_subsets():
    it = loader(policy="pdt")
    drawn = set()
    for epoch in range(20):
        for batch in it.batches(epoch):
            assert batch.available.all()
            assert (batch.volumes[0] != 0).flatten(1).any(dim=1).all()
            drawn.add(tuple(batch.present[0].tolist()))
    assert len(drawn) == 15
    assert it.units_per_modality() == [6, 6, 6, 6]
    with pytest.raises(InputError, match="case0 lacks t1: leave it out"):
        loader(FakeStore(lacking=["t1"]), policy="pdt")


def test_label_share_centres_crops_on_the_label():
    for batch in loader(label_share=1.0).batches(0):
        # The labelled voxel (15, 4, 0) is in the middle where the border lets it.
        assert batch.target[0].nonzero().tolist() == [[11, 4, 0]]
    without = [(batch.target > 0).any().item() for e in range(40) for batch in loader().batches(e)]
    assert np.mean(without) == pytest.approx(5 / 9 * 1 / 3, abs=0.08)  # places in y and z that hold the voxel


def test_every_labelled_voxel_is_drawn_equally_often_and_no_other():
    store = FakeStore(cases=["a"])
    labels = np.zeros(store.space, dtype=np.uint8)
    voxels = [(3, 4, 5), (3, 4, 6), (3, 20, 0), (9, 0, 17), (19, 23, 17)]
    labels[tuple(zip(*voxels, strict=True))] = [1, 2, 3, 1, 2]
    store.labels = lambda case: labels
    it = loader(store, label_share=1.0)
    random = np.random.default_rng(0)
    drawn = [it._labelled(labels, it._units[0], random) for _ in range(500)]
    assert sorted(set(drawn)) == voxels
    assert min(map(drawn.count, voxels)) > 70
    # The same draw as from all labelled voxels in the order of the array, so that older runs can be repeated.
    ordered = np.argwhere(labels).tolist()
    random, again = np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(20):
        assert it._labelled(labels, it._units[0], random) == tuple(ordered[again.integers(len(ordered))])
    labels[:] = 0
    assert it._labelled(labels, it._units[0], random) is None


def test_small_volumes_are_padded_at_the_end_with_the_minimum():
    (batch,) = loader(FakeStore(space=(20, 10, 18), cases=["a"]), profile="complete").batches(0)
    assert batch.volumes.shape == (1, 4, 16, 16, 16)
    for m in range(4):
        assert (batch.volumes[0, m, :, 10:] == 1e5 * (m + 1)).all()
        assert (batch.volumes[0, m, :, :10] > 1e5 * (m + 1)).any()
    assert (batch.target[0, :, 10:] == 0).all()


def test_a_2d_study_gives_every_slice_once():
    store = FakeStore(MYOPS2020, space=(20, 24, 3), cases=["a", "b"])
    it = loader(store, profile="mr357", batch_size=4, augment=True, label_share=1.0)
    assert it.units == 6
    assert len(it) == 2
    batches = list(it.batches(0))
    assert batches[0].volumes.shape == (4, 3, 16, 16, 1)
    assert batches[1].target.shape == (2, 16, 16, 1)
    assert sorted(name for b in batches for name in b.cases) == [
        f"{case}#{k}" for case in "ab" for k in range(3)
    ]
    rows = {case: row for b in batches for case, row in zip(cases_of(b), b.available.tolist(), strict=True)}
    table = availability("mr357", ["a", "b"], MYOPS2020)
    assert rows == dict(zip(table.cases, table.table.tolist(), strict=True))
    assert it.units_per_modality() == (3 * table.table.sum(axis=0)).tolist()


class InMemory:
    """The cases of a store as plain arrays."""

    def __init__(self, store):
        self.description, self.cases, self.available = store.description, store.cases, store.available
        self.labelled = store.labelled
        self._volumes = {case: np.array(store.volumes(case)) for case in store.cases}
        self._labels = {case: np.array(store.labels(case)) for case in store.cases}

    def volumes(self, case):
        return self._volumes[case]

    def labels(self, case):
        return self._labels[case]


@pytest.mark.parametrize(("description", "shape"), [(BRATS2020, (60, 50, 52)), (MYOPS2020, (270, 60, 3))])
@pytest.mark.parametrize("crop", [24, 56])
def test_crops_of_a_store_are_pieces_of_its_whole_volumes(tmp_path, description, shape, crop):
    paths = write_study(tmp_path / "study", description, ("101", "102"), shape)
    paths["102"][description.modalities[1]].unlink()
    store = prepare(tmp_path / "study", description, tmp_path / "store")
    options = {"profile": "complete", "crop": crop, "label_share": 0.5, "batch_size": 2, "augment": True}
    for epoch in range(3):
        on_disk = loader(store, **options).batches(epoch)
        in_memory = loader(InMemory(store), **options).batches(epoch)
        assert all(equal(one, other) for one, other in zip(on_disk, in_memory, strict=True))


def test_wrong_use():
    with pytest.raises(InputError, match="no training case"):
        Loader(FakeStore(), [], availability("complete", [], BRATS2020), crop=16)
    store = FakeStore(lacking=["t1"])
    with pytest.raises(ValueError, match="does not have"):
        Loader(store, CASES, availability("complete", CASES, BRATS2020), crop=16)


def test_to_moves_the_tensors():
    batch = next(loader().batches(0))
    assert equal(batch, batch.to(torch.device("cpu")))
    assert replace(batch, cases=["x"]).to(torch.device("meta")).volumes.is_meta


def test_corners_say_where_a_crop_lies_and_which_axes_are_flipped(monkeypatch):
    draw = augmentation.draw

    def without_rotation(*arguments):
        change = draw(*arguments)
        ones, zeros = torch.ones_like(change.scale), torch.zeros_like(change.shift)
        return replace(change, degrees=0, scale=ones, shift=zeros)

    monkeypatch.setattr(augmentation, "draw", without_rotation)
    store = FakeStore(space=(20, 24, 12))
    flips = set()
    for batch in loader(store, "complete", augment=True).batches(0):
        ((first, last),) = batch.corners.tolist()
        assert sorted([first[2], last[2]]) == [0, 15]  # four voxels of padding at the end
        ways = [(a, b, 1 if b > a else -1) for a, b in zip(first, last, strict=True)]
        index = [np.arange(a, b + way, way) for a, b, way in ways]
        inside = index[2] < 12
        expected = store.stacked[:, index[0]][:, :, index[1]][..., index[2][inside]]
        assert np.array_equal(batch.volumes[0][..., inside].numpy(), expected)
        flips |= {way < 0 for _, _, way in ways}
    assert flips == {True, False}


def test_the_corners_of_a_slice_name_the_slice():
    it = loader(FakeStore(MYOPS2020, space=(20, 24, 3)), "complete", batch_size=3)
    corners = torch.cat([batch.corners for batch in it.batches(0)])
    assert torch.equal(corners[:, 0, 2], corners[:, 1, 2])
    assert corners[:, 0, 2].unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize("room", [1, 40_000, 10**9])
@pytest.mark.parametrize("description", [BRATS2020, MYOPS2020], ids=["volumes", "slices"])
@pytest.mark.parametrize(
    "options",
    [{"augment": True, "label_share": 0.5}, {"policy": "pdt", "crop": 22}, {"augment": "released"}],
    ids=["augmented", "small volumes", "released"],
)
def test_batches_are_the_same_where_the_study_is_kept(room, description, options):
    """Room for nothing, for some volumes (of 35 kB each) but not all, for all."""
    options = {"profile": "mr2468" if description is BRATS2020 else "mr246", **options}
    read = loader(FakeStore(description), **options)
    kept = loader(FakeStore(description), **options, room=room)
    for epoch in (0, 1):
        for one, other in zip(read.batches(epoch), kept.batches(epoch), strict=True):
            assert equal(one, other)


def test_what_is_kept_is_read_once():
    store = FakeStore()
    kept = loader(store, profile="complete", room=10**9)
    list(kept.batches(0))
    store.stacked = store.labels = None
    store.labels = lambda case: np.zeros(store.space, dtype=np.uint8)
    store.volumes = None
    assert len(list(kept.batches(1))) == len(CASES)


@pytest.mark.parametrize("description", [BRATS2020, MYOPS2020], ids=["volumes", "slices"])
def test_nothing_waits_for_the_device_that_makes_a_batch(description):
    """`meta` has no values: whoever asks for one gets an error; copies that would wait are refused."""
    options = {"profile": "complete", "augment": True, "crop": 22}
    made = loader(FakeStore(description), **options, device=torch.device("meta"), room=10**9)
    with NothingWaits():
        batches = list(made.batches(0))
    for batch in batches:
        assert batch.volumes.is_meta
        assert batch.target.is_meta
