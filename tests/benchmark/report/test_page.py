"""The page in a real headless browser: it renders, sorts, filters, and reads well for everybody.

Without Chromium (Debian: apt-get install chromium) only its text is looked at.
"""

import base64
import itertools
import json
import re
import tarfile
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from chromium import PROGRAM, Chromium
from recorded_runs import TEST, record, record_examples

from benchmark.evaluation.example_slices import FILE
from benchmark.report.data.collect import collect
from benchmark.report.page import browser as browser_module
from benchmark.report.page import page as page_module
from benchmark.report.page.browser import browser, natural, runs_of
from benchmark.report.tables.contents import contents
from benchmark.report.tables.render import html
from benchmark.report.write import write_report
from datasets.studies.myops import PHANTOM_HEART

needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="no chromium: apt-get install chromium")
HEADLINE = Path(__file__).parents[3] / "results" / "headline" / "runs.tar.xz"
ODD = 'case </script><b>"1"'
CASES = ("case 10", ODD, "case 2")


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "runs" / "tiny"
    record_examples(record(folder, "baseline", cases=CASES), CASES)
    record_examples(record(folder, "passion", strength=0.05, cases=CASES), CASES)
    record(folder, "passion", seed=1038, strength=0.07, cases=CASES)
    record(folder, "passion", seed=1039, state="failed")
    record(folder, "baseline", description=PHANTOM_HEART, profile="mr357")
    return folder


@pytest.fixture(scope="module")
def path(grid):
    write_report([grid], grid.parents[1] / "report", formats=["png"])
    return grid.parents[1] / "report" / "report.html"


@pytest.fixture(scope="module")
def chromium():
    with Chromium() as running:
        yield running


class Reader(HTMLParser):
    """Notes every element with its attributes."""

    def __init__(self, path):
        super().__init__()
        self.elements = []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


def test_the_text_is_whole_and_accessible(path):
    page = Reader(path)
    assert page.all("html") == [{"lang": "en"}]
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    assert all(image["alt"] and image["src"].startswith("data:image/") for image in page.all("img"))
    assert len(page.all("img")) > 15
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert not page.all("iframe", "object", "base")
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    names = [a["id"] for _, a in page.elements if "id" in a]
    assert len(names) == len(set(names))
    for region in page.all("div"):
        if "tabindex" in region:
            assert region["role"] == "group"
            assert region["aria-label"]


def test_every_link_leads_somewhere(path):
    page = Reader(path)
    names = {a["id"] for _, a in page.elements if "id" in a}
    for link in page.all("a"):
        address = link["href"]
        if address.startswith("#"):
            assert address[1:] in names
        else:
            assert (path.parent / unquote(address)).exists(), address
    assert [link["href"] for link in page.all("a") if "-s1039" in link["href"]] == [
        f"../runs/tiny/phantom-rfnet-passion-mr2468-s1039/tests/{TEST}/"
    ]


def text_without_figures(grid, out):
    collected = collect([grid])
    sections = contents(collected)
    drawn = {section.title: [] for section in sections}
    texts = {table.name: html(table) for section in sections for table in section.tables}
    return page_module.page(collected, sections, texts, drawn, out, ["png"])


def test_a_second_page_has_the_same_bytes(grid, path):
    first, second = (text_without_figures(grid, path.parent) for _ in range(2))
    assert first == second


def test_the_page_of_45_runs_stays_small(tmp_path):
    with tarfile.open(HEADLINE) as archive:
        archive.extractall(tmp_path / "runs" / "headline", filter="data")
    text = text_without_figures(tmp_path / "runs" / "headline", tmp_path)
    assert "45 runs: 45 done" in text
    assert len(text.encode()) < 800_000  # 30 figures take 2 MB


