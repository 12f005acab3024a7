"""The pages of a board: ``build_site(Path("board"), Path("site"))``; they need no network and no server.

`index.html` has each study's table by the first metric, `study-*.html` all of a study, and each entry a page
of its own; `rules.html` has the rules, `tables/` the tables in csv, Markdown and LaTeX. Equal boards give
equal bytes.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import yaml
from jinja2 import ChoiceLoader, Environment, PackageLoader

from bench_errors import InputError
from benchmark.board.entries import RUNS, Entry, entries, slug
from benchmark.board.rules import LEAST, RULES
from benchmark.board.standings import places, standings_table
from benchmark.report.data.collect import Collected, collect
from benchmark.report.data.runs import Study
from benchmark.report.data.scores import Scores, scores_of
from benchmark.report.tables.answer import answer_table, number_table
from benchmark.report.tables.by_subset import subset_table
from benchmark.report.tables.captions import conditions
from benchmark.report.tables.gains import gains
from benchmark.report.tables.ranking import blocks, places_table, ranks_table
from benchmark.report.tables.render import brief, environment, escape_html, html
from benchmark.report.tables.table import Table
from benchmark.report.tables.words import sentences
from benchmark.report.write import table_files
from benchmark.run_folder.folder import run_folders


def build_site(board: Path, out: Path) -> list[Path]:
    """Write the pages of a board into `out` and return their files, `index.html` first.

    Pages and tables of an earlier build that the board has no more are removed. An entry with too few
    trainings, as after a withdrawal, is left out and named on standard error. Raises `InputError` where none
    is left, or `out` cannot be written.
    """
    if not run_folders(board / RUNS):
        raise InputError(f"no training on the board {board}: add some with bench board add ARCHIVE")
    collected = _whole(collect([board / RUNS], ["policy"]))
    scored = {study.name: tuple(scores_of(collected.cases, study).values()) for study in collected.studies()}
    texts = dict(_pages(entries(collected), scored))
    try:
        (out / "tables").mkdir(parents=True, exist_ok=True)
        for old in {*out.glob("*.html"), *out.glob("tables/*")} - {out / name for name in texts}:
            old.unlink()  # of an entry that was withdrawn since, say
        for name, text in texts.items():
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): choose another --out") from None
    return [out / name for name in texts]


def _whole(collected: Collected) -> Collected:
    """The runs of entries that have as many trainings as the rules ask for."""
    short = [entry for entry in entries(collected) if entry.seeds < LEAST]
    for entry in short:
        print(
            f"left out: {entry.title} has trainings of {entry.seeds} seeds, expected {LEAST} or more",
            file=sys.stderr,
        )
    out = {run.folder for entry in short for run in entry.study.of_methods([entry.method]).every_run}
    runs = tuple(run for run in collected.runs if run.folder not in out)
    if not runs:
        raise InputError("no entry is left: add its other trainings with bench board add ARCHIVE")
    return replace(collected, runs=runs)


def _pages(every: Sequence[Entry], scored: Mapping[str, tuple[Scores, ...]]) -> Iterator[tuple[str, str]]:
    """Name and text of each file."""
    firsts = [scores[0] for scores in scored.values()]
    by_study = {name: [entry for entry in every if entry.study.name == name] for name in scored}
    tables = {name: _tables(scores, by_study[name]) for name, scores in scored.items()}
    ranked = blocks(firsts)
    ranks = [ranks_table(ranked)] if ranked else []
    studies = [(scores[0].study, tables[name][0], len(by_study[name])) for name, scores in scored.items()]
    count = len({run.path for entry in every for run in entry.runs})
    yield "index.html", _render("index.html.j2", studies=studies, ranks=ranks, entries=every, trainings=count)
    yield "rules.html", _render("rules.html.j2", rules=RULES)
    yield "style.css", environment().get_template("page.css").render()
    for name, scores in scored.items():
        study = scores[0].study
        yield (
            _study_page(study),
            _render(
                "study.html.j2", study=study, tables_of_study=tables[name], conditions=conditions(scores)
            ),
        )
        placed = places(scores[0])
        for entry in by_study[name]:
            yield entry.page, _entry(entry, placed[entry.method], scores, tables[name])
    for table in (*ranks, *(table for own in tables.values() for table in own)):
        for name, text in table_files(table).items():
            if not name.endswith(".html"):
                yield f"tables/{name}", text


def _tables(scores: Sequence[Scores], own: Sequence[Entry]) -> list[Table]:
    """The tables of a study, the standings by the first metric before all others."""
    first = scores[0]
    recomputed = {entry.method: entry.recomputed for entry in own}
    tables = [standings_table(one.of_methods(one.measured), recomputed) for one in scores if one.measured]
    gained = gains(first)
    tables += [answer_table(first, gained)] if gained else []
    tables += [table] if (table := places_table(scores)) else []
    tables += [number_table(first, gained), *map(subset_table, scores)]
    pages = {entry.method: entry.page for entry in own}
    return [_linked(table, pages) for table in tables]


def _linked(table: Table, pages: Mapping[str, str]) -> Table:
    """The table with a link from each method to its page."""
    return replace(
        table,
        blocks=tuple(
            replace(block, rows=tuple(replace(row, link=pages.get(row.method, "")) for row in block.rows))
            for block in table.blocks
        ),
    )


def _entry(entry: Entry, place: int, scores: Sequence[Scores], tables: Sequence[Table]) -> str:
    """The page of an entry: its rows of the standings, its scores by subset, what is known of its runs."""
    own = [t for t in tables if t.kind == "standings" and entry.method in {row.method for row in t.rows}]
    standing = [_of_method(table, entry.method) for table in own]
    by_subset = [subset_table(s.of_methods([entry.method])) for s in scores if entry.method in s.measured]
    gained = [gain for gain in gains(scores[0]) if gain.method == entry.method]
    config = {key: value for key, value in entry.runs[0].config.items() if key != "seed"}
    return _render(
        "entry.html.j2",
        entry=entry,
        place=place,
        others=len(scores[0].study.methods),
        tables_of_entry=[*standing, *by_subset],
        gains=sentences(gained) if gained else (),
        conditions=conditions(scores),
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
    )


def _of_method(table: Table, method: str) -> Table:
    """The rows of a method alone."""
    return replace(
        table,
        blocks=tuple(
            replace(block, rows=tuple(replace(row, link="") for row in block.rows if row.method == method))
            for block in table.blocks
        ),
    )


def _study_page(study: Study) -> str:
    return f"study-{slug(study.name)}.html"


def _render(template: str, **content: object) -> str:
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> Environment:
    """The report's environment, which finds our templates too."""
    report = environment()
    loader = ChoiceLoader([PackageLoader("benchmark.board"), *([report.loader] if report.loader else [])])
    ours = report.overlay(loader=loader)
    ours.globals |= {"study_page": _study_page, "text_of": _text_of}
    return ours


def _text_of(table: Table) -> str:
    """A table's HTML without its conditions, which the page says once."""
    return brief(html(table), table, escape_html)
