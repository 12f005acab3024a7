"""The report of one or several grids as files: ``write_report([Path("runs/demo")], Path("report/demo"))``.

`report.md` with everything in it, the answer first, `report.html` the same as a page that sorts and filters,
`tables/` (Markdown, LaTeX, csv, HTML) and `figures/` (png, svg, pdf). A second report of the same runs has
the same bytes.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from bench_errors import InputError
from bench_registry import unknown
from benchmark.report.data.collect import Collected, Wanted, collect
from benchmark.report.data.runs import Run
from benchmark.report.figures.pictures import Picture, pictures
from benchmark.report.figures.style import FORMATS, save, screen
from benchmark.report.page.packed import picture_uri
from benchmark.report.page.page import page
from benchmark.report.tables.captions import counted
from benchmark.report.tables.contents import Answer, Section, contents
from benchmark.report.tables.render import (
    brief,
    differences_csv,
    environment,
    escape_html,
    escape_markdown,
    html,
    latex,
    markdown,
    wide_csv,
)
from benchmark.report.tables.table import Table
from benchmark.run_folder.folder import STATES

MANY = 6
"""Sections from which on starting processes to draw their figures pays."""
BRIEF = 8
"""Sections from which on each has fewer figures, png alone unless other formats are asked for."""


@dataclass(frozen=True)
class Written:
    """A report.

    Attributes:
        files: its files, `report.md` first.
        answers: what it begins with.
        tables: all its tables.
        runs: the finished runs that it is made of, each with one of its tests.
    """

    files: tuple[Path, ...]
    answers: tuple[Answer, ...]
    tables: tuple[Table, ...]
    runs: tuple[Run, ...]


Figures = tuple[list[Picture], list[Path]]
"""The figures of a section and their files."""


def write_report(
    grid_folders: Sequence[Path],
    out: Path,
    split_by: Sequence[str] = (),
    published: bool = False,
    formats: Sequence[str] | None = None,
    wanted: Wanted | None = None,
    margin: float | None = None,
) -> Written:
    """Write the report of the grids' run folders into `out`.

    With `published`, what others reported stands under our rows; `collect` explains `split_by`; `formats` are
    those of the figures, png always among them as `report.md` shows it: by default all, and png alone from
    `BRIEF` sections on; `wanted` are the runs to take, see `collect`; within `margin` (in the unit of the
    tables) two methods are called equivalent. Raises `InputError` for an unknown format,
    a margin that is not positive, a grid without a finished run, runs that cannot be compared (`collect`),
    and a folder that cannot be written.
    """
    for name in formats or ():
        if name not in FORMATS:
            raise InputError(f"--formats: {unknown('format', name, list(FORMATS))}")
    if margin is not None and margin <= 0:
        raise InputError(f"--margin: expected a difference above 0, found {margin:g}")
    collected = collect(grid_folders, split_by, wanted)
    sections = contents(collected, published, margin)
    if published and not any(row.citation for s in sections for t in s.tables for row in t.rows):
        print(
            "--published adds nothing: what others reported is of other datasets or profiles, most of it of "
            "complete training data",
            file=sys.stderr,
        )
    if formats is None:
        formats = FORMATS if len(sections) < BRIEF else ()
    formats = [name for name in FORMATS if name in ("png", *formats)]
    try:
        for folder in (out / "tables", out / "figures"):
            folder.mkdir(parents=True, exist_ok=True)
        return Written(
            tuple(_write(collected, sections, out, formats)),
            sections[0].answers,
            tuple(table for section in sections for table in section.tables),
            tuple(run for study in collected.studies() for run in study.every_run),
        )
    except OSError as error:
        raise InputError(
            f"the report cannot be written to {error.filename or out} ({error.strerror}): choose another "
            "folder with --out"
        ) from None


def _write(
    collected: Collected, sections: Sequence[Section], out: Path, formats: Sequence[str]
) -> list[Path]:
    written: list[Path] = []
    texts: dict[str, str] = {}
    tables: dict[str, str] = {}
    drawn: dict[str, list[Picture]] = {}
    # Runs remember what they read: not while a thread sends them to the processes that draw.
    runs = [(run, run.minutes) for study in collected.studies() for run in study.every_run]
    with _drawing(sections, out / "figures", formats) as results:
        for section, (own, paths) in zip(sections, results, strict=True):
            for table in section.tables:
                files = table_files(table)
                texts[table.name] = brief(files[f"{table.name}.md"], table, escape_markdown)
                tables[table.name] = brief(files[f"{table.name}.html"], table, escape_html)
                written += [_write_text(out / "tables" / name, text) for name, text in files.items()]
            drawn[section.title] = own
            written += paths
    states = [run.state for run in collected.runs]
    text = (
        environment()
        .get_template("report.md.j2")
        .render(
            grids=collected.grids,
            total=counted(len(states), "run"),
            states={s: states.count(s) for s in STATES if s in states},
            unfinished=[run for run in collected.runs if run.state != "done"],
            repeated=collected.repeated,
            others=collected.others,
            old=[run for run in collected.runs if run.is_old],
            sections=[(section, drawn[section.title]) for section in sections],
            texts=texts,
            formats=formats,
            runs=runs,
            left_out=left_out(collected),
        )
    )
    report = _write_text(out / "report.md", text)
    return [
        report,
        _write_text(out / "report.html", page(collected, sections, tables, drawn, out, formats)),
        *written,
    ]


@contextmanager
def _drawing(
    sections: Sequence[Section], folder: Path, formats: Sequence[str]
) -> Iterator[Iterable[Figures]]:
    """Draw the figures of each section; of many sections in as many processes as there are processors."""
    draw = partial(_draw, folder=folder, formats=formats, brief=len(sections) >= BRIEF)
    if len(sections) < MANY:
        yield map(draw, sections)
        return
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ProcessPoolExecutor(min(processors, len(sections)), mp_context=get_context("spawn")) as pool:
        yield pool.map(draw, sections)


def _draw(section: Section, folder: Path, formats: Sequence[str], brief: bool) -> Figures:
    shown, paths = [], []
    for picture, figure in pictures(section, brief):
        paths += save(figure, folder / picture.name, formats)
        shown.append(replace(picture, uri=picture_uri(screen(figure))))
    return shown, paths


def table_files(table: Table) -> dict[str, str]:
    """Return the files of one table: itself in each format, and its differences where it has some."""
    files = {
        f"{table.name}.md": markdown(table),
        f"{table.name}.tex": latex(table),
        f"{table.name}.csv": wide_csv(table),
        f"{table.name}.html": html(table),
    }
    if table.differences:
        files[f"{table.name}-differences.csv"] = differences_csv(table)
    return files


def _write_text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def left_out(collected: Collected) -> list[str]:
    """What networks could not give their objectives, once for each method."""
    notes = [(run.method, run.model.get("left_out")) for run in collected.runs if run.method]
    return list(dict.fromkeys(f"{method}: {note}." for method, note in notes if note))