def test_what_is_too_much_is_left_out_and_named(grid, monkeypatch):
    monkeypatch.setattr(browser_module, "SLICES_LIMIT", 100)
    without_slices = browser(contents(collect([grid])))
    assert without_slices.left_out == (
        "To keep this page small, it is without the slices of phantom, mr2468.",
    )
    assert [study.slices for study in without_slices.studies] == ["", ""]
    monkeypatch.setattr(browser_module, "SCORES_LIMIT", 100)
    nothing = browser(contents(collect([grid])))
    assert nothing.studies == ()
    assert "the browser is without phantom-heart, mr357; phantom, mr2468" in nothing.left_out[0]
    monkeypatch.setattr(browser_module, "CASES_LIMIT", 2)
    table = browser(contents(collect([grid]))).tables[1]
    assert table.cases == 3
    assert [case for case, _ in table.rows] == ["case 10", ODD]


def test_figures_beyond_the_limit_stay_beside_the_page(grid, path, monkeypatch):
    monkeypatch.setattr(page_module, "FIGURES_LIMIT", 5500)
    monkeypatch.setattr("benchmark.report.write.save", lambda _figure, stem, _formats: [copied(path, stem)])
    monkeypatch.setattr("benchmark.report.write.screen", lambda _figure: None)
    monkeypatch.setattr("benchmark.report.write.picture_uri", lambda _picture: "data:,".ljust(1000))
    write_report([grid], path.with_name("small"))
    text = (path.with_name("small") / "report.html").read_text()
    assert text.count("<img ") == 5
    assert 5 + text.count("Not in this page, to keep it small") == len(Reader(path).all("img"))


def copied(path, stem):
    stem.with_suffix(".png").write_bytes((path.parent / "figures" / f"{stem.name}.png").read_bytes())
    return stem


def test_runs_of_classes_and_names_in_order():
    assert runs_of(np.array([[0, 0, 1], [1, 3, 0]], dtype=np.uint8)) == "a2b2d1a1"
    assert natural(["case 10", "case 2", "b", "2"]) == ["2", "b", "case 2", "case 10"]


def unpacked(text):
    """What the page's script unpacks."""
    return json.loads(zlib.decompress(base64.b64decode(text)))


@needs_chromium
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_renders_at_every_width_and_in_the_dark(chromium, path, width, dark):
    page = explored(chromium, path, width=width, dark=dark)
    assert page.complaints() == []
    assert page.requests() == [path.as_uri()]
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    assert page.run("[...document.images].every((i) => i.complete && i.naturalWidth > 100)")
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
    assert page.run(PALE) == []
    # No caption and no text is wider than what can be seen of its table.
    assert page.run(
        "[...document.querySelectorAll('caption > span, figcaption, h2, h3, p')].every("
        "(e) => e.getBoundingClientRect().width <= document.body.clientWidth)"
    )


PALE = """
(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    const [r, g, b] = numbers(colour).map((v) => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if ((numbers(colour)[3] ?? 1) > .99) return colour;
    }
  };
  document.querySelectorAll('details').forEach((d) => { d.open = true; });
  return [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility()
    && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())).map((e) => {
      const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
      return [e.tagName, (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
    }).filter(([, contrast]) => contrast < 4.5);
})()
"""
"""Every text whose contrast is below WCAG's level AA."""

METHODS = """
[...document.querySelectorAll('#phantom-mr2468-dice tbody')].map(
  (body) => [...body.rows].filter((r) => r.checkVisibility()).map((r) => r.dataset.method))
"""


@needs_chromium
@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("width", [1280, 390])
def test_dots_stand_beside_the_names_of_their_modalities(chromium, path, width, script):
    page = chromium.open(path, width=width, script=script)
    tops = "((head) => [...head.querySelectorAll('.dots > span')].map((s) => s.getBoundingClientRect().top))"
    heads = "document.querySelectorAll('#phantom-mr2468-dice thead th')"
    names, first, last = (page.run(f"{tops}({heads}[{i}])") for i in (1, 2, 16))
    assert len(names) == 4
    assert first == last == pytest.approx(names, abs=1)


