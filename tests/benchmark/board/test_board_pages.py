"""The pages of a board, of recorded trainings with numbers that can be checked by hand."""

import re
import shutil
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest
from bench_program import bench
from board_runs import accept
from recorded_runs import POLICY, TEST, change, record

from bench_errors import InputError
from benchmark.board.build import build_site
from benchmark.board.entries import RUNS, entries
from benchmark.board.standings import places, standings_table
from benchmark.report.data.collect import collect
from benchmark.report.data.effects import Training, Trainings
from benchmark.report.data.scores import score
from benchmark.run_folder.case_rows import read_rows, write_rows

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    board = tmp_path_factory.mktemp("board")
    for seed in (1, 2, 3):
        accept(board, "passion", seed, 0.1 + 0.001 * seed)
        accept(board, "baseline", seed, 0.002 * seed, recomputed=seed < 3)
        accept(board, "pmr", seed, 0.001 * seed)
        accept(board, "baseline", seed, 0.0, profile="mr8642")
    return board


@pytest.fixture(scope="module")
def site(board, tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    build_site(board, out)
    return out


class Links(HTMLParser):
    """What a page leads to or loads."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("href", "src")]


def test_every_page_is_reached_and_needs_no_network(site):
    reached, left = set(), ["index.html"]
    while left:
        page = left.pop()
        if page not in reached:
            reached.add(page)
            if page.endswith(".html"):
                links = Links((site / page).read_text()).found
                left += [link for link in links if not link.startswith(("#", "data:"))]
    assert all((site / page).is_file() for page in reached)
    written = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    tables = {name for name in written if name.startswith("tables/")}
    assert written - tables == reached - tables
    assert not any("http" in link for link in reached)


def test_a_second_build_has_the_same_bytes(board, site, tmp_path):
    build_site(board, tmp_path)
    files = {path.relative_to(site): path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files


def test_the_first_page_has_the_standings(site):
    page = (site / "index.html").read_text()
    assert "4 entries of 12 trainings" in page
    first = page[page.index('id="phantom-mr2468-standings-dice"') :]
    rows = re.findall(r'data-method="([^"]+)".*?</tr>', first[: first.index("</table>")], re.DOTALL)
    assert rows == ["RFNet + PASSION", "RFNet baseline", "RFNet + PMR"]
    # Recorded Dice of region r, subset s and case c: 0.3 + 0.02 s - 0.1 r + 0.1 c and its strength.
    assert 'data-value="49.2"' in first  # (0.39 + 0.102) of WT, TC and ET: 0.3 + 0.14 - 0.1 + 0.05


def test_the_page_of_an_entry_says_what_was_checked(site):
    (page,) = site.glob("phantom-mr2468-rfnet-baseline-*.html")
    text = page.read_text()
    assert text.count("recomputed</td>") == 2
    assert text.count("as recorded</td>") == 1
    assert "bbbbbbbbbbbb</code>, predicted again" in text
    assert "c0ffee1234" in text
    assert "split-hash" in text
    assert "Place 2 of 3" in text


def test_markup_and_formulas_in_names_stay_text(tmp_path):
    for seed in (1, 2, 3):
        accept(tmp_path, "baseline", seed, 0.0, backbone="=1+1", options={"note": EVIL})
        accept(tmp_path, "baseline", seed, 0.0, backbone="=1+1", options={"note": "plain"})
    build_site(tmp_path, tmp_path / "site")
    pages = "".join(path.read_text() for path in (tmp_path / "site").glob("*.html"))
    assert "<img" not in pages
    assert f"(note={escape(EVIL)})" in pages
    names = [path.name for path in (tmp_path / "site").rglob("*") if path.is_file()]
    assert all(re.fullmatch(r"[A-Za-z0-9.-]+", name) for name in names), names
    table = (tmp_path / "site" / "tables" / "phantom-mr2468-standings-dice.csv").read_text()
    assert ",'=1+1" in table
    assert ",=1+1" not in table


def test_an_empty_board_is_told(tmp_path):
    result = bench("board", "build", "--board", tmp_path, "--out", tmp_path / "site")
    assert result.returncode == 2
    assert "add some with bench board add ARCHIVE" in result.stderr
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="no training"):
        build_site(tmp_path, tmp_path / "file")


def test_what_was_withdrawn_is_gone_from_the_pages(tmp_path):
    for seed in (1, 2, 3):
        accept(tmp_path / "board", "baseline", seed, 0.0)
        accept(tmp_path / "board", "baseline", seed, 0.0, profile="mr8642")
    site = tmp_path / "site"
    build_site(tmp_path / "board", site)
    (site / "CNAME").write_text("board.example")
    for folder in (tmp_path / "board" / RUNS).glob("*mr8642*"):
        shutil.rmtree(folder)
    build_site(tmp_path / "board", site)
    assert not [path for path in site.rglob("*") if "mr8642" in path.name]
    assert "mr8642" not in (site / "index.html").read_text()
    assert (site / "CNAME").exists()


def test_an_entry_with_too_few_trainings_left_is_on_no_page(tmp_path, capsys):
    for seed in (1, 2, 3):
        accept(tmp_path / "board", "baseline", seed, 0.0)
        accept(tmp_path / "board", "passion", seed, 0.1)
    shutil.rmtree(min((tmp_path / "board" / RUNS).glob("*passion*")))
    build_site(tmp_path / "board", tmp_path / "site")
    assert "left out: RFNet + PASSION on phantom, mr2468 has trainings of 2 seeds" in capsys.readouterr().err
    assert "1 entry of 3 trainings" in (tmp_path / "site" / "index.html").read_text()
    assert not [page for page in (tmp_path / "site").rglob("*.html") if "PASSION" in page.read_text()]
    shutil.rmtree(min((tmp_path / "board" / RUNS).glob("*baseline*")))
    with pytest.raises(InputError, match="no entry is left"):
        build_site(tmp_path / "board", tmp_path / "site")


def test_an_entry_is_of_seeds_not_of_tables(tmp_path):
    for table_seed in (1037, 1, 2):
        run = record(tmp_path / "g", "baseline", name=f"baseline-{table_seed}")
        change(run, data={"availability": {"hash": f"tab1e{table_seed}"}}, config={"table_seed": table_seed})
    [entry] = entries(collect([tmp_path / "g"]))
    assert (len(entry.runs), entry.seeds) == (3, 1)


def test_a_metric_that_some_entries_lack_places_the_others(tmp_path):
    for objective, strength in (("baseline", 0.0), ("dwa", 0.05), ("gss", 0.2), ("pmr", 0.1)):
        for seed in (1, 2, 3):
            cases = accept(tmp_path / "board", objective, seed, strength).test(TEST).cases
            rows = read_rows(cases)
            more = [row._replace(metric="nsd") for row in rows if row.metric == "dice" and objective != "dwa"]
            write_rows(cases, [*rows, *more])
    build_site(tmp_path / "board", tmp_path / "site")
    table = (tmp_path / "site" / "tables" / "phantom-mr2468-standings-nsd.md").read_text()
    rows = [line.split(" | ")[:2] for line in table.splitlines() if "RFNet" in line and line.startswith("|")]
    assert rows == [["| 1", "RFNet + GSS"], ["| 2", "RFNet + PMR"], ["| 3", "RFNet baseline"]]
    ranks = (tmp_path / "site" / "tables" / "phantom-mr2468-places-dice.md").read_text()
    assert [m for m in re.findall(r"RFNet[^|]*(?= \|)", ranks) if m] == [
        "RFNet + GSS",
        "RFNet + PMR",
        "RFNet + DWA",
        "RFNet baseline",
    ]
    (page,) = (tmp_path / "site").glob("*-dwa-*.html")
    assert "NSD" not in page.read_text()


def test_an_entry_keeps_the_trainings_that_another_one_shares_with_it(tmp_path, capsys):
    for seed in (1, 2, 3):
        run = accept(tmp_path / "board", "baseline", seed, 0.0)
        if seed > 1:
            other = run.test("brats")
            policy = {"metrics": {**POLICY, "policy": "brats-2022"}, "test": {"policy": "brats-2022"}}
            other.begin({**run.test(TEST).settings(), **policy})
            shutil.copy(run.test(TEST).cases, other.cases)
            other.mark_done()
    build_site(tmp_path / "board", tmp_path / "site")
    assert "brats-2022 has trainings of 2 seeds" in capsys.readouterr().err
    assert "1 entry of 3 trainings" in (tmp_path / "site" / "index.html").read_text()


class Known:
    """As much of a study's scores as places need: a number per training and patient of each method."""

    endpoint = None

    def __init__(self, higher_is_better=True, **methods):
        self.higher_is_better = higher_is_better
        self._methods = methods

    def trainings(self, weights):
        def of(values):
            values = np.array(values, dtype=float)[:, :, None]
            return Trainings(tuple(Training(i, 0, "", "") for i in range(len(values))), values)

        return {method: of(values) for method, values in self._methods.items()}


def around(middle, spread=0.0):
    """Three trainings with four patients each, the trainings `spread` apart."""
    return [[middle + spread * step + patient for patient in (-1, 0, 1, 2)] for step in (-1, 0, 1)]


def test_a_place_begins_where_the_first_of_the_one_before_is_better_beyond_doubt():
    close = {"a": around(70, 0.5), "b": around(69.9, -0.4), "c": around(60, 0.5)}
    assert places(Known(**close)) == {"a": 1, "b": 1, "c": 3}
    assert places(Known(higher_is_better=False, **close)) == {"c": 1, "b": 2, "a": 2}


def test_a_method_that_varies_much_is_never_before_one_with_a_better_mean():
    found = places(Known(sure=around(70, 0.1), next=around(65, 0.1), wild=around(60, 30)))
    assert list(found) == ["sure", "next", "wild"]
    assert list(found.values()) == sorted(found.values())
    assert found == {"sure": 1, "next": 2, "wild": 2}


def test_the_standings_agree_with_the_scores(board):
    collected = collect([board / RUNS], ["policy"])
    study = next(study for study in collected.studies() if study.profile == "mr2468")
    scores = score(collected.cases, study, "dice")
    counts = {entry.method: entry.recomputed for entry in entries(collected) if entry.study == study}
    table = standings_table(scores, counts)
    for row in table.rows:
        means = scores.by_region(row.method, scores.plain)
        assert [cell.value for cell in row.cells[:4]] == pytest.approx(means.mean(axis=0))
        assert [cell.sd for cell in row.cells[:4]] == pytest.approx(means.std(axis=0, ddof=1))
        low, high = row.cells[3].interval
        assert low < row.cells[3].value < high
    behind = [row.cells[4].value for row in table.rows]
    means = [row.cells[3].value for row in table.rows]
    assert np.isnan(behind[0])
    assert behind[1:] == pytest.approx([value - means[0] for value in means[1:]])
    assert [row.cells[-1].value for row in table.rows] == [3, 2, 3]
