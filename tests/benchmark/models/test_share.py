"""Model folders sent and taken: the real client against a stand-in of the hub, and from folder to folder."""

import json
import shutil
import sys
from hashlib import sha256

import pytest
import torch
from bench_program import bench
from hub_server import TOKEN, HubServer
from lone_test_folder import single_test
from recorded_runs import merged, record

from bench_errors import InputError
from benchmark.config.run_config import read_config
from benchmark.models import share
from benchmark.models.export import export_model
from benchmark.models.trained_model import load_trained, own_test
from benchmark.run_folder.checkpoint import save_weights
from benchmark.run_folder.files import write_yaml
from benchmark.run_folder.folder import RunFolder
from benchmark.run_folder.stored_weights import FORMS
from benchmark.training.build import build_backbone
from datasets.studies.brats import PHANTOM

NAME = "someone/rfnet-phantom"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose weights were never trained, which makes no difference here."""
    folder = record(tmp_path_factory.mktemp("share") / "runs" / "small", "passion")
    torch.manual_seed(0)
    network = build_backbone(read_config(folder.config()["config"], "test"), PHANTOM)
    save_weights(folder, network.state_dict())
    return folder


@pytest.fixture(scope="module")
def model(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "model"
    change = export_model(str(run.path), out, run.path.parent, "cc-by-4.0", "bf16")
    assert "weights differ from the tested ones by" in change
    return out


def test_a_run_whose_test_is_not_done_tells_no_scores(run, tmp_path):
    begun = tmp_path / "runs" / "small" / run.path.name
    shutil.copytree(run.path, begun)
    (single_test(RunFolder(begun)) / "done").unlink()
    export_model(str(begun), tmp_path / "model", tmp_path / "runs", "cc-by-4.0", "fp32")
    assert "Not tested with passion-bench." in (tmp_path / "model" / "README.md").read_text()
    content = load_trained(str(begun), tmp_path).content
    assert "scores" not in content
    assert content["config"]["test"] == {"policy": "passion"}  # what it will be tested by all the same


def test_the_card_says_what_the_hashes_of_patients_tell(run, model, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.models.export._check", lambda *_: None)
    of_patients = tmp_path / "runs" / "small" / run.path.name
    shutil.copytree(run.path, of_patients)
    (of_patients / "split.json").write_text('{"train": {"one": ["0123456789abcdef"]}, "val": {}, "test": {}}')
    export_model(str(of_patients), tmp_path / "model", tmp_path / "runs", "cc-by-4.0")
    assert json.loads((tmp_path / "model" / "learnt_from.json").read_text()) == ["0123456789abcdef"]
    said = "`learnt_from.json` holds hashes of the volumes that trained and validated the network"
    assert said in (tmp_path / "model" / "README.md").read_text()
    assert "learnt_from.json" not in (model / "README.md").read_text()  # it holds none: no patients are known


@pytest.mark.parametrize("poor", [{"outside": "noise-2"}, {"flips": True}])
def test_the_test_as_published_is_a_run_s_own_whatever_others_are_called(run, tmp_path, poor):
    folder = RunFolder(tmp_path / run.path.name)
    shutil.copytree(run.path, folder.path)
    (one,) = folder.tests()
    first = folder.test("a")
    shutil.copytree(one.path, first.path)
    write_yaml(first.path / "test.yaml", merged(one.settings(), {"test": poor}))
    assert own_test(folder).path == one.path
    (one.path / "done").unlink()
    assert own_test(folder).path == first.path


def test_a_network_predicts_at_the_precision_of_its_run(run, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # as torch has it
    monkeypatch.setattr("benchmark.models.trained_model.class_sums", lambda *_, **__: torch.zeros(1, 4, 1))
    model = load_trained(str(run.path), run.path.parent)
    model.class_sums(torch.zeros(4, 1), ("flair",), torch.device("cpu"), [()])
    assert not torch.backends.cudnn.allow_tf32


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The stand-in, which the client asks in place of the hub; its variables are read when it is imported."""
    constants = pytest.importorskip("huggingface_hub.constants")
    with HubServer() as server:
        files = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


def test_a_model_in_half_the_bytes_says_what_that_changes(run, model):
    whole, half = load_trained(str(run.path), run.path.parent), load_trained(str(model), run.path.parent)
    content = json.loads((model / "config.json").read_text())["weights"]
    assert content["stored"] == "bf16"
    size = sum(t.numel() for t in whole.backbone.state_dict().values())
    assert (model / "model.safetensors").stat().st_size < 2.2 * size
    for name, tensor in half.backbone.state_dict().items():
        assert torch.equal(tensor, whole.backbone.state_dict()[name].to(torch.bfloat16).to(torch.float32))
    card = (model / "README.md").read_text()
    assert f"| Stored as | bf16: {content['change']} |" in card


def test_another_form_is_refused(run, tmp_path):
    with pytest.raises(InputError, match=r"--store-as: unknown form 'int8': did you mean int16"):
        export_model(str(run.path), tmp_path / "model", run.path.parent, "unknown", "int8")
    assert set(FORMS) == {"fp32", "bf16", "int16"}