@needs_chromium
def test_heads_sort_by_mouse_and_keyboard(chromium, path):
    page = chromium.open(path)
    before = page.run(METHODS)
    assert before == [["RFNet baseline", "RFNet + PASSION"]] * 4
    button = "document.querySelector('#phantom-mr2468-dice th[data-column=average] button')"
    assert page.run("document.querySelector('#said').textContent") == ""
    page.run(f"{button}.click()")
    assert page.run(METHODS) == [list(reversed(rows)) for rows in before]
    assert page.run(f"{button}.parentElement.ariaSort") == "descending"
    assert page.run("document.querySelector('#said').textContent") == "average: sorted, descending"
    page.run(f"{button}.focus()")
    assert page.run(f"document.activeElement === {button}")
    page.press("Enter")
    assert page.run(f"{button}.parentElement.ariaSort") == "ascending"
    assert page.run(METHODS) == before
    page.press(" ")
    assert page.run(f"{button}.parentElement.ariaSort") is None
    page.press("Tab")
    assert page.run("document.activeElement.matches(':focus-visible')")
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.complaints() == []


def explored(chromium, path, **how):
    """Open the page and wait until its cases are unpacked."""
    page = chromium.open(path, **how)
    page.run("explored")
    return page


def choose(page, form, name, value):
    page.run(
        f"(() => {{ const s = document.querySelector('{form} [name={name}]');"
        f" s.value = {value!r}; s.dispatchEvent(new Event('change', {{bubbles: true}})); }})()"
    )


def shown(page, selector):
    return page.run(f"[...document.querySelectorAll({selector!r})].filter((e) => e.checkVisibility()).length")


@needs_chromium
def test_filters_leave_what_was_asked_for(chromium, path):
    page = chromium.open(path)
    rows, items = shown(page, ".item tbody tr"), shown(page, ".item")
    choose(page, "#filter", "region", "TC")
    assert page.run(METHODS) == [[], ["RFNet baseline", "RFNet + PASSION"], [], []]
    assert shown(page, "#phantom-heart-mr357-dice") == 0
    choose(page, "#filter", "method", "RFNet baseline")
    assert page.run(METHODS) == [[], ["RFNet baseline"], [], []]
    choose(page, "#filter", "metric", "hd95")
    assert page.run(METHODS) == [[]] * 4
    assert shown(page, ".item[data-metric=dice]") == 0
    assert shown(page, "#phantom-mr2468-hd95 tbody tr") == 1
    assert " tables shown" in page.run("document.querySelector('#filter output').value")
    page.run("document.querySelector('#filter [type=reset]').click()")
    page.run("new Promise((done) => setTimeout(done, 20))")
    assert (shown(page, ".item tbody tr"), shown(page, ".item")) == (rows, items)
    assert page.complaints() == []


@needs_chromium
def test_a_case_can_be_looked_at(chromium, path):
    page = explored(chromium, path)
    names = page.run("[...document.querySelector('#browser [name=case]').options].map((o) => o.textContent)")
    assert names == ["case 2", "case 10 (slices)", f"{ODD} (slices)"]
    choose(page, "#browser", "case", "1")
    choose(page, "#browser", "region", "1")
    # "case 10" is the first: 0.3 + 0.02 s - 0.1, and PASSION's seeds add 0.06 on average.
    rows = "[...document.querySelectorAll('#case-scores tbody tr')]"
    baseline, ours = page.run(f"{rows}.map((r) => [...r.cells].map((c) => c.textContent))")
    assert baseline[:3] == ["RFNet baseline", "20.0", "22.0"]
    assert ours[:3] == ["RFNet + PASSION", "26.0", "28.0"]
    assert baseline[-1] == "34.0"
    choose(page, "#browser", "subset", "3")
    paths = page.run(
        "[...document.querySelectorAll('#slice > svg path:not(.halo)')].map((p) => p.getAttribute('d'))"
    )
    assert paths[-1].startswith("M5 5 ")  # the label's square
    assert paths[0].startswith("M8 5 ")  # subset 3 is three columns off
    assert "the first test case and the run's worst case" in page.run(
        "document.querySelector('#slice figcaption').textContent"
    )
    choose(page, "#browser", "case", "0")
    assert "No slices were kept of this case" in page.run("document.querySelector('#slice').textContent")
    choose(page, "#study", "study", "0")
    page.run("explored")
    assert shown(page, "#case-scores thead th") == 1 + 7 + 1
    assert "No slices of this study" in page.run("document.querySelector('#slice').textContent")
    assert page.complaints() == []


