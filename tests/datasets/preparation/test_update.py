"""Preparing again: what is done, kept, left out and removed; killed at any moment; two at once."""

import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nifti_study import head, rewrite, write_case, write_image, write_study

from bench_errors import InputError
from datasets.preparation import prepare as prepare_module
from datasets.preparation import prepare_case as case_module
from datasets.preparation.prepare import prepare, update_store
from datasets.store.store import Store
from datasets.store.voxels import Voxels
from datasets.studies.brats import BRATS2020

NAMES = ("one", "two", "three")


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path / "study", BRATS2020, NAMES)


def update(tmp_path, **options):
    return update_store(tmp_path / "study", BRATS2020, tmp_path / "store", **options)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def brighter(array, affine):
    array[5, 5, 5] += 1
    return array, affine


def fork(function, *arguments):
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def test_a_second_call_does_nothing(tmp_path, study):
    first = update(tmp_path)
    assert (first.written, first.kept, first.gone) == (sorted(NAMES), [], [])
    before = contents(tmp_path / "store")
    second = update(tmp_path)
    assert (second.written, second.kept, second.gone) == ([], sorted(NAMES), [])
    assert contents(tmp_path / "store") == before
    assert second.store.hash == first.store.hash


def test_only_what_changed_is_done(tmp_path, study):
    update(tmp_path)
    rewrite(study["two"]["t2"], brighter)
    write_case(tmp_path / "study", BRATS2020, "four")
    changed = update(tmp_path)
    assert (changed.written, changed.kept) == (["four", "two"], ["one", "three"])
    study["one"]["flair"].unlink()
    assert update(tmp_path).written == ["one"]
    assert update(tmp_path).store.available("one") == (False, True, True, True)
    assert contents(tmp_path / "store") == contents(
        prepare(tmp_path / "study", BRATS2020, tmp_path / "afresh").path
    )


def set_version(patch, version):
    """Let this be another edition of the preparation."""
    for module in (prepare_module, case_module):
        patch.setattr(module, "VERSION", version)


def test_a_newer_preparation_does_all(tmp_path, study, monkeypatch):
    update(tmp_path)
    set_version(monkeypatch, 99)
    newer = update(tmp_path)
    assert newer.written == sorted(NAMES)
    assert newer.store.preparation == {"version": 99, "box": "full"}
    assert len(list((tmp_path / "store").glob("*/*"))) == len(NAMES)


def test_cases_whose_files_are_gone_leave_the_store(tmp_path, study):
    update(tmp_path)
    shutil.rmtree(tmp_path / "study" / "two")
    after = update(tmp_path)
    assert (after.written, after.gone, after.store.cases) == ([], ["two"], ["one", "three"])
    assert not (tmp_path / "store" / "two").exists()


def test_damaged_cases_are_mended(tmp_path, study):
    store = update(tmp_path).store
    before = contents(store.path)
    folders = {name: store.path / name / store.record(name).key for name in NAMES}
    (folders["one"] / "labels.b2nd").unlink()
    (folders["two"] / "volumes.b2nd").write_bytes(b"")
    (folders["three"] / "case.json").write_text("{")
    assert update(tmp_path).written == sorted(NAMES)
    assert contents(store.path) == before


def test_an_error_leaves_the_store_in_force_and_the_work_is_not_lost(tmp_path, study):
    old = update(tmp_path).store
    voxels = {name: np.asarray(old.volumes(name)) for name in NAMES}
    rewrite(study["one"]["t2"], brighter)
    study["two"]["t1"].write_bytes(b"")
    study["three"]["label"].unlink()
    with pytest.raises(
        InputError, match=r"case 'three', three_seg.*\(and 1 more errors\).*1 sound"
    ) as caught:
        update(tmp_path)
    assert "--skip-bad" in str(caught.value)
    assert "\n" not in str(caught.value)
    again = Store.open(old.path)
    assert again.hash == old.hash
    for name in NAMES:
        assert not again.damaged(name)
        assert np.array_equal(again.volumes(name), voxels[name])

    rewrite(study["two"]["t2"], brighter)
    for name in ("two", "three"):
        write_case(tmp_path / "study", BRATS2020, name)
    rewrite(study["three"]["t1"], brighter)
    mended = update(tmp_path)
    assert (mended.written, mended.kept) == (["three"], ["one", "two"])
    assert len(list(old.path.glob("*/*"))) == len(NAMES)


