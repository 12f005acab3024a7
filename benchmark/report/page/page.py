"""The report as one page that needs no network: ``page(collected, sections, drawn, out)``, a `report.html`.

Everything is in the text of the page itself. Without JavaScript all tables and figures are there to be read;
with it, tables sort and filter, and a case can be looked at by itself.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from benchmark.report.data.collect import Collected
from benchmark.report.figures.pictures import Picture
from benchmark.report.page.browser import browser
from benchmark.report.page.conditions import conditions, link
from benchmark.report.tables.captions import counted
from benchmark.report.tables.contents import Section
from benchmark.report.tables.render import environment, number
from benchmark.run_folder.folder import STATES

CELLS_LIMIT = 12_000
"""Cells of tables that the page begins with; the sections beyond are built when they are opened."""
RUNS_LIMIT = 200
"""Runs whose conditions the page begins with; of more, they are built when they are opened."""
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
        drawn: by title of the section, the figures; their files are in `out`.
        out: the report's folder, from which the links to the run folders go.
        formats: those of the figures' files.
    """
    tables = [table for section in sections for table in section.tables]
    studies = collected.studies()
    states = [run.state for run in collected.runs]
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            grids=collected.grids,
            total=counted(len(states), "run"),
            states={s: states.count(s) for s in STATES if s in states},
            sections=_parts(sections, drawn),
            formats=formats,
            beside=_beside([p for pictures in drawn.values() for p in pictures]),
            regions=list(dict.fromkeys(r.name for study in studies for r in study.description.regions)),
            metrics={table.metric: table.title for table in tables},
            methods=list(
                dict.fromkeys(row.method for table in tables for row in table.rows if not row.source)
            ),
            texts={name: text.replace(">\n<", "><") for name, text in texts.items()},  # a break is a node
            number=number,
            cases=browser(sections),
            unfinished=[(run, link(run, out)) for run in collected.runs if run.state != "done"],
            repeated=collected.repeated,
            others=collected.others,
            old=[run for run in collected.runs if run.is_old],
            conditions=conditions([run for study in studies for run in study.every_run], out),
            runs_limit=RUNS_LIMIT,
        )
    )


def _parts(sections: Sequence[Section], drawn: Mapping[str, Sequence[Picture]]) -> list[dict[str, Any]]:
    """What the template shows of each section; those beyond `CELLS_LIMIT` are not open."""
    sizes = [sum(len(table.rows) * len(table.columns) for table in section.tables) for section in sections]
    return [
        {
            "anchor": f"section-{i}",
            "section": section,
            "pictures": drawn[section.title],
            "open": size <= CELLS_LIMIT,
            "holds": f"{counted(len(section.tables), 'table')} and "
            f"{counted(len(drawn[section.title]), 'figure')} of {section.title}",
        }
        for i, (section, size) in enumerate(zip(sections, accumulate(sizes), strict=True), 1)
    ]


def _beside(pictures: Sequence[Picture]) -> set[str]:
    """The names of the figures for which there is no room: all from the first that goes beyond the limit."""
    sizes = accumulate(len(picture.uri) for picture in pictures)
    return {picture.name for picture, size in zip(pictures, sizes, strict=True) if size > FIGURES_LIMIT}
