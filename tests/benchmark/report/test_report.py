"""The report of recorded runs: exact tables, averages by hand, the same bytes twice, and what is refused."""

import json
import math
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from lone_test_folder import single_test
from matplotlib.image import imread
from recorded_runs import POLICY, change, record

from bench_errors import InputError
from benchmark.report.data.collect import collect
from benchmark.report.data.names import method_titles, modality_title
from benchmark.report.data.scores import score
from benchmark.report.figures.curves import preference_curves
from benchmark.report.figures.heat_map import heat_map
from benchmark.report.tables.by_subset import subset_table
from benchmark.report.tables.contents import contents
from benchmark.report.tables.render import DASH, escape_latex, escape_markdown, latex, markdown
from benchmark.report.write import _drawing, write_report
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import PHANTOM_HEART

GOLDEN = Path(__file__).parents[2] / "golden" / "report"


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    record(folder, "baseline")
    record(folder, "passion", strength=0.05)
    record(folder, "passion", seed=1038, strength=0.07)
    record(folder, "passion", backbone="mmformer", strength=0.02)
    record(folder, "passion", backbone="m2ftrans", state="failed")
    record(folder, "baseline", seed=1039, state="partial")
    record(folder, "passion", description=PHANTOM_HEART, profile="mr357", options={"tau": 10.0})
    record(folder, "passion", description=PHANTOM_HEART, profile="mr357", options={"tau": 2.0}, strength=0.1)
    return folder


def marks(row):
    return [cell.mark for cell in row.cells]


