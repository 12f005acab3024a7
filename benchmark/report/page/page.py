"""The report as one page that needs no network: ``page(collected, sections, drawn, out)``, a `report.html`.

Everything is in the text of the page itself. Without JavaScript all tables and figures are there to be read;
with it, tables sort and filter, and a case can be looked at by itself.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from benchmark.report.data.collect import Collected
from benchmark.report.data.names import options
from benchmark.report.data.runs import Run
from benchmark.report.figures.pictures import Picture
from benchmark.report.page.browser import browser, data_uri
from benchmark.report.tables.captions import counted, rates
from benchmark.report.tables.contents import Section
from benchmark.report.tables.render import environment, number
from benchmark.run_folder.folder import STATES

FIGURES_LIMIT = 12_000_000
"""Bytes of figures that the page takes; the files of the rest stand beside it."""


def page(
    collected: Collected,
    sections: Sequence[Section],
    texts: Mapping[str, str],
    drawn: Mapping[str, Sequence[Picture]],
    out: Path,
    formats: Sequence[str],
) -> str:
    """Return the page.

    Args:
        collected: the runs.
        sections: the tables.
        texts: the tables in HTML, by name.
        drawn: by title of the section, the figures whose files are in `out`.
        out: the report's folder, from which the links to the run folders go.
        formats: those of the figures' files.
    """
    images, beside = _images([p for pictures in drawn.values() for p in pictures], out)
    cases = browser(sections)
    states = [run.state for run in collected.runs]
    tables = [table for section in sections for table in section.tables]
    studies = collected.studies()
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            grids=collected.grids,
            total=counted(len(states), "run"),
            states={s: states.count(s) for s in STATES if s in states},
            sections=[
                {
                    "anchor": f"section-{i}",
                    "section": section,
                    "pictures": drawn[section.title],
                }
                for i, section in enumerate(sections, 1)
            ],
            images=images,
            formats=formats,
            beside=beside,
            regions=list(dict.fromkeys(r.name for study in studies for r in study.description.regions)),
            metrics={table.metric: table.title for table in tables},
            methods=list(
                dict.fromkeys(row.method for table in tables for row in table.rows if not row.source)
            ),
            texts=texts,
            number=number,
            cases=cases,
            unfinished=[(run, _link(run, out)) for run in collected.runs if run.state != "done"],
            repeated=collected.repeated,
            others=collected.others,
            old=[run for run in collected.runs if run.is_old],
            runs=[(run, _link(run, out), _conditions(run)) for study in studies for run in study.every_run],
        )
    )


def _images(pictures: Sequence[Picture], out: Path) -> tuple[dict[str, str], set[str]]:
    """Return the figures as data URIs by name, and the names of those for which there was no room."""
    images: dict[str, str] = {}
    left = FIGURES_LIMIT
    for picture in pictures:
        uri = data_uri("image/png", (out / "figures" / f"{picture.name}.png").read_bytes())
        left -= len(uri)
        if left < 0:
            break
        images[picture.name] = uri
    return images, {picture.name for picture in pictures} - set(images)


def _link(run: Run, out: Path) -> str:
    return quote(os.path.relpath(run.test or run.path, out).replace(os.sep, "/")) + "/"


def _conditions(run: Run) -> dict[str, Any]:
    """What the page says of a run, in the order of reading."""
    data = run.content["data"]
    epochs = run.content["config"]["train"].get("epochs", "?")
    return {
        "epochs": f"{run.trained.epochs}/{epochs}",
        "minutes": f"{run.trained.minutes:.1f}",
        "rates": rates(run.content),
        "availability": data["availability"]["hash"],
        "data": data["hash"],
        "split": data["split"],
        "cases": data["cases"],
        "policy": run.metric_text,
        "options": {
            k: json.dumps(v) if not isinstance(v, str) else v for k, v in options(run.config).items()
        },
        "environment": yaml.safe_dump_all(run.environments, sort_keys=False, allow_unicode=True),
    }
