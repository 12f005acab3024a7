"""The site: it has every page and says what every option does; built, it is read from files alone."""

import subprocess
import sys
import time

import pytest
import yaml
from chromium import PROGRAM, Chromium
from docs_page import DOCS

ROOT = DOCS.parent
WEBSITE = ROOT / "website"


@pytest.fixture(scope="module")
def reference():
    """The pages that are made from the code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(WEBSITE))
        from reference import PAGES
    return PAGES


def named(nav):
    if isinstance(nav, str):
        return [nav]
    return [path for entry in (nav.values() if isinstance(nav, dict) else nav) for path in named(entry)]


def test_the_navigation_has_every_page_and_no_other(reference):
    found = named(yaml.safe_load((WEBSITE / "mkdocs.yml").read_text())["nav"])
    pages = {
        path.relative_to(ROOT).as_posix()
        for pattern in (
            "*.md",
            "docs/*.md",
            "backbones/*.md",
            "results/*/README.md",
            "results/demo/report.md",
        )
        for path in ROOT.glob(pattern)
    }
    notebooks = {f"docs/{path.name}.md" for path in DOCS.glob("*.ipynb")}
    wanted = pages | notebooks | set(reference)
    assert wanted - set(found) == set(), "name them in website/mkdocs.yml"
    assert sorted(found) == sorted(wanted)


@pytest.mark.parametrize("page", ["options", "backbones", "objectives"])
def test_every_option_is_explained(reference, page):
    rows = [line for line in reference[f"reference/{page}.md"]().splitlines() if line.startswith("| `")]
    assert len(rows) > 5
    assert [row for row in rows if row.endswith("|  |")] == []


def test_every_command_is_described(reference):
    page = reference["reference/commands.md"]()
    for command in ("bench run", "bench data prepare", "bench tune report"):
        assert f"`{command}`" in page
    assert "* `--grid " in page


@pytest.mark.long
def test_it_is_built_without_a_complaint_and_searched_without_a_server(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
    command += ["--config-file", WEBSITE / "mkdocs.yml", "--site-dir", tmp_path]
    subprocess.run(command, check=True)
    assert (tmp_path / "results" / "demo" / "figures" / "phantom-mr2468-dice.png").exists()
    if PROGRAM is None:
        pytest.skip("no Chromium to read it with")
    with Chromium() as browser:
        page = browser.open(tmp_path / "docs" / "run-a-grid.html", width=390)
        page.run(
            "(field => { field.focus(); field.value = 'temperature';"
            " field.dispatchEvent(new Event('input', {bubbles: true}));"
            " field.dispatchEvent(new Event('keyup', {bubbles: true})) })"
            "(document.querySelector('.md-search__input'))"
        )
        fits = "document.documentElement.scrollWidth <= innerWidth"
        found, deadline = 0, time.monotonic() + 60
        # The field may reach beyond the window while it slides in.
        while not (found and page.run(fits)) and time.monotonic() < deadline:
            found = page.run("document.querySelectorAll('.md-search-result__item').length")
            time.sleep(0.1)
        assert found >= 2
        assert page.complaints() == []
        assert page.run(fits)
        asked = {
            e["params"]["request"]["url"]
            for e in browser.events
            if e["method"] == "Network.requestWillBeSent"
        }
        assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
