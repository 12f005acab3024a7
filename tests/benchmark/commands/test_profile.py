"""`bench profile` as a user meets it: the released counts, the picture, wrong input."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from bench_errors import InputError
from benchmark.commands.app import app
from benchmark.commands.profile import print_profile
from benchmark.report.figures.availability import HAS, LACKS, NARROW, POOR
from datasets.missingness.availability import availability
from datasets.phantom.study import write_study
from datasets.preparation.prepare import prepare
from datasets.studies.brats import BRATS2020, PHANTOM
from datasets.vocabulary import presence, subset_name, table_subsets

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "availability_brats2020.json"
FACTS = ROOT.parent / "shared" / "facts"
RELEASED = json.loads(GOLDEN.read_text())


def profile(*arguments):
    result = CliRunner().invoke(app, ["profile", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result


def names_file(folder, names):
    path = folder / "names.txt"
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def printed_counts(text):
    """Read the two tables of standard error: subset -> cases, modality -> (has, lacks)."""
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line
    ]
    subsets = {row[0]: int(row[1]) for row in rows if len(row) == 3}
    return subsets, {row[0]: (int(row[1]), int(row[2])) for row in rows if len(row) == 6}


@pytest.mark.parametrize("name", RELEASED["profiles"])
def test_the_released_tables_and_their_counts(tmp_path, name):
    result = profile(name, "--cases", names_file(tmp_path, [case[3:] for case in RELEASED["cases"]]))
    lines = list(csv.reader(result.stdout.splitlines()))
    assert lines[0] == ["case", *BRATS2020.modalities]
    assert ["".join(line[1:]) for line in lines[1:]] == RELEASED["profiles"][name]
    counts = Counter(RELEASED["profiles"][name])
    subsets, modalities = printed_counts(result.stderr)
    assert subsets == {
        subset_name(s, BRATS2020.modalities): counts[
            "".join("01"[h] for h in presence(s, BRATS2020.modalities))
        ]
        for s in table_subsets(BRATS2020)
    }
    for m, modality in enumerate(BRATS2020.modalities):
        has = sum(row[m] == "1" for row in RELEASED["profiles"][name])
        assert modalities[modality] == (has, 219 - has)


def test_the_golden_tables_are_the_facts():
    if not FACTS.exists():
        pytest.skip("the facts of the protocol are not beside this checkout")
    facts = json.loads((FACTS / "availability_brats2020.json").read_text())
    golden = dict(RELEASED["profiles"])
    for path in FACTS.glob("hga_*.csv"):
        with path.open(newline="") as file:
            rows = {row["data_name"]: row["mask"] for row in csv.DictReader(file)}
        table = golden.pop(path.stem.removeprefix("hga_"))
        assert table == ["".join("01"[has] for has in json.loads(rows[c].lower())) for c in facts["cases"]]
    assert (RELEASED["cases"], golden) == (facts["cases"], facts["profiles"])


def test_the_seed_changes_the_table(tmp_path):
    names = names_file(tmp_path, RELEASED["cases"])
    assert (
        profile("mr2468", "--cases", names, "--seed", 1).stdout != profile("mr2468", "--cases", names).stdout
    )


def test_a_store_gives_its_training_cases_and_what_they_have(tmp_path):
    write_study(tmp_path / "files", 6, 32, 0)
    for path in (tmp_path / "files").rglob("*_t1.nii.gz"):
        path.unlink()
    store = prepare(tmp_path / "files", PHANTOM, tmp_path / "store")
    result = profile("ir2468", "--cases", store.path)
    _, modalities = printed_counts(result.stderr)
    assert modalities["t1"] == (0, 4)
    assert len(result.stdout.splitlines()) == 5


def test_a_store_of_one_patient_is_taken_whole(tmp_path):
    write_study(tmp_path / "files", 1, 32, 0)
    store = prepare(tmp_path / "files", PHANTOM, tmp_path / "store")
    assert len(profile("complete", "--cases", store.path).stdout.splitlines()) == 2


def test_what_a_file_gives_is_said(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "rates: {t1ce: 0.9999999}\ndegrade: [{kind: spike, severity: 2, share: 0.5, modalities: t2}]"
    )
    result = profile(tmp_path / "mine.yaml", "--cases", names_file(tmp_path, [f"c{i}" for i in range(30)]))
    assert "note: t1ce was drawn for no case: given to c" in result.stderr
    assert "spike-2" in result.stderr
    assert "spike-2" in result.stdout


def colour(text):
    return [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def test_the_picture_shows_each_modality_in_its_shares(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "base: mr2468\ndegrade: [{kind: bias, severity: 3, share: 0.4, modalities: t1}]"
    )
    names = [f"c{i:04}" for i in range(1000)]
    path = tmp_path / "picture.png"
    profile(tmp_path / "mine.yaml", "--cases", names_file(tmp_path, names), "--picture", path)
    table = availability(str(tmp_path / "mine.yaml"), names, BRATS2020)
    pixels = imread(path)[..., :3]
    close = {
        name: np.abs(pixels - colour(c)).max(axis=-1) < 0.02
        for name, c in {"has": HAS, "poor": POOR["3"]}.items()
    }
    # The legend is one more, small patch of each colour.
    area = {name: int(found.sum()) for name, found in close.items()}
    poor = table.quality["t1"]["bias-3"] * table.table[:, 2].sum()
    assert area["poor"] / area["has"] == pytest.approx(poor / (table.table.sum() - poor), rel=0.05)
    assert path.stat().st_size < 100_000


def test_a_picture_that_cannot_be_written(tmp_path):
    names = names_file(tmp_path, ["a", "b"])
    with pytest.raises(InputError, match="choose another place with --picture"):
        profile("complete", "--cases", names, "--picture", tmp_path / "none" / "p.png")
    assert len({HAS, LACKS, *POOR.values()}) == 5
    assert 0 < NARROW < 1


@pytest.mark.parametrize(("name", "found"), [("mr2468", "no cases for mr2468"), ("", "no profile")])
def test_what_is_lacking_is_said(name, found):
    with pytest.raises(InputError, match=f"found {found}: give a profile with --cases"):
        print_profile(name, None, None, "brats2020", 1037, None)
