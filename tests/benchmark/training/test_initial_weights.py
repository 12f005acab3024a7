"""Weights to start from: where they are found, how they are followed, and what does not fit."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from bench_errors import InputError
from benchmark.config.grid import load_grid
from benchmark.config.initial_weights import IN_FOLDERS, pinned_weights
from benchmark.config.run_config import RunConfig
from benchmark.run_folder.model_folder import MODEL, MODEL_CONFIG, PRINTS, checksum
from benchmark.run_folder.stored_weights import FORMS, pack, unpack
from benchmark.training.build import build_backbone, initial_backbone
from benchmark.training.seen_cases import SPLIT, check_start, learnt_from, write_learnt_from
from datasets.batches.split import Split
from datasets.preparation.expected import expected_store
from datasets.studies.brats import PHANTOM


def config(init=None, width=2):
    train = {"crop": 16} | ({"init": str(init)} if init else {})
    return RunConfig.model_validate({"backbone": {"width": width}, "train": train})


@pytest.fixture
def weights():
    torch.manual_seed(3)
    return build_backbone(config(), PHANTOM).state_dict()


@pytest.mark.parametrize("name", ["weights.safetensors", "model.safetensors", "mine.safetensors", "mine.pth"])
def test_a_network_starts_from_the_weights_of_a_folder_or_a_file(name, weights, tmp_path):
    file = tmp_path / name
    if name == "mine.pth":
        torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}}, file)
    else:
        save_file(weights, file)
    init = pinned_weights(str(file if name.startswith("mine") else tmp_path))
    assert init == pinned_weights(init)
    started = initial_backbone(config(init), PHANTOM).state_dict()
    assert all(torch.equal(started[key], value) for key, value in weights.items())
    fresh = build_backbone(config(init), PHANTOM).state_dict()
    assert not torch.equal(fresh["fused_decoder.head.weight"], weights["fused_decoder.head.weight"])


def model_folder(folder, weights, stored="fp32", prints=()):
    save_file(pack(weights, stored), folder / MODEL)
    (folder / PRINTS).write_text(json.dumps(list(prints)))
    recorded = {"sha256": checksum(folder / MODEL), "learnt_from_sha256": checksum(folder / PRINTS)}
    content = {"dataset": PHANTOM.to_dict(), "weights": {**recorded, "stored": stored}}
    (folder / MODEL_CONFIG).write_text(json.dumps(content))


@pytest.mark.parametrize("stored", FORMS)
def test_a_network_starts_from_a_model_folder_however_its_weights_are_stored(stored, weights, tmp_path):
    model_folder(tmp_path, weights, stored)
    expected = unpack(pack(weights, stored), stored)
    for init in (tmp_path, tmp_path / MODEL):
        started = initial_backbone(config(init), PHANTOM).state_dict()
        assert all(torch.equal(started[key], value) for key, value in expected.items())


@pytest.mark.parametrize("name", [MODEL, PRINTS])
def test_a_damaged_model_folder_is_no_start(name, weights, tmp_path):
    model_folder(tmp_path, weights, prints=["0123456789abcdef"])
    content = (tmp_path / name).read_bytes()
    middle = len(content) // 2
    (tmp_path / name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(InputError, match=rf"is no whole model folder \({name} has another checksum"):
        initial_backbone(config(tmp_path), PHANTOM)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=rf"{name} is not there|is a folder without weights"):
        initial_backbone(config(tmp_path), PHANTOM)


def test_weights_that_have_changed_or_are_not_there_are_refused(weights, tmp_path):
    file = tmp_path / "mine.safetensors"
    save_file(weights, file)
    init = pinned_weights(str(file))
    save_file({key: value + 1 for key, value in weights.items()}, file)
    for use in (pinned_weights, lambda init: initial_backbone(config(init), PHANTOM)):
        with pytest.raises(InputError, match=r"mine\.safetensors has changed since the run was planned"):
            use(init)
    with pytest.raises(InputError, match=r"no\.pth does not exist: give a finished run folder"):
        pinned_weights(str(tmp_path / "no.pth"))
    with pytest.raises(InputError, match="is a folder without weights"):
        pinned_weights(str(tmp_path))


def test_what_does_not_fit_is_named(weights, tmp_path):
    file = tmp_path / "mine.safetensors"
    save_file(weights, file)
    with pytest.raises(InputError, match=r"do not fit RFNet: \d+ of another shape \(encoders\.0\."):
        initial_backbone(config(file, width=4), PHANTOM)
    some = dict(list(weights.items())[1:])
    save_file({**some, "stranger": torch.zeros(1)}, file)
    with pytest.raises(InputError, match=rf"1 missing \({next(iter(weights))}\); 1 left over \(stranger\)"):
        initial_backbone(config(file), PHANTOM)
    file.write_bytes(b"nothing")
    with pytest.raises(InputError, match="is no whole checkpoint"):
        initial_backbone(config(file), PHANTOM)


@pytest.mark.parametrize("name", ["config.yaml", "config.json"])
def test_modalities_in_another_order_are_refused(weights, tmp_path, name):
    save_file(weights, tmp_path / "weights.safetensors")
    learnt = replace(PHANTOM, modalities=("t1ce", "flair", "t1", "t2")).to_dict()
    (tmp_path / name).write_text(json.dumps({"dataset": learnt}))
    with pytest.raises(
        InputError, match=r"the modalities t1ce, flair, t1, t2, phantom has flair, t1ce, t1, t2"
    ):
        initial_backbone(config(tmp_path), PHANTOM)
    (tmp_path / name).write_text('{"dataset": {"classes": ["background", "a", "b", "c"]}}')
    study = replace(PHANTOM, classes=("background", "a", "c", "b"))
    with pytest.raises(
        InputError, match=r"the classes background, a, b, c, phantom has background, a, c, b: d"
    ):
        initial_backbone(config(tmp_path), study)
    (tmp_path / name).write_text(json.dumps({"dataset": {"modalities": ["adc", "dwi", "swi", "t1"]}}))
    initial_backbone(config(tmp_path), PHANTOM)


@pytest.mark.parametrize("study", ["{classes: 4}", "{modalities: null}", "{classes: [0, a, null]}", "BraTS"])
def test_what_another_program_says_beside_weights_is_no_order(weights, tmp_path, study):
    save_file(weights, tmp_path / "weights.safetensors")
    (tmp_path / "config.yaml").write_text(f"dataset: {study}")
    initial_backbone(config(tmp_path / "weights.safetensors"), PHANTOM)


def test_a_grid_follows_weights_by_what_they_are(weights, tmp_path):
    for name in ("a", "b"):
        save_file(weights, tmp_path / f"{name}.safetensors")
    grid = tmp_path / "mine.yaml"
    grid.write_text(f"axes: {{seed: [1]}}\nbase:\n  train:\n    init: {tmp_path}/a.safetensors\n")
    (first,) = load_grid(str(grid)).configs
    (second,) = load_grid(str(grid), [f"train.init={tmp_path}/b.safetensors"]).configs
    assert first.train.init == pinned_weights(f"{tmp_path}/a.safetensors")
    assert first.folder == second.folder
    grid.write_text(grid.read_text().replace("a.safetensors", "c.safetensors"))
    with pytest.raises(InputError, match=r"line 4: .*c\.safetensors does not exist"):
        load_grid(str(grid))


def test_weights_that_have_learnt_from_test_cases_are_no_start(tmp_path):
    names = ["one", "two", "three"]
    store = expected_store(PHANTOM, names, (4, 4, 4))
    records = {name: replace(store.records[name], prints={"flair": name.ljust(64, "x")}) for name in names}
    store = replace(store, records=records)
    init = tmp_path / "before"
    init.mkdir()
    write_learnt_from(init, store, Split(("one",), (), ("two",)), None)
    check_start(f"{init}#0123456789ab", store, Split(("one", "three"), (), ("two",)))
    check_start(str(init), store, Split(("one",), (), ("one",)))  # the run learns from it anyway
    for name in IN_FOLDERS:
        (init / name).touch()
        with pytest.raises(InputError, match="has learnt from 1 of the run's test cases"):
            check_start(str(init / name), store, Split(("two",), (), ("one",)))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / IN_FOLDERS[0]).touch()
    (foreign / SPLIT).write_text("[]")
    for content in ("dataset: BraTS", "[1, 2]", "a: [", ""):
        (foreign / "config.yaml").write_text(content)
        check_start(str(foreign / IN_FOLDERS[0]), store, Split(("two",), (), ("one",)))
    check_start("weights.pth", store, Split(("two",), (), ("one",)))  # nobody knows
    with pytest.raises(InputError, match=r"has learnt from 1 of the run's test cases \(one\)"):
        check_start(str(init), store, Split(("two",), (), ("one",)))
    write_learnt_from(tmp_path, store, Split(("three",), (), ("two",)), str(init))
    assert json.loads((tmp_path / SPLIT).read_text())["before"] == ["one".ljust(16, "x")]
    assert learnt_from(tmp_path)[1] == {"one".ljust(16, "x"), "three".ljust(16, "x")}
