"""The page on versions, the changelog, and the files that name the version agree."""

import re
import tomllib

import yaml
from docs_page import DOCS

from benchmark.config.run_config import RunConfig

ROOT = DOCS.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_changelog_begins_with_this_version():
    log = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (?:unreleased|\d{4}-\d\d-\d\d)$", log, re.MULTILINE)
    assert versions[0] == VERSION
    assert versions == sorted(
        versions, key=lambda text: [int(part) for part in text.split(".")], reverse=True
    )
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION


def test_the_last_edition_is_that_of_the_code():
    """Where the hash is another, the page needs a row, and the version a new B."""
    row = r"^\| \d+ \| (\d+\.\d+) \| (?:`(\w+)`|not kept) \|"
    rows = re.findall(row, (DOCS / "versions.md").read_text(), re.MULTILINE)
    assert rows[-1] == (VERSION.rpartition(".")[0], RunConfig().hash)
