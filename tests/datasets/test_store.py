"""A store gives back what was prepared, notices damage, and refuses what is no store."""

import json

import numpy as np
import pytest
from nifti_study import write_study

from bench_errors import InputError
from datasets.brats import BRATS2020
from datasets.prepare import prepare
from datasets.store import Store, check_name


@pytest.fixture
def store(tmp_path):
    write_study(tmp_path / "study", BRATS2020, ("two", "one", "a Ünit"))
    return prepare(tmp_path / "study", BRATS2020, tmp_path / "store")


def test_opens_as_it_was_made(store):
    opened = Store.open(store.path)
    assert opened.description == BRATS2020
    assert opened.cases == ["a Ünit", "one", "two"]
    assert opened.preparation == {"version": 1, "box": "full"}
    assert opened.records == store.records
    assert opened.hash == store.hash
    assert len(store.hash) == 16


def test_reads_are_memory_mapped(store):
    volumes, labels = store.volumes("one"), store.labels("one")
    assert isinstance(volumes, np.memmap)
    assert isinstance(labels, np.memmap)
    assert volumes.shape == (4, *store.record("one").shape)
    assert labels.shape == store.record("one").shape
    with pytest.raises(ValueError, match="read-only"):
        labels[0] = 1


def test_hash_does_not_depend_on_the_place(store, tmp_path):
    moved = store.path.rename(tmp_path / "elsewhere")
    assert Store.open(moved).hash == store.hash


def test_damage_is_noticed(store):
    path = store.path / "one" / "volumes.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert store.damaged("one") == ["volumes.npy"]
    assert store.damaged("two") == []
    path.write_bytes(content[:-9])
    with pytest.raises(InputError, match=r"volumes\.npy cannot be read.*prepare the study again"):
        store.volumes("one")
    np.save(store.path / "one" / "labels.npy", np.zeros((2, 2, 2), dtype=np.uint8))
    with pytest.raises(InputError, match=r"labels\.npy holds uint8 \(2, 2, 2\), expected"):
        store.labels("one")
    path.unlink()
    assert store.damaged("one") == ["volumes.npy", "labels.npy"]


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


def test_newer_format(store):
    edit(store, lambda content: content.update(format=2))
    with pytest.raises(InputError, match="format 2, this version reads 1: update passion-bench"):
        Store.open(store.path)


def test_case_that_leaves_the_folder(store):
    edit(store, lambda content: content["cases"].update({"../one": content["cases"].pop("one")}))
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