def test_what_is_sent_comes_back(hub, model, tmp_path):
    (model / "notes.txt").write_text("not to be sent")
    sent = bench("weights", "push", model, f"hf:{NAME}", "--private")
    (model / "notes.txt").unlink()
    assert sent.returncode == 0, sent.stderr
    assert f"pushed {model} to {hub.url}/{NAME}" in sent.stdout
    assert set(hub.files(NAME)) == {"model.safetensors", "config.json", "README.md"}
    assert hub.private[NAME]
    back = bench("weights", "pull", f"hf:{NAME}", "--out", tmp_path / "back")
    assert back.returncode == 0, back.stderr
    for name, content in hub.files(NAME).items():
        assert (tmp_path / "back" / name).read_bytes() == content
    assert {path.name for path in (tmp_path / "back").iterdir()} - set(hub.files(NAME)) == {
        ".written-by-bench"
    }
    hub.files(NAME).update({"learnt_from.json": b"[]", "notes.md": b"theirs"})  # the first of another model
    again = bench("weights", "push", model, f"hf:{NAME}")
    assert again.returncode == 0, again.stderr
    assert set(hub.files(NAME)) == {"model.safetensors", "config.json", "README.md", "notes.md"}


def test_what_is_damaged_on_the_hub_is_not_taken(hub, model, tmp_path):
    assert bench("weights", "push", model, f"hf:{NAME}").returncode == 0
    files = hub.files(NAME)
    files["model.safetensors"] = files["model.safetensors"][:-1] + b"x"
    back = bench("weights", "pull", f"hf:{NAME}", "--out", tmp_path / "back")
    assert back.returncode == 2
    assert f"hf:{NAME} is no whole model folder (model.safetensors has another checksum" in back.stderr
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", [f"hf:{NAME}-absent", "hf:no name", "hf:"])
def test_what_the_hub_refuses_is_one_line(hub, tmp_path, name):
    back = bench("weights", "pull", name, "--out", tmp_path / "back")
    assert back.returncode == 2
    assert back.stderr.startswith(f"error: {name}: the hub refused or cannot be reached (")
    assert back.stderr.endswith("): check the name, and log in with hf auth login\n")
    assert back.stderr.count("\n") == 1
    assert not (tmp_path / "back").exists()


def test_no_key_and_no_server_are_told(hub, model, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    refused = bench("weights", "push", model, f"hf:{NAME}")
    assert refused.returncode == 2
    assert "the hub refused" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_without_the_library_the_command_says_what_to_install(model, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"pip install 'passion-bench\[hub\]'"):
        share.pull(f"hf:{NAME}", tmp_path / "back")


def test_from_folder_to_folder(model, tmp_path):
    assert bench("weights", "push", model, tmp_path / "zoo" / "rfnet").returncode == 0
    assert bench("weights", "pull", tmp_path / "zoo" / "rfnet", "--out", tmp_path / "mine").returncode == 0
    names = {path.name for path in model.iterdir()} - {".written-by-bench"}
    assert all((tmp_path / "mine" / name).read_bytes() == (model / name).read_bytes() for name in names)
    onto_itself = bench("weights", "pull", tmp_path / "mine", "--out", tmp_path / "mine", "--overwrite")
    assert onto_itself.returncode == 2
    assert (tmp_path / "mine" / "model.safetensors").exists()
    whole = bench("weights", "pull", tmp_path / "mine", "--out", tmp_path / "m2", "--revision", "main")
    assert "--revision is of a repository of the hub" in whole.stderr


def test_no_model_folder_and_links_are_refused(model, run, tmp_path):
    refused = bench("weights", "push", run.path, tmp_path / "zoo")
    assert refused.returncode == 2
    assert "is no model folder: make one with bench weights export RUN" in refused.stderr
    refused = bench("weights", "pull", run.path, "--out", tmp_path / "mine")
    found = f"no model folder at {run.path}: give a folder with config.json and model.safetensors"
    assert found in refused.stderr
    refused = bench("weights", "export", model, "--out", tmp_path / "mine")
    assert "is a model folder already: send it with bench weights push" in refused.stderr
    assert not (tmp_path / "mine").exists()
    share.pull(str(model), tmp_path / "linked")
    (tmp_path / "linked" / "README.md").unlink()
    (tmp_path / "linked" / "README.md").symlink_to("/etc/hostname")
    refused = bench("weights", "push", tmp_path / "linked", tmp_path / "zoo")
    assert "is a link, expected a file" in refused.stderr
    assert not (tmp_path / "zoo").exists()


def test_a_form_that_there_is_not_is_no_model_folder(model, tmp_path):
    share.pull(str(model), tmp_path / "odd")
    content = json.loads((tmp_path / "odd" / "config.json").read_text())
    content["weights"] |= {"stored": "int4"}
    (tmp_path / "odd" / "config.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="stored as 'int4', expected one of"):
        load_trained(str(tmp_path / "odd"), tmp_path)
    (tmp_path / "odd" / "model.safetensors").write_bytes(b"no tensors")
    content["weights"] |= {"sha256": sha256(b"no tensors").hexdigest(), "stored": "fp32"}
    (tmp_path / "odd" / "config.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="is no whole model folder"):
        load_trained(str(tmp_path / "odd"), tmp_path)
