"""A user's own backbone from the page that explains it: checked, configured, run, listed."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from docs_page import block

from backbones import BACKBONES
from backbones.check import CHECKS
from bench_errors import InputError
from bench_registry import PLUGINS
from bench_yaml import Document
from benchmark.commands.lists import print_backbone_check, print_objective_check
from benchmark.commands.options import register
from benchmark.config.grid import load_grid
from benchmark.config.run_config import RunConfig
from benchmark.launch.execute_grid import Launch, execute_grid
from benchmark.run_folder.folder import run_folders
from benchmark.training.build import check_sizes
from datasets.studies.names import DATASETS

PROGRAM = Path(sys.executable).with_name("bench")
PAGE = "add-a-backbone.md"
PLUGIN = ("--plugin", "mean_net:MeanNet")


def bench(*arguments, cwd):
    """Run the installed program, which unlike python -m does not look into the current folder by itself."""
    command = [str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mean_net.py").write_text(block(PAGE, "python"))
    (tmp_path / "mine.yaml").write_text(block(PAGE, "yaml"))
    return tmp_path


@pytest.mark.long
def test_the_page_on_adding_a_backbone_works(folder):
    checked = bench("check-backbone", "mean_net:MeanNet", "--argument", "width=2", "--crop", 8, cwd=folder)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count("ok  ") == 2 * (1 + len(CHECKS))
    assert checked.stdout.endswith("keeps the contract\n")
    refused = bench("run", "--grid", "mine.yaml", cwd=folder)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "let it be imported by --plugin mean_net:MeanNet" in refused.stderr
    result = bench("run", "--grid", "mine.yaml", "--device", "cpu", "--no-track", *PLUGIN, cwd=folder)
    assert result.returncode == 0, result.stderr
    runs = run_folders(folder / "runs" / "mine")
    assert [run.state() for run in runs] == ["done", "done"]
    assert all(run.path.name.startswith("phantom-MeanNet-") for run in runs)
    plugin = runs[0].config()["plugins"]["backbone"]
    assert plugin["origin"] == "mean_net:MeanNet"
    assert len(plugin["sha256"]) == 64
    reported = bench("report", "--grid", "mine.yaml", "--out", "report", *PLUGIN, cwd=folder)
    assert reported.returncode == 0, reported.stderr
    assert "MeanNet + PASSION" in (folder / "report" / "report.md").read_text()


def test_a_plugin_is_known_by_its_class_name(folder):
    content = yaml.safe_load((folder / "mine.yaml").read_text())
    content["axes"]["backbone"] = ["MeanNet", {"name": "mean_net:MeanNet", "width": 2}]
    (folder / "short.yaml").write_text(yaml.safe_dump(content))
    known = bench("status", "--grid", "short.yaml", *PLUGIN, cwd=folder)
    assert known.returncode == 0, known.stderr
    assert "4 absent" in known.stdout
    unknown = bench("status", "--grid", "short.yaml", cwd=folder)
    assert unknown.returncode == 2
    assert "unknown backbone 'MeanNet'" in unknown.stderr
    assert "backbone MeanNet" in bench("list", *PLUGIN, cwd=folder).stdout


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: register(["mean_net"]), "expected module:Class"),
        (lambda: register(["mean_net:Block"]), "neither a backbone nor an objective"),
        (lambda: register(["maen_net:MeanNet"]), "no module maen_net"),
        (lambda: print_backbone_check("mean_net:MeanNet", 8, 3, ["width"]), "expected NAME=VALUE"),
        (lambda: print_backbone_check("mean_net:MeanNet", 8, 3, ["width=[1"]), "is not YAML"),
        (lambda: print_backbone_check("mean_net:MeanNet", 8, 3, ["depth=3"]), "depth: no such option here"),
        (lambda: print_backbone_check("rfnett", 8, 3, []), "did you mean rfnet"),
        (lambda: print_objective_check("passoin", []), "did you mean passion"),
    ],
)
def test_wrong_input_is_named(folder, monkeypatch, ask, says):
    monkeypatch.chdir(folder)
    monkeypatch.setenv(PLUGINS, "mean_net:MeanNet")
    with pytest.raises(InputError, match=says):
        ask()


def test_a_broken_backbone_is_one_line_and_exit_code_2(folder):
    result = bench("check-backbone", "mean_net:MeanNet", "--argument", "width=wide", cwd=folder)
    assert result.returncode == 2
    assert "backbone mean_net:MeanNet: width: expected a whole number, found 'wide'" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"backbone": "monai:SwinUNETR"}, "monai:SwinUNETR does not work with crop 48"),
        ({"backbone": {"name": "mmformer", "width": 1}, "test": {"window": 64}}, "not take windows of 64"),
        (
            {"backbone": "uhemis", "train": {"compile": True}},
            "backbone uhemis names no part that torch.compile",
        ),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(content, says):
    config = RunConfig.model_validate({**content, "train": {"crop": 48, **content.get("train", {})}})
    with pytest.raises(InputError, match=says):
        check_sizes(config, DATASETS.get("phantom"))


def test_a_window_that_fits_is_accepted():
    content = {"backbone": {"name": "transunet", "width": 1}, "train": {"crop": 16}, "test": {"window": 32}}
    for dataset in ("phantom", "phantom-heart"):
        check_sizes(RunConfig.model_validate(content), DATASETS.get(dataset))


def test_a_grid_with_such_a_network_does_not_start(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv(PLUGINS, "mean_net:MeanNet")
    content = yaml.safe_load((folder / "mine.yaml").read_text())
    content["axes"] = {"backbone": ["mean_net:MeanNet", "monai:DenseNet121"]}
    (folder / "broken.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match="no segmentation network"):
        execute_grid(load_grid("broken.yaml"), folder / "runs", {}, Launch("cpu", 1, track=False))
    assert run_folders(folder / "runs" / "broken") == []


def test_list_says_what_every_name_is(tmp_path):
    result = bench("list", cwd=tmp_path)
    lines = [line.split(None, 2) for line in result.stdout.splitlines()]
    assert {line[0] for line in lines} == {"backbone", "objective", "dataset", "profile", "grid", "study"}
    assert [line[:2] for line in lines if len(line) < 3] == []
    assert set(BACKBONES) <= {name for kind, name, _ in lines if kind == "backbone"}
    assert any(len(line) > 110 for line in result.stdout.splitlines())  # not cut where it is piped


def test_list_imports_nothing_heavy():
    code = (
        "import sys\nfrom benchmark.commands.lists import print_list\nprint_list()\n"
        "sys.exit(bool({'torch', 'monai', 'wandb', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0
    )


def test_sections_of_monai_and_plugins(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv(PLUGINS, "mean_net:MeanNet")
    monai = RunConfig.model_validate({"backbone": "monai:UNet"})
    assert monai.name == "phantom-UNet-passion-mr2468-s1037"
    assert (monai.backbone.presence_code, monai.backbone.arguments) == (False, {})
    section = {"name": "monai:UNet", "presence_code": True, "arguments": {"channels": [4, 8], "strides": [2]}}
    own = RunConfig.model_validate({"backbone": section})
    assert own.backbone.model_dump() == section
    assert len({monai: 1, own: 2}) == 2
    plugin = RunConfig.model_validate({"backbone": "mean_net:MeanNet"})
    assert plugin.backbone.origin == "mean_net:MeanNet"
    assert RunConfig.model_validate(plugin.model_dump()).hash == plugin.hash


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            {"backbone": {"name": "rfnet", "widht": 4}},
            "backbone.widht: no such option here, did you mean width?",
        ),
        ({"backbone": {"widht": 4}}, "backbone.widht: no such option here, did you mean width?"),
        ({"backbone": {"name": "monai:UNet", "width": 4}}, "known are name, presence_code, arguments"),
        ({"backbone": {"name": "rfnet", "width": 3}}, "backbone.width: expected a multiple of 2, found 3"),
        (
            {"backbone": {"name": "monai:UNet", "arguments": 3}},
            "backbone.arguments: expected a mapping, found 3",
        ),
        ({"backbone": {"name": "rfnett"}}, "did you mean rfnet"),
        ({"backbone": {"name": "nowhere:Net"}}, "no module nowhere"),
        ({"backbone": {"name": "os:system"}}, "backbone os:system is code of a file or package"),
        ({"objective": {"name": "os:system"}}, "by --plugin os:system"),
        (
            {"backbone": {"name": "mean_net:MeanNet", "origin": "mean_net:MeanNet (x 1)"}},
            "when the run was begun",
        ),
        (
            {"objective": {"name": "passion", "tua": 4}},
            "objective.tua: no such option here, did you mean tau?",
        ),
        ({"objective": "passoin"}, "did you mean passion"),
        ({"trian": {}}, "trian: no such option here, did you mean train?"),
        ({"backbone": {"name": 3}}, "backbone.name: expected text, found 3"),
    ],
)
def test_wrong_sections_are_named(folder, monkeypatch, content, says):
    monkeypatch.chdir(folder)
    monkeypatch.setenv(PLUGINS, "mean_net:MeanNet,nowhere:Net")
    with pytest.raises(InputError) as caught:
        Document(content, "run").check(RunConfig)
    assert says in str(caught.value)


def test_our_own_sections_hold_nothing_of_plugins():
    config = RunConfig.model_validate({"backbone": "mmformer", "objective": "baseline"})
    assert config.backbone.model_dump() == {"name": "mmformer", "width": 8}
    assert config.objective.model_dump() == {"name": "baseline", "policy": "idt", "warmup_epochs": 0}
