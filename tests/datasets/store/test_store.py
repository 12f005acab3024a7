"""A store gives back what was prepared, notices damage, and refuses what is no store."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from nifti_study import write_case, write_study

from bench_errors import InputError
from datasets.preparation.prepare import prepare
from datasets.store.store import Store, check_name
from datasets.store.voxels import packed
from datasets.studies.brats import BRATS2020


@pytest.fixture
def store(tmp_path):
    write_study(tmp_path / "study", BRATS2020, ("two", "one", "a Ünit"))
    return prepare(tmp_path / "study", BRATS2020, tmp_path / "store")


def folder(store, case):
    return store.path / case / store.record(case).key


def test_opens_as_it_was_made(store):
    opened = Store.open(store.path)
    assert opened.description == BRATS2020
    assert opened.cases == ["a Ünit", "one", "two"]
    assert opened.preparation == {"version": 2, "box": "full"}
    assert opened.records == store.records
    assert opened.hash == store.hash
    assert len(store.hash) == 16


def test_arrays_are_read_where_they_are_indexed(store):
    volumes, labels = store.volumes("one"), store.labels("one")
    assert (volumes.shape, volumes.dtype) == ((4, *store.record("one").shape), np.float32)
    assert (labels.shape, labels.dtype) == (store.record("one").shape, np.uint8)
    box = (slice(2, 9), slice(0, 5), slice(3, 4))
    assert np.array_equal(volumes[1, *box], np.asarray(volumes)[1, 2:9, :5, 3:4])
    assert np.array_equal(labels[box], np.asarray(labels)[2:9, :5, 3:4])
    counts = np.count_nonzero(np.asarray(labels), axis=(1, 2))
    assert store.labelled("one") == tuple(counts)
    assert counts.any()


def test_the_record_leads_back_to_the_original_volume(tmp_path):
    shape = (140, 9, 8)
    paths = write_case(tmp_path / "study", BRATS2020, "one", shape)
    store = prepare(tmp_path / "study", BRATS2020, tmp_path / "store")
    record = store.record("one")
    assert record.shape != shape
    values = np.array([0, 1, 2, 4], dtype=np.uint8)  # class index -> file label
    whole = np.zeros(record.original_shape, dtype=np.uint8)
    whole[tuple(slice(*limits) for limits in record.box)] = values[np.asarray(store.labels("one"))]
    file = nib.load(paths["label"])
    assert np.array_equal(whole, np.asanyarray(file.dataobj))
    assert np.array_equal(record.affine, file.affine)


def test_hash_does_not_depend_on_the_place(store, tmp_path):
    moved = store.path.rename(tmp_path / "elsewhere")
    assert Store.open(moved).hash == store.hash


def flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["volumes.b2nd", "labels.b2nd", "case.json"])
@pytest.mark.parametrize(
    "damage", [flip, lambda path: path.write_bytes(path.read_bytes()[:-9]), lambda path: path.unlink()]
)
def test_damage_is_noticed(store, name, damage):
    damage(folder(store, "one") / name)
    assert store.damaged("one") == [name]
    assert store.damaged("two") == []


def test_what_cannot_be_read_is_said(store):
    path = folder(store, "one") / "volumes.b2nd"
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    with pytest.raises(InputError, match=r"volumes\.b2nd cannot be read .*bench data verify"):
        store.volumes("one")
    path.write_bytes(content[:200] + bytes(len(content) - 400) + content[-200:])
    with pytest.raises(InputError, match=r"volumes\.b2nd cannot be read .*bench data verify"):
        store.volumes("one")[:]
    path.unlink()
    with pytest.raises(InputError, match=r"volumes\.b2nd cannot be read .*bench data verify"):
        store.volumes("one")
    other = store.path / "two" / store.record("two").key / "labels.b2nd"
    other.write_bytes(packed(np.zeros((2, 2, 2), dtype=np.uint8), (2, 2, 2)))
    with pytest.raises(InputError, match=r"labels\.b2nd holds \(2, 2, 2\), expected"):
        store.labels("two")


def test_unknown_case(store):
    with pytest.raises(InputError, match="no case 'three'"):
        store.volumes("three")
    with pytest.raises(InputError, match="no case"):
        store.available("../one")


def test_absent_or_no_store(tmp_path):
    with pytest.raises(InputError, match=r"does not exist: make it with: bench data prepare .*--out"):
        Store.open(tmp_path / "absent")
    with pytest.raises(InputError, match=r"holds no store \(it has no store.json\)"):
        Store.open(tmp_path)
    (tmp_path / "store.json").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        Store.open(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"description": 1, "cases": {}}', '"words"'])
def test_broken_index(tmp_path, text):
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(InputError, match=r"store\.json (cannot be read|is no index of a store)") as caught:
        Store.open(tmp_path)
    assert "\n" not in str(caught.value)


def edit(store, change):
    path = store.path / "store.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("number", [1, 2, 4])
def test_another_format(store, number):
    edit(store, lambda content: content.update(format=number))
    with pytest.raises(InputError, match=rf"format {number}, this version reads format 3: prepare the study"):
        Store.open(store.path)


def test_case_that_leaves_the_folder(store):
    edit(store, lambda content: content["cases"].update({"../one": content["cases"].pop("one")}))
    with pytest.raises(InputError, match="expected the plain name of a folder"):
        Store.open(store.path)


def test_key_that_leaves_the_folder(store):
    edit(store, lambda content: content["cases"]["one"].update(key="../two"))
    with pytest.raises(InputError, match="expected the plain name of a folder"):
        Store.open(store.path)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "..\\x", "a\nb", "\udcff", "store.json"])
def test_refused_names(name):
    with pytest.raises(InputError, match="plain name of a folder") as caught:
        check_name(name)
    str(caught.value).encode()


@pytest.mark.parametrize("name", ["BraTS20_Training_001", "Müller, Jürgen (2)", "患者 7", "a b", "..x"])
def test_accepted_names(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["=HYPERLINK(A1)", "+cmd|calc", "-2+3", "@SUM(A1)", " =1", "\uff1d1+1"])
def test_names_that_a_spreadsheet_would_compute_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="which a spreadsheet takes for a formula: rename it, or describe"):
        check_name(name)
    write_study(tmp_path / "study", BRATS2020, (name, "two"))
    with pytest.raises(InputError, match="takes for a formula"):
        prepare(tmp_path / "study", BRATS2020, tmp_path / "store")
    named = replace(BRATS2020, layouts=(replace(BRATS2020.layouts[0], name="c{case}"),))
    assert set(prepare(tmp_path / "study", named, tmp_path / "store").cases) == {f"c{name}", "ctwo"}
