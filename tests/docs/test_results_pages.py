"""The pages of our own results show what the product printed."""

import re
import tarfile
from pathlib import Path

import pytest

from backbones import BACKBONES
from benchmark.board.build import build_site
from benchmark.config.grid import load_grid
from benchmark.report.data.names import network_title
from benchmark.run_folder.model_folder import read_model
from benchmark.run_folder.stored_weights import FORMS

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize(
    ("name", "profiles"),
    [
        ("headline", ["mr2468"]),
        ("zoo", ["mr2468"]),
        ("questions", ["mr2468", "extreme90", "extreme95", "hospitals-*", "poor2468-*"]),
    ],
)
def test_their_tables_are_those_of_the_report(name, profiles):
    page = (RESULTS / name / "README.md").read_text()
    shown = {line for line in page.splitlines() if line.startswith("|")}
    for profile in profiles:
        [file] = (RESULTS / name / "tables").glob(f"phantom-{profile}-answer-dice.md")
        table = file.read_text().split("\n\n")[0]
        rows = table[table.index("| RFNet") :].splitlines()
        assert len(rows) > 2
        assert set(rows) <= shown


@pytest.mark.parametrize(
    "table",
    ["gliomas-complete-dice", "gliomas-complete-answer-dice", "ljubljana-complete-answer-dice", "fine-tune"],
)
def test_real_patients_have_the_tables_of_the_reports(table):
    folder = RESULTS / "real"
    text = (folder / "tables" / f"{table}.md").read_text().split("\n\n")[0]
    assert text in (folder / "README.md").read_text()


def test_no_slice_of_a_real_patient_is_kept():
    with tarfile.open(RESULTS / "real" / "runs.tar.xz") as archive:
        names = {Path(name).name for name in archive.getnames()}
    assert "cases.csv" in names
    assert not names & {"examples.npz", "weights.safetensors"}
    images = {".png", ".npz", ".gz", ".svg"}
    assert not [path for path in (RESULTS / "real").rglob("*") if path.suffix in images]


@pytest.mark.parametrize(
    "table", ["phantom2-complete-dice", "small-complete-dice", "small-mr2468-answer-dice"]
)
def test_the_second_phantom_has_the_tables_of_the_reports(table):
    folder = RESULTS / "phantom2"
    page = (folder / "README.md").read_text()
    assert (folder / "tables" / f"{table}.md").read_text().split("\n\n")[0] in page


def test_what_is_done_for_two_cores_is_kept():
    folder = RESULTS / "phantom2"
    with tarfile.open(folder / "runs.tar.xz") as archive:
        done = {Path(name).parts[0] for name in archive.getnames() if Path(name).name == "done"}
    assert done == {config.folder for config in load_grid(str(folder / "small.yaml")).configs}
    assert f"| for two cores: {len(done)} runs | run |" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("grid", "runs"),
    [
        ("headline2", 283),
        ("headline-cpu", 153),
        (RESULTS / "phantom2" / "questions2.yaml", 155),
        (RESULTS / "phantom2" / "floor.yaml", 1),
        (RESULTS / "phantom2" / "small.yaml", 57),
    ],
)
def test_what_the_page_says_is_ready_is_that_large_and_has_the_floor(grid, runs):
    configs = load_grid(str(grid)).configs
    assert len(configs) == runs
    floors = {config.profile for config in configs if config.backbone.name == "gaussian"}
    assert floors == {config.profile for config in configs}
    if runs > 1:
        assert f"{runs} runs" in (RESULTS / "phantom2" / "README.md").read_text()


NETWORKS = set(BACKBONES) - {"gaussian"}
"""All but the floor, which is no network."""


def test_the_zoo_has_every_network():
    tables = RESULTS / "zoo" / "tables"
    page = (RESULTS / "zoo" / "README.md").read_text()
    for table in ("answer-dice", "costs"):
        text = (tables / f"phantom-mr2468-{table}.md").read_text().split("\n\n")[0]
        assert text in page
        assert {f"| {network_title(name)} |" for name in NETWORKS} <= set(
            re.findall(r"^\| [^|]+ \|", text, re.M)
        )
    assert {config.backbone.name for config in load_grid("zoo").configs} == NETWORKS
    assert {config.backbone.name for config in load_grid("recipes").configs} == NETWORKS - {"transunet"}


def test_the_board_is_that_of_its_runs(tmp_path):
    with tarfile.open(RESULTS / "board" / "runs.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    build_site(tmp_path, tmp_path / "site")
    table = (tmp_path / "site" / "tables" / "phantom-mr2468-standings-dice.md").read_text()
    page = (RESULTS / "board" / "README.md").read_text()
    assert table.split("\n\n")[0] in page
    hashes = {config.folder for config in load_grid(str(RESULTS / "board" / "board.yaml")).configs}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == hashes


@pytest.mark.parametrize(("name", "number"), [("board", 6), ("zoo", 11)])
def test_weights_are_whole_and_small(name, number):
    folders = sorted((RESULTS / name / "weights").iterdir())
    assert len(folders) == number
    for folder in folders:
        content, weights = read_model(folder)
        assert content["weights"]["stored"] in FORMS[1:]
        assert sum(tensor.numel() for tensor in weights.values()) >= content["weights"]["parameters"]
    size = sum(file_sizes(folder) for folder in folders)
    page = (RESULTS / name / "README.md").read_text()
    assert f"{size / 1e6:.1f} MB in all" in page
    assert size < 50e6


def file_sizes(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


def test_the_zoo_s_weights_are_those_of_its_grid_and_its_table():
    folder = RESULTS / "zoo"
    page = (folder / "README.md").read_text()
    table = (folder / "tables" / "weights-answer-dice.md").read_text()
    trained = {config.hash: config for config in load_grid(str(folder / "zoo-weights.yaml")).configs}
    for path in (folder / "weights").iterdir():
        content, _ = read_model(path)
        config = trained.pop(content["hash"])
        title = network_title(path.name)
        (scores,) = re.findall(rf"^\| {title} \| baseline ((?:\| [\d.]+ ){{4}})", table, re.M)
        steps = config.train.epochs * content["data"]["cases"]["train"]
        link = f"[{title}](weights/{path.name}/README.md)"
        assert f"| {link} | {steps:,} | {file_sizes(path) / 1e6:.1f} {scores}|" in page
    assert trained == {}
