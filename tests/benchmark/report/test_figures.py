"""The report's figures: they show the numbers of the tables, in files that are the same every time."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.image import imread
from recorded_runs import RATES, change, record, record_examples

from benchmark.report.data.collect import collect
from benchmark.report.data.scores import score
from benchmark.report.figures.choice import chosen, only_rows
from benchmark.report.figures.curves import loss_curves, preference_curves, with_epochs
from benchmark.report.figures.panel import growing_subsets
from benchmark.report.figures.pictures import pictures
from benchmark.report.figures.style import (
    COLOURS,
    HATCHES,
    MARKERS,
    MOST,
    draw_presence,
    looks,
    method_legend,
    new_figure,
    save,
)
from benchmark.report.figures.subsets import boxes, differences
from benchmark.report.figures.trends import over_missing, over_number
from benchmark.report.figures.worth import contributions
from benchmark.report.tables.by_subset import subset_table
from benchmark.report.tables.contents import contents
from benchmark.report.tables.worth import marginal_table, shapley_table

CASES = tuple(f"case {i}" for i in range(8))
OTHER_RATES = {"flair": 0.2, "t1ce": 0.4, "t1": 0.6, "t2": 0.8}


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures") / "tiny"
    record_examples(record(folder, "baseline", cases=CASES))
    record_examples(record(folder, "passion", strength=0.05, cases=CASES))
    record(folder, "passion", seed=1038, strength=0.07, cases=CASES)
    for objective in ("baseline", "passion"):
        other = record(folder, objective, profile="mr8642", cases=CASES)
        content = other.config()
        content["data"]["availability"] |= {"realised": OTHER_RATES, "hash": "0ther"}
        other.write_config(content)
    return collect([folder])


@pytest.fixture(scope="module")
def study(collected):
    return next(study for study in collected.studies() if study.profile == "mr2468")


def of_study(collected):
    """The section of the first study."""
    return next(section for section in contents(collected) if section.kind == "study")


def points(axis, marker):
    return [
        (*point, line.get_markerfacecolor())
        for line in axis.lines
        if line.get_marker() == marker
        for point in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def test_differences_are_those_of_the_table(collected, study):
    table = subset_table(score(collected.cases, study, "dice"))
    figure = differences(table)
    assert [axis.get_title("left") for axis in figure.axes[:-1]] == ["WT", "TC", "ET", "ETpp"]
    drawn = points(figure.axes[0], "s")
    assert len(drawn) == 16
    # The seed of PASSION that the baseline has too is better by 0.05 in every case and subset.
    assert [y for _, y, _ in drawn] == pytest.approx([5.0] * 16)
    expected = [found for found in table.differences if found.block == "WT"]
    ends = [path.vertices[:, 1] for lines in figure.axes[0].collections for path in lines.get_paths()]
    assert np.ravel(ends) == pytest.approx([end for found in expected for end in (found.low, found.high)])
    assert "RFNet baseline" in figure.get_supylabel()


def test_without_a_baseline_there_are_no_differences(tmp_path):
    record(tmp_path / "g", "passion")
    alone = collect([tmp_path / "g"])
    assert differences(subset_table(score(alone.cases, alone.studies()[0], "dice"))) is None


def test_boxes_have_the_medians_of_the_cases(collected, study):
    scores = score(collected.cases, study, "dice")
    figure = boxes(scores)
    kinds = figure.axes[0].collections[:4], figure.axes[0].collections[4:]  # a method's boxes to medians
    of_methods = [scores.of_cases(method)[:, 0] for method in study.methods]
    for (bodies, _, _, medians), values in zip(kinds, of_methods, strict=True):
        drawn = [path.vertices[0, 1] for path in medians.get_paths()]
        assert drawn == pytest.approx(np.median(values, axis=0))
        heights = [np.ptp(path.vertices[:, 1]) for path in bodies.get_paths()]
        assert heights == pytest.approx(np.ptp(np.quantile(values, [0.25, 0.75], axis=0), axis=0))


def test_a_case_beyond_the_whiskers_is_a_dot(collected, study):
    scores = score(collected.cases, study, "dice")
    values = scores.values.copy()
    values[0, 0, 0, scores.subsets.index("t2")] = 300.0
    values[0, :, 0, scores.subsets.index("t1")] = np.nan
    axis = boxes(replace(scores, values=values)).axes[0]
    assert [(x, y) for x, y, _ in points(axis, ".")] == [(pytest.approx(-0.175), 300.0)]
    assert len(axis.collections[0].get_paths()) == 14


def test_contributions_are_those_of_the_tables(collected, study):
    scores = score(collected.cases, study, "dice")
    tables = marginal_table(scores), shapley_table(scores)
    figure = contributions(*tables)
    for row, table in enumerate(tables):
        drawn = [y for _, y, _ in points(figure.axes[4 * row], "o")]
        assert drawn == pytest.approx([cell.value for cell in table.blocks[0].rows[0].cells[:4]])
    assert [label.get_text() for label in figure.axes[4].get_xticklabels()] == ["FLAIR", "T1ce", "T1", "T2"]


def test_lines_over_the_number_of_modalities_are_means_by_size(collected, study):
    scores = score(collected.cases, study, "dice")
    drawn = [y for _, y, _ in points(over_number(scores).axes[0], "o")]
    values = scores.of_cases("RFNet baseline")[:, 0, :-1]
    sizes = np.array([name.count("+") for name in scores.subsets])
    assert drawn[:4] == pytest.approx([values[:, sizes == n].mean() for n in range(4)])


def test_missing_rates_of_one_profile_and_of_several(collected, study):
    one = over_missing([score(collected.cases, study, "dice")])
    line = one.axes[0].lines[0]
    rates = study.runs[0].content["data"]["availability"]["realised"]
    order = sorted(rates, key=rates.get)
    assert line.get_xdata().tolist() == pytest.approx([round(100 * rates[m], 1) for m in order])
    scores = score(collected.cases, study, "dice")
    values = scores.of_cases("RFNet baseline")[:, 0]
    assert line.get_ydata().tolist() == pytest.approx(
        [values[:, scores.subsets.index(m)].mean() for m in order]
    )
    several = over_missing([score(collected.cases, s, "dice") for s in collected.studies()])
    assert len(several.axes) == 4 * 4
    assert several.axes[0].lines[0].get_xdata().tolist() == [20.0, 57.1]


def test_the_missing_rate_of_several_tables_is_their_mean(tmp_path):
    for table_seed, rate in ((1037, 0.2), (7, 0.4)):
        run = record(tmp_path / "g", "baseline", name=f"t{table_seed}")
        table = {"hash": f"tab1e{table_seed}", "realised": {**RATES, "flair": rate}}
        change(run, config={"table_seed": table_seed}, data={"availability": table})
    several = collect([tmp_path / "g"])
    figure = over_missing([score(several.cases, several.studies()[0], "dice")])
    assert figure.axes[0].lines[0].get_xdata().tolist() == [19.1, 30.0, 42.9, 76.2]


def test_of_many_methods_each_network_has_its_baseline_and_its_best(tmp_path):
    for network, better in (("mmformer", 0.0), ("rfnet", 0.2)):
        record(tmp_path / "g", "baseline", backbone=network)
        record(tmp_path / "g", "passion", backbone=network, strength=better + 0.02)
        record(tmp_path / "g", "pmr", backbone=network, strength=better + 0.03)
        record(tmp_path / "g", "kd", backbone=network, strength=better + 0.01)
    everything = collect([tmp_path / "g"])
    section = of_study(everything)
    dice, distance = section.scores
    shown = ["mmFormer baseline", "mmFormer + PMR", "RFNet baseline", "RFNet + PASSION", "RFNet + PMR"]
    assert chosen([dice], 4) == [name for name in shown if name != "RFNet + PASSION"]
    assert chosen([distance], 5) == [
        "mmFormer baseline",
        "mmFormer + PASSION",
        *["mmFormer + PMR"],
        *shown[2::2],
    ]
    assert chosen([dice], 8) == section.study.methods
    table = only_rows(section.tables[0], shown)
    assert [row.method for row in table.blocks[0].rows] == shown
    fewer = dice.of_methods(shown)
    assert fewer.study.methods == shown
    assert all((fewer.of_runs(method) == dice.of_runs(method)).all() for method in shown)
    assert (distance.of_methods(shown).dice.values == fewer.values).all()
    with pytest.raises(ValueError, match="8 rows of values for 5 runs"):
        replace(dice, study=fewer.study)


def test_captions_say_which_methods_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.figures.pictures.MOST", 2)
    monkeypatch.setattr("benchmark.report.figures.pictures.MOST_ROWS", 3)
    for objective in ("baseline", "passion", "pmr", "kd"):
        record(tmp_path / "g", objective, strength=0.1 * (objective == "pmr"))
    section = of_study(collect([tmp_path / "g"]))
    drawn = {
        picture.name.removeprefix("phantom-mr2468-"): (picture, figure)
        for picture, figure in pictures(section)
    }
    for name in ("difference-dice", "boxes-hd95", "worth-dice", "missing-dice", "loss"):
        picture, figure = drawn[name]
        assert "hown are 2 of 4 methods: of each network its baseline" in picture.text
        entries = [text.get_text() for text in figure.legends[0].get_texts()]
        assert entries in (["RFNet baseline", "RFNet + PMR"], ["RFNet + PMR"]), name
    assert "Shown are 3 of 4 methods" in drawn["dice"][0].text
    # The preference is that of a method that keeps it, though others are better.
    assert [axis.get_title("left") for axis in drawn["preference"][1].axes[::2]] == ["RFNet + PASSION"]
    assert "Of those" not in drawn["preference"][0].text


def test_the_missing_rates_of_several_profiles_show_methods_that_are_under_several(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.figures.pictures.MOST", 2)
    rates = {"mr2468": {}, "mr8642": {"realised": OTHER_RATES}}
    for objective in ("baseline", "pmr", "passion"):
        for profile, other in rates.items() if objective != "passion" else [("mr1379", {})]:
            folder = record(tmp_path / "g", objective, profile=profile, strength=0.1)
            content = folder.config()
            content["data"]["availability"] |= {"hash": profile, **other}
            folder.write_config(content)
    across = next(section for section in contents(collect([tmp_path / "g"])) if section.kind == "profiles")
    assert len(across.scores) == 3
    [(picture, figure)] = pictures(across)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["RFNet baseline", "RFNet + PMR"]
    assert "Shown are" not in picture.text
    monkeypatch.setattr("benchmark.report.figures.pictures.MOST", 1)
    [(picture, _)] = pictures(across)
    assert "Shown are 1 of 2 methods" in picture.text


def test_equal_missing_rates_have_no_figure(tmp_path):
    folder = record(tmp_path / "g", "baseline", profile="complete")
    content = folder.config()
    content["data"]["availability"]["realised"] = dict.fromkeys(OTHER_RATES, 0.0)
    folder.write_config(content)
    complete = collect([tmp_path / "g"])
    assert over_missing([score(complete.cases, complete.studies()[0], "dice")]) is None


def test_curves_are_the_records(study):
    losses = loss_curves(study)
    assert [axis.get_title("left") for axis in losses.axes] == ["total"]
    assert losses.axes[0].lines[0].get_ydata().tolist() == [3.0] * 3
    curves = preference_curves(study)
    # Two seeds: their mean, and a band between them.
    assert curves.axes[0].lines[0].get_ydata().tolist() == pytest.approx([-0.275, -0.1375, -0.275 / 3])
    assert len(curves.axes[0].collections) == 4


def test_a_method_of_one_epoch_has_no_line(tmp_path):
    record(tmp_path / "g", "passion")
    once = record(tmp_path / "g", "baseline").path / "log.jsonl"
    once.write_text(once.read_text().splitlines(keepends=True)[0])
    assert with_epochs(collect([tmp_path / "g"]).studies()[0]) == ["RFNet + PASSION"]


def test_looks_at_the_validation_cases_have_a_panel_of_their_own(tmp_path):
    folder = record(tmp_path / "g", "baseline")
    lines = [{**line, "validation": 0.2 * line["epoch"]} if line["epoch"] else line for line in folder.log()]
    folder.truncate_log(0)
    for line in lines:
        folder.append_log(line)
    section = next(section for section in contents(collect([tmp_path / "g"])) if section.study)
    [(picture, figure)] = [drawn for drawn in pictures(section) if drawn[0].title == "Losses"]
    assert [axis.get_title("left") for axis in figure.axes] == ["total", "validation Dice"]
    assert figure.axes[1].lines[0].get_xydata().tolist() == [[1, 0.2], [2, 0.4]]
    assert "mean Dice of the validation cases" in picture.text


def test_subsets_of_a_panel_grow_from_what_training_lacked_most(study):
    assert growing_subsets(study) == [
        ("t2",),
        ("t2", "flair"),
        ("t2", "flair", "t1ce"),
        ("t2", "flair", "t1ce", "t1"),
    ]


@pytest.fixture(scope="module")
def drawn(collected, study):
    section = next(section for section in contents(collected) if section.study == study)
    return list(pictures(section))


def test_a_study_has_every_kind_of_figure(drawn):
    names = [picture.name for picture, _ in drawn]
    assert len(names) == len(set(names))
    kinds = [name.removeprefix("phantom-mr2468-") for name in names]
    of_metric = [f"{kind}{m}" for m in ("dice", "hd95") for kind in ("", "difference-", "boxes-", "worth-")]
    slices = ["slices", "slices-1", "slices-2"]
    assert kinds == [*of_metric, "missing-dice", "preference", "loss", *slices]
    for picture, figure in drawn:
        assert picture.title
        assert len(picture.alt) > 20
        assert picture.text.endswith(".")
        assert picture.inches == tuple(figure.get_size_inches())


def test_many_studies_have_no_panels_of_single_methods(collected, study):
    section = next(section for section in contents(collected) if section.study == study)
    names = [picture.name for picture, _ in pictures(section, brief=True)]
    assert [name for name in names if "slices" in name] == ["phantom-mr2468-slices"]


def test_panels_show_cases_by_method_and_role(drawn):
    by_name = {picture.name.removeprefix("phantom-mr2468-"): (picture, figure) for picture, figure in drawn}
    picture, figure = by_name["slices"]
    assert picture.title == "Case case 1 by method"
    titles = [axis.get_title() for axis in figure.axes[:5]]
    assert titles == ["Label", "T2", "+ FLAIR", "+ T1ce", "+ T1"]
    assert [axis.get_ylabel() for axis in figure.axes[::5]] == ["RFNet\nbaseline", "RFNet +\nPASSION"]
    # Dice of case 1 with T2 alone, subset 0: 0.4 in WT, 0.3 in TC, 0.2 in ET.
    assert figure.axes[1].texts[0].get_text() == "30.0 %"
    rows = [axis.get_ylabel().split() for axis in by_name["slices-1"][1].axes[::5]]
    assert rows == [["worst:", "case", "1"], ["median,", "best:", "case", "2"]]


def test_one_test_case_needs_no_panel_of_extremes_and_few_no_boxes(tmp_path):
    record_examples(record(tmp_path / "g", "baseline", cases=("case 1",)), ("case 1",))
    section = of_study(collect([tmp_path / "g"]))
    drawn = {picture.name: (picture, figure) for picture, figure in pictures(section)}
    assert [name for name in drawn if "slices" in name] == ["phantom-mr2468-slices"]
    picture, figure = drawn["phantom-mr2468-boxes-dice"]
    assert picture.text.startswith("A marker per case")
    assert [y for _, y, _ in points(figure.axes[0], "o")] == pytest.approx([*range(30, 60, 2), 44])


def test_a_figure_grows_with_the_lines_of_its_legend():
    names = [f"RFNet + PASSION (beta=off, delta=off, semantic=off, tau={i})" for i in range(8)]
    figure = new_figure(7.2, 2.8)
    method_legend(figure, looks(names))
    assert figure.get_size_inches().tolist() == pytest.approx([7.2, 2.8 + 6 * 0.19])
    short = new_figure(7.2, 2.8)
    method_legend(short, looks([f"m{i}" for i in range(8)]))
    assert short.get_size_inches().tolist() == pytest.approx([7.2, 2.8])


def test_files_of_all_formats_have_the_same_bytes_again(drawn, collected, study, tmp_path):
    section = next(section for section in contents(collected) if section.study == study)
    again = {picture.name: figure for picture, figure in pictures(section)}
    for picture, figure in drawn:
        if not picture.name.endswith(("difference-dice", "preference", "slices")):
            continue
        first = save(figure, tmp_path / "first")
        second = save(again[picture.name], tmp_path / "second")
        assert [path.suffix for path in first] == [".png", ".svg", ".pdf"]
        for one, other in zip(first, second, strict=True):
            assert one.read_bytes() == other.read_bytes(), (picture.name, one.suffix)
        assert imread(first[0]).std() > 0.05
        pdf = first[2].read_bytes()
        assert b"CreationDate" not in pdf
        assert b"/Type3" not in pdf.replace(b" ", b"")


def test_methods_differ_without_colour_and_their_colours_in_grey(drawn):
    names = [f"m{i}" for i in range(MOST + 3)]
    look_of = looks(names)
    assert len(look_of) == MOST == len(MARKERS) == len(HATCHES)
    assert len({look.marker for look in look_of.values()}) == MOST
    assert len({look.hatch for look in look_of.values()}) == MOST
    # The first four lines differ in their dashes, and the first two colours in their grey.
    assert len({str(look.dash) for look in list(look_of.values())[:4]}) == 4
    grey = [float(np.dot(colors.to_rgb(c), (0.2126, 0.7152, 0.0722))) for c in COLOURS[:2]]
    assert abs(grey[0] - grey[1]) > 0.02


def test_dots_are_full_where_a_modality_is_there():
    axis = new_figure(3, 1).subplots()
    draw_presence(axis, ["A", "B"], [(True, False)], average=False)
    assert [line.get_markerfacecolor() for line in axis.lines] == ["black", "white"]