@needs_chromium
def test_outlines_go_round_every_part_and_hole(chromium, path):
    page = chromium.open(path)
    assert page.run("outline([0, 0, 0, 0, 1, 0, 0, 0, 0], 3)") == "M1 1 2 1 2 2 1 2 Z"
    ring = [1, 1, 1, 1, 0, 1, 1, 1, 1]
    assert page.run(f"outline({ring}, 3)").count("Z") == 2
    diagonal = page.run("outline([1, 0, 0, 1], 2)")
    assert len(re.findall(r"\d+ \d+ ", diagonal)) == 8
    assert page.run("unpack('a2b2d1a1', 6).join('')") == "001130"


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_without_javascript_everything_can_be_read(chromium, path, width):
    page = chromium.open(path, width=width, script=False)
    assert shown(page, "form") == 0
    assert shown(page, "th button") == 0
    assert shown(page, ".item table") == sum("data-kind" in table for table in Reader(path).all("table"))
    assert page.run("[...document.images].every((i) => i.checkVisibility())")
    assert shown(page, "details summary") == 2 + 3 + 1
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert shown(page, ".later tbody tr") == 3 + 2
    assert page.run("document.documentElement.scrollWidth <= innerWidth")


@needs_chromium
def test_what_a_large_page_has_is_built_when_it_is_opened(chromium, grid, path, monkeypatch):
    monkeypatch.setattr(page_module, "CELLS_LIMIT", 100)
    monkeypatch.setattr(page_module, "RUNS_LIMIT", 1)
    large = path.with_name("large.html")
    large.write_text(text_without_figures(grid, path.parent))
    page = explored(chromium, large)
    names = page.run("[...document.querySelectorAll('.later summary')].map((s) => s.textContent)")
    assert names == [
        *("8 tables and 0 figures of phantom-heart, mr357", "8 tables and 0 figures of phantom, mr2468"),
        *("All cases of phantom-heart, mr357", "All cases of phantom, mr2468", "Conditions of 4 runs"),
    ]
    assert shown(page, "#phantom-mr2468-dice") == 0
    choose(page, "#filter", "region", "TC")
    assert page.run("document.querySelector('#filter output').value").endswith(", sections not opened: 2")
    page.run("document.querySelectorAll('.later summary')[1].focus()")
    page.press("Enter")
    page.run("new Promise((done) => setTimeout(done, 100))")
    assert page.run(METHODS) == [[], ["RFNet baseline", "RFNet + PASSION"], [], []]
    assert page.run("document.querySelector('#filter output').value").endswith(", sections not opened: 1")
    button = "document.querySelector('#phantom-mr2468-dice th[data-column=average] button')"
    page.run(f"{button}.click()")
    assert page.run(METHODS) == [[], ["RFNet + PASSION", "RFNet baseline"], [], []]
    assert page.complaints() == []
    plain = chromium.open(large, script=False)
    plain.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert shown(plain, "table[data-kind]") == sum(
        "data-kind" in table for table in Reader(path).all("table")
    )
    assert shown(plain, "#conditions table.sortable tbody tr") == 4


@pytest.mark.parametrize("cases", [("007", "10", "NA"), ("007", "10", "0010")])
def test_cases_named_by_digits_keep_their_names(tmp_path, cases):
    record_examples(record(tmp_path / "g", "baseline", cases=cases), (cases[0], cases[2]))
    [study] = browser(contents(collect([tmp_path / "g"]))).studies
    named = unpacked(study.scores)["cases"]
    assert sorted(named) == sorted(cases)
    kept = [example["case"] for example in unpacked(study.slices)["examples"]]
    assert kept == [named.index(case) for case in (cases[0], cases[2])]


def test_a_damaged_file_of_slices_is_named(grid, tmp_path):
    folder = record(tmp_path / "g", "baseline")
    (folder.test(TEST).path / FILE).write_bytes(b"nothing")
    with pytest.raises(Exception, match="is damaged"):
        browser(contents(collect([tmp_path / "g"])))
