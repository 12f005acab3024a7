"""Published numbers: what is shipped, and how it stands in a table."""

import csv
import math

import pytest
from recorded_runs import record

from benchmark.report.data.collect import collect
from benchmark.report.tables.contents import contents
from benchmark.report.tables.render import html, latex, markdown, wide_csv
from benchmark.report.tables.reported import FOLDER, add_reported, reported
from benchmark.report.tables.table import Block, Column, Table
from benchmark.report.write import write_report
from datasets.studies.brats import BRATS2020
from datasets.studies.names import DATASETS
from datasets.vocabulary import subset_name, table_subsets

CASES = tuple(f"case {i}" for i in range(8))
FILES = pytest.mark.parametrize("dataset", sorted(path.stem for path in FOLDER.glob("*.csv")))
METRICS = ("dice", "hd95")
NO_MEAN = "does not average to its printed mean"
AVERAGE = "average"


def rows_of(dataset):
    with (FOLDER / f"{dataset}.csv").open() as file:
        return list(csv.DictReader(file))


def every_subset(dataset):
    description = DATASETS.get(dataset)
    return [subset_name(s, description.modalities) for s in table_subsets(description)]


def test_it_is_said_where_no_published_row_fits(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmark.report.write.pictures", lambda *_: [])
    for profile in ("mr2468", "complete"):
        record(tmp_path / profile, "baseline", description=BRATS2020, profile=profile, cases=CASES)
        write_report([tmp_path / profile], tmp_path / "out" / profile, published=True)
        assert ("--published adds nothing" in capsys.readouterr().err) == (profile == "mr2468")


def test_published_rows_stand_apart_from_ours(tmp_path):
    folder = tmp_path / "g"
    for policy in ("idt", "pdt"):
        options = {"policy": policy}
        record(folder, "baseline", description=BRATS2020, profile="complete", cases=CASES, options=options)
    record(folder, "baseline", description=BRATS2020, cases=CASES)
    collected = collect([folder])

    def tables(published):
        every = [table for section in contents(collected, published) for table in section.tables]
        return {table.name: table for table in every}

    ours, both = tables(False), tables(True)
    name = "brats2020-complete-dice"
    changed = {key for key in both if markdown(both[key]) != markdown(ours[key])}
    assert changed == {name, "brats2020-profiles-dice"}
    added = [row for row in both[name].rows if row.source]
    assert [row.cells[0].mark for row in both[name].rows if not row.source] == [
        row.cells[0].mark for row in ours[name].rows
    ]
    assert both[name].differences == ours[name].differences
    assert {cell.mark for row in added for cell in row.cells} == {""}
    rfnet = added[0]
    assert (rfnet.method, rfnet.cells[0].value, rfnet.cells[-1].value) == (
        "RFNet (kk42yy/DeMoSeg README result images)",
        86.05,
        86.98,
    )
    assert "| RFNet [1] | 86.05 |" in markdown(both[name])
    assert "[1] kk42yy/DeMoSeg README result images (read off, averages as printed)" in both[name].caption
    assert both[name].caption.count("dyh127/RFNet README: complete training data") == 1
    assert "\\addlinespace" in latex(both[name])
    assert 'class="reported" data-source="kk42yy' in html(both[name])


@FILES
def test_published_numbers_have_a_source_a_setting_and_known_names(dataset):
    rows = rows_of(dataset)
    regions = {region.name for region in DATASETS.get(dataset).regions}
    keys = [(r["method"], r["profile"], r["subset"], r["region"], r["metric"], r["source"]) for r in rows]
    assert len(set(keys)) == len(keys) > 0
    assert {row["subset"] for row in rows} <= {*every_subset(dataset), AVERAGE}
    assert {row["region"] for row in rows} <= regions
    assert {row["metric"] for row in rows} <= set(METRICS)
    for row in rows:
        assert row["source"]
        assert row["setting"]
        assert 0 < float(row["value"]) < 100
    assert reported("phantom", "dice") == []


@FILES
@pytest.mark.parametrize("metric", METRICS)
def test_a_row_whose_cells_do_not_average_to_its_mean_says_so_and_no_other(dataset, metric):
    printed = {
        (r["method"], r["region"], r["source"]): r["value"]
        for r in rows_of(dataset)
        if (r["metric"], r["subset"]) == (metric, AVERAGE)
    }
    for row in reported(dataset, metric):
        cells = [value for (_, subset), value in row.values.items() if subset != AVERAGE]
        mean = printed[row.method, row.region, row.source]
        if len(cells) == 14:  # one of them was a copy of the mean
            assert NO_MEAN in row.note
            assert "all four left out" in row.note
        elif cells:
            assert len(cells) == 15
            least = 10.0 ** -len(mean.partition(".")[2])  # the cells and the mean are rounded to it
            assert (abs(sum(cells) / 15 - float(mean)) > least) == (NO_MEAN in row.note), row


@FILES
@pytest.mark.parametrize("metric", METRICS)
def test_every_published_number_is_shown_with_its_source_and_note(dataset, metric):
    names = [*every_subset(dataset), AVERAGE]
    columns = tuple(Column(name, name) for name in names)
    rows = [row for row in rows_of(dataset) if row["metric"] == metric]
    blocks = tuple(Block(region, (), region) for region in dict.fromkeys(row["region"] for row in rows))
    ours = Table("t", "subsets", metric, "T", True, "p", ("Region", "Method"), columns, blocks, "on x.")
    table = add_reported(ours, dataset, lambda column: ("complete", column))
    assert (table == ours) == (not rows)
    shown = {
        (row.labels[0], block.region, name, row.source): cell.value
        for block in table.blocks
        for row in block.rows
        for name, cell in zip(names, row.cells, strict=True)
        if not math.isnan(cell.value)
    }
    assert len(shown) == len(rows)
    for row in rows:
        source = "; ".join(filter(None, (f"{row['source']}: {row['setting']}", row["note"])))
        assert shown[row["method"], row["region"], row["subset"], source] == float(row["value"])
    for row in table.rows:
        assert f"[{row.citation}] {row.source}." in table.caption
        assert f"{row.labels[0]} [{row.citation}]" in markdown(table)
    for text in (markdown(table), latex(table), html(table), wide_csv(table)):
        assert all(row["note"] in text for row in rows)
