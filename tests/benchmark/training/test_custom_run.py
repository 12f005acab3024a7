"""A study of the user's own, from a YAML file to a table: checked, prepared, profiled, run on two folds."""

import json

import pytest
from bench_program import bench

from benchmark.run_folder.folder import run_folders

STUDY = """\
modalities:
  t2: "{site}/{case}/{case}_t2.nii.gz"
  flair: "{site}/{case}/{case}_flair.nii.gz"
  t1ce: "{site}/{case}/{case}_t1ce.nii.gz"
label: "{site}/{case}/{case}_seg.nii.gz"
labels: {rest: [1, 2], enhancing: 4}
regions: {whole: [rest, enhancing], enhancing: enhancing}
"""
GRID = """\
axes: {split: [fold0of2, fold1of2]}
base:
  dataset: mine.yaml
  profile: ir246
  backbone: {name: rfnet, width: 2}
  objective: {name: baseline}
  train: {epochs: 1, crop: 32}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("custom")
    (folder / "mine.yaml").write_text(STUDY)
    (folder / "grid.yaml").write_text(GRID)
    result = bench("data", "phantom", "--out", folder / "study" / "Basel", "--cases", 4, "--size", 32)
    assert result.returncode == 0, result.stderr
    (folder / "study" / "Basel" / "Phantom_002" / "Phantom_002_flair.nii.gz").unlink()
    result = bench("data", "prepare", "study", "--dataset", "mine.yaml", "--out", "data/mine", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "prepared 4 cases of mine.yaml to data/mine" in result.stdout
    return folder


def test_check_and_profile(folder):
    result = bench("data", "check", "study", "--dataset", "mine.yaml", "--json", cwd=folder)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["dataset"] == "mine"
    assert found["available"] == {"t2": 4, "flair": 3, "t1ce": 4}
    (folder / "names.txt").write_text("a\nb\nc\n")
    result = bench("profile", "ir246", "--cases", "names.txt", "--dataset", "mine.yaml", cwd=folder)
    assert result.stdout.startswith("case,t2,flair,t1ce\n")


@pytest.mark.long
def test_two_folds_make_one_table_of_seven_subsets(folder):
    result = bench("run", "--grid", "grid.yaml", "--device", "cpu", "--no-track", cwd=folder)
    assert result.returncode == 0, result.stderr
    folders = run_folders(folder / "runs" / "grid")
    assert [f.path.name.rpartition("-s1037")[0] for f in folders] == [
        f"mine-rfnet-baseline-ir246-fold{i}of2" for i in range(2)
    ]
    assert all(f.config()["dataset"]["classes"] == ["background", "rest", "enhancing"] for f in folders)
    result = bench("report", "--grid", "grid.yaml", "--out", "report", cwd=folder)
    assert result.returncode == 0, result.stderr
    table = (folder / "report" / "tables" / "mine-ir246-dice.md").read_text()
    rows = [line for line in table.splitlines() if "RFNet baseline" in line]
    assert [row.split("|")[1].strip() for row in rows] == ["whole", "enhancing"]
    assert rows[0].count("|") == 2 + 1 + 7 + 1
    assert "the test cases of each split" in table
    assert "over 2 trainings of different split." in table


def test_a_store_of_another_description_is_refused(folder):
    (folder / "mine.yaml").write_text(STUDY.replace("{rest: [1, 2]", "{rest: 1, oedema: 2"))
    result = bench("run", "--grid", "grid.yaml", "--runs", "new", "--device", "cpu", cwd=folder)
    (folder / "mine.yaml").write_text(STUDY)
    assert result.returncode == 2
    assert "the store data/mine was prepared with the file_labels" in result.stderr
    assert "prepare it again" in result.stderr
    assert not (folder / "new").exists()
