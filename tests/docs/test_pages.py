"""All pages: they are in the index, their links lead somewhere, their commands are ones that `bench` has."""

import re
from pathlib import Path

import pytest
import typer
from docs_page import DOCS, commands

from benchmark.commands.app import app

PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]
RESULTS = sorted((DOCS.parent / "results").glob("*/*.md"))
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
INDEX = "README.md"
TESTS = Path(__file__).parent.parent


def name(page):
    return page.relative_to(DOCS.parent).as_posix()


def anchors(page):
    """What the headings of a page are called in a link, as code hosts do it."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", [*PAGES, *RESULTS], ids=name)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_options_are_those_of_the_program(page):
    if "```sh\n" not in page.read_text():
        return
    for arguments in commands(page):
        command = typer.main.get_command(app)
        while arguments and arguments[0] in getattr(command, "commands", {}):
            command, arguments = command.commands[arguments[0]], arguments[1:]
        command.make_context("bench", list(arguments))


def test_the_index_has_every_page():
    linked = set(LINK.findall((DOCS / INDEX).read_text()))
    assert {page.name for page in DOCS.glob("*.md")} - {INDEX} <= linked


@pytest.mark.parametrize("page", [page for page in PAGES[1:] if "```sh\n" in page.read_text()], ids=name)
def test_a_test_runs_the_commands_of_the_page(page):
    tests = [path for path in TESTS.rglob("test_*.py") if f'"{page.name}"' in path.read_text()]
    assert tests, f"no test names {page.name}"