@pytest.fixture(scope="module")
def report(grid, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.report.figures.style.DPI", 40)
        return out, write_report([grid], out, formats=["png"])


@pytest.mark.parametrize(
    "name",
    [
        "report.md",
        *("tables/phantom-mr2468-dice.tex", "tables/phantom-mr2468-answer-dice.tex"),
        *("tables/phantom-mr2468-hd95.csv", "tables/phantom-mr2468-dice-differences.csv"),
        *("tables/phantom-heart-mr357-marginal-dice.html",),
    ],
)
def test_golden(report, name):
    out, _ = report
    assert (out / name).read_text() == (GOLDEN / Path(name).name).read_text()


def test_every_file_is_there_and_a_second_report_has_the_same_bytes(grid, report, monkeypatch):
    out, written = report
    assert sorted(written.files) == sorted(p for p in out.rglob("*") if p.is_file())
    assert written.files[0] == out / "report.md"
    kinds = {
        "phantom-mr2468": ("", "-marginal", "-shapley"),
        "phantom-heart-mr357": ("", "-passion-tau", "-marginal", "-shapley"),
    }
    tables = {
        f"{study}{kind}-{metric}.{suffix}"
        for study, own in kinds.items()
        for kind in own
        for metric in ("dice", "hd95")
        for suffix in ("md", "tex", "csv", "html")
    }
    tables |= {f"phantom-mr2468-{metric}-differences.csv" for metric in ("dice", "hd95")}
    tables |= {
        f"{study}-{table}.{suffix}"
        for study in kinds
        for table in ("answer-hd95", "costs")
        for suffix in ("md", "tex", "csv", "html")
    }
    tables |= {
        f"phantom-mr2468-{kind}-dice.{suffix}"
        for kind in ("answer", "numbers", "places")
        for suffix in ("md", "tex", "csv", "html")
    }
    assert {p.name for p in (out / "tables").iterdir()} == tables

    def copied(_, stem, __):
        """Figures are drawn once: that their bytes stay is tested with the figures."""
        path = stem.with_suffix(".png")
        path.write_bytes((out / "figures" / path.name).read_bytes())
        return [path]

    monkeypatch.setattr("benchmark.report.write.save", copied)
    monkeypatch.setattr("benchmark.report.figures.style.DPI", 40)
    second = out.with_name("second")  # beside the first: links to run folders are relative
    for path in write_report([grid], second, formats=["png"]).files:
        assert path.read_bytes() == (out / path.relative_to(second)).read_bytes(), path


def test_many_sections_are_drawn_in_processes_with_the_same_bytes(grid, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.write.MANY", 2)
    sections = [section for section in contents(collect([grid])) if section.study is None]
    for name, several in (("one", sections[:1]), ("several", sections)):
        (tmp_path / name).mkdir()
        with _drawing(several, tmp_path / name, ["png"]) as drawn:
            pictures, paths = next(iter(drawn))
        assert [picture.name for picture in pictures] == ["phantom-gains"]
        assert [path.name for path in paths] == ["phantom-gains.png"]
    one, several = (tmp_path / name / "phantom-gains.png" for name in ("one", "several"))
    assert one.read_bytes() == several.read_bytes()


def test_nothing_changes_while_it_is_sent_to_the_processes_that_draw(grid, tmp_path, monkeypatch):
    @contextmanager
    def watched(sections, folder, formats):
        scores = [scores for section in sections for scores in section.scores]
        sent = [*scores, *(run for own in scores for run in own.study.runs)]
        before = [list(vars(one)) for one in sent]
        yield [([], [])] * len(sections)
        assert [list(vars(one)) for one in sent] == before

    monkeypatch.setattr("benchmark.report.write._drawing", watched)
    write_report([grid], tmp_path)


def test_values_by_hand(grid):
    collected = collect([grid])
    _, brain = collected.studies()
    table = subset_table(score(collected.cases, brain, "dice"))
    assert [block.title for block in table.blocks] == ["WT", "TC", "ET", "ETpp"]
    mmformer, baseline, passion = table.blocks[0].rows
    # Cases differ by 0.1, so their mean adds 0.05; the 15 subsets add 0, 0.02, ... 0.28, on average 0.14.
    assert baseline.cells[0].value == pytest.approx(100 * (0.3 + 0.05))
    assert baseline.cells[-1].value == pytest.approx(100 * (0.3 + 0.05 + 0.14))
    assert baseline.runs == 1
    assert all(math.isnan(cell.sd) for cell in baseline.cells)
    # The two seeds are 0.05 and 0.07 better: mean 0.06, standard deviation 0.02 / sqrt(2).
    assert passion.cells[-1].value == pytest.approx(100 * (0.49 + 0.06))
    assert [cell.sd for cell in passion.cells] == pytest.approx([2 / 2**0.5] * 16)
    assert marks(passion) == ["best"] * 16
    assert marks(mmformer) == ["second"] * 16
    assert set(marks(baseline)) == {""}
    distance = subset_table(score(collected.cases, brain, "hd95")).blocks[2].rows
    assert distance[1].cells[-1].value == pytest.approx(30 * (1 - 0.49 + 0.2))
    assert marks(distance[2]) == ["best"] * 16


def test_columns_come_from_the_description(grid):
    collected = collect([grid])
    table = subset_table(score(collected.cases, collected.studies()[0], "dice"))
    assert [column.name for column in table.columns] == [
        *("bssfp", "lge", "t2", "bssfp+lge", "bssfp+t2", "lge+t2", "bssfp+lge+t2"),
        "average",
    ]
    assert [block.title for block in table.blocks] == ["LVB", "RVB", "MYO"]
    assert [row.method for row in table.blocks[0].rows] == [
        "RFNet + PASSION (tau=2)",
        "RFNet + PASSION (tau=10)",
    ]
    assert {mark for row in table.blocks[0].rows for mark in marks(row)} == {"best", ""}
    assert markdown(table).splitlines()[0] == "|  | bSSFP | ● | ○ | ○ | ● | ● | ○ | ● |  |"


def test_all_cases_are_in_one_frame(grid):
    collected = collect([grid])
    conditions = ["run", "grid", "dataset", "profile", "variant", "method", "seed", "table_seed"]
    assert list(collected.cases.columns) == [
        *conditions,
        "case",
        "subset",
        "region",
        "metric",
        "policy",
        "value",
    ]
    assert len(collected.cases) == 4 * 2 * 15 * 4 * 2 + 2 * 2 * 7 * 3 * 2
    assert [run.state for run in collected.runs].count("done") == 6
    assert {run.state for run in collected.runs if not run.method} == {"failed", "partial"}


def test_figures_show_every_method_and_value(grid):
    collected = collect([grid])
    brain = collected.studies()[1]
    figure = heat_map(subset_table(score(collected.cases, brain, "dice")))
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == brain.methods
    texts = [text.get_text() for text in first.texts]
    assert texts[:2] == ["37.00", "39.00"]
    assert len(texts) == 3 * 16
    curves = preference_curves(brain)
    assert [axis.get_title("left") for axis in curves.axes[::2]] == ["mmFormer + PASSION", "RFNet + PASSION"]
    assert [line.get_label() for line in curves.axes[0].lines[:4]] == ["FLAIR", "T1ce", "T1", "T2"]


def test_pictures_are_not_empty(report):
    out, _ = report
    pictures = sorted((out / "figures").glob("*.png"))
    assert len(pictures) > 6
    assert all(imread(picture).std() > 0.05 for picture in pictures)


def test_without_preference_there_are_no_curves(tmp_path):
    record(tmp_path / "g", "baseline")
    assert preference_curves(collect([tmp_path / "g"]).studies()[0]) is None


def test_what_a_network_could_not_give_is_said_under_the_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.write.pictures", lambda *_: [])
    record(tmp_path / "g", "baseline")
    record(tmp_path / "g", "passion")
    path = next((tmp_path / "g").glob("*passion*")) / "model.json"
    path.write_text(json.dumps({"left_out": "sep is left out"}))
    text = write_report([tmp_path / "g"], tmp_path / "report").files[0].read_text()
    assert "\n- RFNet + PASSION: sep is left out.\n\nMinutes are" in text
    assert text.count("left out") == 1


def test_equal_values_share_the_mark_and_a_missing_subset_has_a_dash(tmp_path):
    for backbone, strength in (("m2ftrans", 0.1), ("mmformer", 0.1), ("rfnet", 0.0)):
        folder = record(tmp_path / "g", "baseline", backbone=backbone, strength=strength)
        rows = pd.read_csv(single_test(folder) / "cases.csv")
        rows = rows[~rows["subset"].str.contains("t2")]  # which no case has
        rows.to_csv(single_test(folder) / "cases.csv", index=False)
    collected = collect([tmp_path / "g"])
    table = subset_table(score(collected.cases, collected.studies()[0], "dice"))
    first, second, third = table.blocks[0].rows
    subsets = [column.name for column in table.columns[:-1]]
    assert marks(first) == marks(second) == [*("" if "t2" in name else "best" for name in subsets), ""]
    assert marks(third) == [""] * 16
    assert markdown(table).splitlines()[5].startswith(f"| WT | M2FTrans baseline | {DASH} | **47.00** |")
    assert "M2FTrans baseline & -- & \\textbf{47.00}" in latex(table)


def test_where_all_are_equal_none_is_best(tmp_path):
    record(tmp_path / "g", "baseline")
    record(tmp_path / "g", "passion")
    collected = collect([tmp_path / "g"])
    table = subset_table(score(collected.cases, collected.studies()[0], "dice"))
    assert {mark for row in table.rows for mark in marks(row)} == {""}


def test_a_profile_from_a_file_gets_a_file_name(tmp_path):
    record(tmp_path / "g", "baseline", profile="csv:/data/a_b & c.csv", name="from-file")
    collected = collect([tmp_path / "g"])
    table = contents(collected)[-1].tables[0]
    assert table.name == "phantom-csv-ab1e-dice"
    assert r"profile csv:/data/a\_b \& c.csv" in latex(table)


def test_a_profile_of_yaml_gets_its_name_and_says_what_is_poor(tmp_path):
    folder = record(tmp_path / "g", "baseline", profile="a/sites.yaml#0123456789ab", name="from-file")
    content = folder.config()
    content["data"]["availability"]["degraded"] = {"t1ce": {"noise-2": 0.25}}
    folder.write_config(content)
    collected = collect([tmp_path / "g"])
    table = contents(collected)[-1].tables[0]
    assert table.name == "phantom-sites-ab1e-dice"
    assert collected.studies()[0].title == "sites"
    assert "in poor quality, of the cases that have it, T1ce noise-2 25.0 %" in table.conditions


def test_files_of_the_same_name_are_told_apart_by_their_folders(tmp_path):
    profiles = ["a/sites.yaml#0123456789ab", "b/sites.yaml#ba9876543210"]
    for profile in (*profiles, "csv:/data/other.csv"):
        folder = record(tmp_path / "g", "baseline", profile=profile, name=f"of-{profile[0]}")
        content = folder.config()
        content["data"]["availability"] |= {"hash": profile[:4]}
        folder.write_config(content)
    assert [study.title for study in collect([tmp_path / "g"]).studies()] == [*profiles, "other"]


def test_absent_and_poor_stand_in_one_table(tmp_path):
    for outside in (None, "noise-1", "noise-2"):
        folder = record(tmp_path / "g", "baseline", name=f"tested-{outside}")
        if outside:
            change(folder, test={"outside": outside})
    collected = collect([tmp_path / "g"])
    table = contents(collected)[-1].tables[0]
    assert [row.method for row in table.blocks[0].rows] == [
        "RFNet baseline",
        "RFNet baseline (outside=noise-1)",
        "RFNet baseline (outside=noise-2)",
    ]
    assert table.conditions.count("In rows with outside=noise-") == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metrics": {**POLICY, "policy": "brats"}}, "metric policy \\(passion in .*; brats-2022 in"),
        ({"data": {"hash": "0ther"}}, "data hash \\(d474 in .*; 0ther in"),
        ({"data": {"availability": {"hash": "0ther"}}}, "availability table \\(ab1e in .*; 0ther in"),
    ],
)
def test_runs_that_cannot_be_compared_are_named(tmp_path, changes, says):
    record(tmp_path / "g", "baseline")
    other = record(tmp_path / "g", "passion")
    change(other, **changes)
    with pytest.raises(InputError, match=says):
        collect([tmp_path / "g"])


def test_wrong_input_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no runs at .*nothing: start them with 'bench run'"):
        collect([tmp_path / "nothing"])
    record(tmp_path / "g", "baseline", state="failed")
    with pytest.raises(InputError, match=r"no finished run at .* \(1 failed\)"):
        collect([tmp_path / "g"])
    folder = record(tmp_path / "g", "passion")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another folder with --out"):
        write_report([tmp_path / "g"], tmp_path / "file" / "out")
    cases = single_test(folder) / "cases.csv"
    whole = cases.read_text()
    for text, says in (
        ("a,b\n1,2\n", "expected the columns"),
        (whole.replace("case 2", "case 1"), "twice"),
        (whole.replace("flair+t1ce,", "flair+t9,"), "unknown subset flair"),
        (whole.replace(",WT,", ",XX,"), "has not the regions"),
        (whole.replace("0.3,", "high,").replace(",0.3\n", ",high\n"), "numbers in the last"),
        ("", "cannot be read"),
    ):
        cases.write_text(text)
        with pytest.raises(InputError, match=says):
            collect([tmp_path / "g"])
    (folder.path / "config.yaml").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        collect([tmp_path / "g"])


def test_names():
    assert [modality_title(m) for m in BRATS2020.modalities] == ["FLAIR", "T1ce", "T1", "T2"]
    base = {"backbone": {"name": "unet"}, "objective": {"name": "mine", "policy": "idt"}, "seed": 1}
    assert method_titles([base, {**base, "seed": 2}]) == ["unet + mine"] * 2
    dropped = {**base, "objective": {"name": "baseline", "policy": "idt_drop"}}
    pdt = {**base, "objective": {"name": "baseline", "policy": "pdt"}}
    assert method_titles([dropped, pdt]) == ["unet baseline (random drop)", "unet baseline (PDT)"]
    trained = [
        {**base, "pretrain": {"train": {"epochs": before}}, "train": {"epochs": after}}
        for before, after in ((100, 100), (200, 100), (100, 200))
    ]
    assert method_titles(trained) == [
        "unet + mine",
        "unet + mine (pretrain.train.epochs=200)",
        "unet + mine (train.epochs=200)",
    ]
    close = [{**base, "train": {"lr": lr}} for lr in (0.0002, 0.00012345678, 0.00012345679)]
    assert method_titles(close) == [
        f"unet + mine (lr={lr})" for lr in ("0.0002", "0.00012345678", "0.00012345679")
    ]


def test_special_characters_are_harmless():
    assert escape_latex("50 % of a_b & c\\d") == r"50~\% of a\_b \& c\textbackslash{}d"
    assert escape_markdown("a|b\n*c*") == r"a\|b \*c\*"


def test_the_report_needs_no_torch():
    code = (
        "import sys, benchmark.report.write;"
        "sys.exit(bool({'torch', 'monai', 'wandb', 'nibabel', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