def test_an_error_makes_no_store(tmp_path, study):
    study["two"]["t1"].write_bytes(b"")
    with pytest.raises(InputError, match=r"2 sound cases are kept.*leave out the 1 bad with --skip-bad"):
        update(tmp_path)
    with pytest.raises(InputError, match="holds no store"):
        Store.open(tmp_path / "store")
    assert not (tmp_path / "store" / "two").exists()
    skipped = update(tmp_path, skip_bad=True)
    assert (skipped.written, skipped.kept) == ([], ["one", "three"])
    assert skipped.store.left_out.keys() == {"two"}
    assert "two_t1.nii.gz: the file is empty" in Store.open(tmp_path / "store").left_out["two"]
    write_case(tmp_path / "study", BRATS2020, "two")
    mended = update(tmp_path)
    assert (mended.written, mended.kept, mended.store.left_out) == (["two"], ["one", "three"], {})


@pytest.mark.parametrize("skip_bad", [False, True])
def test_where_no_case_is_sound_nothing_is_left(tmp_path, study, skip_bad):
    for paths in study.values():
        paths["label"].unlink()
    with pytest.raises(InputError, match="no case is without errors") as caught:
        update(tmp_path, skip_bad=skip_bad)
    assert "--skip-bad" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["study"]


def test_duplicates_of_kept_cases_are_found(tmp_path, study):
    update(tmp_path)
    shutil.copytree(tmp_path / "study" / "one", tmp_path / "study" / "zero")
    for path in list((tmp_path / "study" / "zero").iterdir()):
        path.rename(path.with_name(path.name.replace("one", "zero")))
    with pytest.raises(InputError, match="case 'zero', flair: the same flair voxels as case 'one'"):
        update(tmp_path)
    assert update(tmp_path, skip_bad=True).store.left_out.keys() == {"zero"}
    # A case that is left out for another reason is no reason to leave out the one it equals.
    study["one"]["label"].unlink()
    assert update(tmp_path, skip_bad=True).store.cases == ["three", "two", "zero"]


def test_a_file_beside_that_confuses_is_seen_in_a_kept_case(tmp_path, study):
    update(tmp_path)
    write_image(tmp_path / "study" / "one" / "one_t1.nii", head("one", ["t1"])[0]["t1"])
    with pytest.raises(InputError, match="found both"):
        update(tmp_path)


def test_an_interrupt_loses_nothing(tmp_path, study):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update(tmp_path, workers=1, progress=interrupt)
    after = update(tmp_path)
    assert "one" in after.kept
    assert not list((tmp_path / "store").rglob(".partial"))


