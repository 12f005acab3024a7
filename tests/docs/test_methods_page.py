"""The page of methods names all that can be run by its name."""

import pytest
from docs_page import DOCS

from backbones import BACKBONES
from passion import OBJECTIVES


@pytest.mark.parametrize("name", [*BACKBONES, *OBJECTIVES])
def test_every_method_stands_on_the_page(name):
    assert f"`{name}`" in (DOCS / "methods.md").read_text()
