"""What is on the site: the pages that mkdocs.yml names, as they lie in the repository, and what they link to.

The site is laid out as the repository is, so the links of pages hold on both. Pages under `reference` are
made from the code. A file that is no page (code, YAML, a folder) becomes one if a page links to it.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from reference import PAGES

ROOT = Path(__file__).resolve().parents[1]

SHOWN = {".py": "python", ".yaml": "yaml", ".cff": "yaml", ".txt": "text", ".ipynb": "python"}
"""Files that become pages, and the language of each."""
CODE = r"^(?P<fence>`{3,}).*?^(?P=fence)$|`[^`\n]+`"
LINK = r"\[(?P<text>[^\]]*)\]\((?P<link>[^)\s#]+)(?P<rest>[^)]*)\)"
PARTS = re.compile(rf"(?P<code>{CODE})|{LINK}", re.DOTALL | re.MULTILINE)
"""Of Markdown: code and links."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the navigation and what they link to."""
    waiting = [path if _is_known(path) else path.removesuffix(".md") for path in _named(config.nav)]
    while waiting:
        path = waiting.pop()
        file = _file(path, config)
        if files.get_file_from_path(file.src_uri) is None:
            files.append(file)
            if file.is_documentation_page():
                waiting += _linked(file.src_uri, file.content_string)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to what has become a page into links to that; let search find the navigation's pages."""
    uri = page.file.src_uri
    if uri not in set(_named(config.nav)):
        page.meta["search"] = {"exclude": True}

    def on_site(part: re.Match[str]) -> str:
        if part["code"]:  # a second word after a block's language is for our tests
            return re.sub(r"\A(`+\w+) \w+$", r"\1", part[0], flags=re.MULTILINE)
        path = _target(uri, part["link"])
        if not path:
            return part[0]
        link = part["link"].rstrip("/") + _page_of(path).removeprefix(path)
        return f"[{part['text']}]({link}{part['rest']})"

    return PARTS.sub(on_site, markdown)


def _named(nav: Any) -> Iterator[str]:
    """The paths in a navigation."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from _named(entry)


def _linked(page: str, markdown: str) -> Iterator[str]:
    """The paths in the repository that a page links to."""
    for part in PARTS.finditer(markdown):
        if not part["code"] and (path := _target(page, part["link"])):
            yield path


def _target(page: str, link: str) -> str:
    """The path in the repository that a page's link leads to; empty where it leads elsewhere or nowhere."""
    path = normpath(join(dirname(page), link))
    return path if "://" not in link and _is_known(path) else ""


def _is_known(path: str) -> bool:
    return path in PAGES or (ROOT / path).exists()


def _page_of(path: str) -> str:
    """The page that a path of the repository becomes; itself where it is one, or is shown as it is."""
    if (ROOT / path).is_dir():
        return f"{path}/index.md"
    return f"{path}.md" if Path(path).suffix in SHOWN else path


def _file(path: str, config: MkDocsConfig) -> File:
    source, uri = ROOT / path, _page_of(path)
    if path in PAGES:
        return File.generated(config, uri, content=PAGES[path]())
    if uri == path:
        return File.generated(config, uri, abs_src_path=str(source))
    if source.is_dir():
        names = sorted(entry.name for entry in source.iterdir() if entry.is_file())
        listed = "".join(f"- [`{name}`]({name})\n" for name in names)
        return File.generated(config, uri, content=f"# {path}\n\nA folder of the repository:\n\n{listed}")
    text = source.read_text()
    if source.suffix == ".ipynb":
        return File.generated(config, uri, content=_notebook(text))
    return File.generated(config, uri, content=f"# {path}\n\n{_fenced(SHOWN[source.suffix], text)}")


def _notebook(text: str) -> str:
    """The Markdown of a notebook: its cells, and of what they made the text or the picture."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        parts.append(_fenced("python", source) if cell["cell_type"] == "code" else source)
        for output in cell.get("outputs", ()):
            data = output["data"]
            if picture := data.get("image/png"):
                parts.append(f'<img alt="the figure" src="data:image/png;base64,{picture.strip()}">')
            else:
                parts.append(_fenced("text", "".join(data["text/plain"])))
    return "\n\n".join(parts)


def _fenced(language: str, text: str) -> str:
    return f"````{language}\n{text.rstrip()}\n````"