def killed(tmp_path, moment, number):
    """Prepare, and be killed at the given call of a function."""
    calls = 0
    function = getattr(*moment)

    def count(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    setattr(*moment, count)
    update(tmp_path, workers=1)


SYNC, MOVE, INDEX = (os, "fsync"), (Path, "rename"), (Path, "replace")


@pytest.mark.parametrize(
    ("moment", "number", "whole"),
    # The first of all moves takes the lease.
    [
        (MOVE, 1, 0),
        (SYNC, 1, 0),
        (SYNC, 3, 0),
        (MOVE, 2, 0),
        (SYNC, 5, 1),
        (MOVE, 4, 2),
        (SYNC, 10, 3),
        (INDEX, 1, 3),
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_killed_at_any_moment_and_gone_on(tmp_path, study, moment, number, whole, before, monkeypatch):
    if before:
        with monkeypatch.context() as edition:
            set_version(edition, 1)
            old = update(tmp_path).store
    process = fork(killed, tmp_path, moment, number)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    if before:
        assert Store.open(old.path).hash == old.hash
        assert not any(old.damaged(name) for name in NAMES)
    else:
        with pytest.raises(InputError, match="holds no store"):
            Store.open(tmp_path / "store")
    after = update(tmp_path)
    assert (len(after.written), len(after.kept)) == (len(NAMES) - whole, whole)
    afresh = prepare(tmp_path / "study", BRATS2020, tmp_path / "afresh")
    assert contents(after.store.path) == contents(afresh.path)


def test_what_a_killed_call_left_is_removed_although_the_next_fails(tmp_path, study):
    fork(killed, tmp_path, SYNC, 2).join()
    assert list((tmp_path / "store").rglob(".partial"))
    study["two"]["t1"].write_bytes(b"")
    with pytest.raises(InputError, match="the file is empty"):
        update(tmp_path)
    assert not list((tmp_path / "store").rglob(".partial"))


def test_a_second_call_at_the_same_time_is_refused(tmp_path, study):
    refused = []

    def meanwhile(done, total):
        with pytest.raises(InputError, match="another bench data prepare is at work on") as caught:
            update(tmp_path)
        refused.append(caught)

    assert update(tmp_path, progress=meanwhile).written == sorted(NAMES)
    assert len(refused) == len(NAMES)
    assert update(tmp_path).kept == sorted(NAMES)


def test_calls_that_start_together_leave_a_sound_store(tmp_path, study):
    def one(box):
        try:
            update(tmp_path, box=box)
        except InputError:
            os._exit(7)
        os._exit(0)

    processes = [fork(one, box) for box in ("full", "released", "full", "released")]
    for process in processes:
        process.join()
    codes = [process.exitcode for process in processes]
    assert 0 in codes
    assert set(codes) <= {0, 7}
    store = Store.open(tmp_path / "store")
    assert store.cases == sorted(NAMES)
    assert not any(store.damaged(name) for name in NAMES)
    assert len(list(store.path.glob("*/*"))) == len(NAMES)


def test_a_full_disk_leaves_nothing(tmp_path, study, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left"):
        update(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["study"]


def test_a_store_of_format_1_is_replaced(tmp_path, study):
    old = tmp_path / "store"
    for name in ("one", "gone"):
        (old / name).mkdir(parents=True)
        np.save(old / name / "volumes.npy", np.zeros(3))
        np.save(old / name / "labels.npy", np.zeros(3))
    (old / "store.json").write_text('{"format": 1, "cases": {}}')
    (old / "notes.txt").write_text("mine")
    assert update(tmp_path).written == sorted(NAMES)
    assert sorted(p.name for p in old.iterdir()) == [
        ".bench-prepare", "notes.txt", "one", "store.json", "three", "two",
    ]  # fmt: skip
    assert not list(old.rglob("*.npy"))


def test_scoring_may_change_without_preparing_again(tmp_path, study):
    update(tmp_path)
    other = replace(BRATS2020, name="mine", regions=BRATS2020.regions[:1])
    again = update_store(tmp_path / "study", other, tmp_path / "store")
    assert again.kept == sorted(NAMES)
    assert again.store.description == other
    swapped = replace(BRATS2020, file_labels={0: 0, 1: 2, 2: 1, 4: 3})
    assert update_store(tmp_path / "study", swapped, tmp_path / "store").written == sorted(NAMES)


@pytest.mark.parametrize(
    ("values", "kind"),
    [(lambda v: v.astype(np.float32), np.int16), (lambda v: v + np.float32(0.5), np.float32),
     (lambda v: v.astype(np.int32) * 100, np.float32)],
)  # fmt: skip
def test_whole_numbers_of_16_bits_are_kept_as_such_and_others_exactly(tmp_path, study, values, kind):
    for modality, volume in head("one", BRATS2020.modalities)[0].items():
        write_image(study["one"][modality], values(volume))
    store = update(tmp_path).store
    record = store.record("one")
    raw = Voxels(store.path / "one" / record.key / "volumes.b2nd", (4, *record.shape))
    assert raw.dtype == kind
    for m, modality in enumerate(BRATS2020.modalities):
        expected = values(head("one", BRATS2020.modalities)[0][modality]).astype(np.float32)
        window = tuple(slice(*limits) for limits in record.box)
        assert np.array_equal(raw[m], expected[window])
        scaled = (expected[window] - np.float32(record.mean[m])) / np.float32(record.std[m])
        assert np.array_equal(store.volumes("one")[m], scaled)
