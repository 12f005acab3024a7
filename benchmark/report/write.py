"""The report of a grid as files: ``write_report(Path("runs/demo"), Path("report/demo"))``.

`report.md` with everything in it, `tables/` (Markdown, LaTeX, csv) and `figures/` (png, svg). A second report
of the same runs has the same bytes.
"""

from pathlib import Path

from bench_errors import InputError
from benchmark.record import STATES
from benchmark.report.collect import Collected, Run, Study, collect
from benchmark.report.figures import heat_map, preference_curves, save
from benchmark.report.render import environment, latex, markdown, wide_csv
from benchmark.report.tables import counted, metrics_of, rates, subset_table


def write_report(grid_folder: Path, out: Path) -> list[Path]:
    """Write the report of a grid's run folders into `out` and return the files, `report.md` first.

    Raises `InputError` for a grid without a finished run, runs that cannot be compared (`collect`), and a
    folder that cannot be written.
    """
    collected = collect(grid_folder)
    try:
        for folder in (out / "tables", out / "figures"):
            folder.mkdir(parents=True, exist_ok=True)
        return _write(collected, out)
    except OSError as error:
        raise InputError(
            f"the report cannot be written to {error.filename or out} ({error.strerror}): choose another "
            "folder with --out"
        ) from None


def _write(collected: Collected, out: Path) -> list[Path]:
    studies = collected.studies()
    sections = [_write_study(collected, study, out) for study in studies]
    report = out / "report.md"
    states = [run.state for run in collected.runs]
    text = (
        environment()
        .get_template("report.md.j2")
        .render(
            grid=collected.grid,
            total=counted(len(states), "run"),
            states={s: states.count(s) for s in STATES if s in states},
            unfinished=[run for run in collected.runs if run.state != "done"],
            epochs=epochs,
            sections=[section for section, _ in sections],
            runs=[(run, _minutes(run)) for study in studies for run in study.runs],
            left_out=_left_out(studies),
        )
    )
    report.write_text(text, encoding="utf-8")
    return [report, *(path for _, paths in sections for path in paths)]


def _write_study(collected: Collected, study: Study, out: Path) -> tuple[dict[str, object], list[Path]]:
    written, parts = [], []
    for metric in metrics_of(collected):
        table = subset_table(collected, study, metric)
        for suffix, text in (("md", markdown(table)), ("tex", latex(table)), ("csv", wide_csv(table))):
            path = out / "tables" / f"{table.name}.{suffix}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
        written += save(heat_map(table), out / "figures" / table.name)
        parts.append({"table": table, "text": markdown(table)})
    curves = preference_curves(study)
    if curves:
        written += save(curves, out / "figures" / f"{study.name}-preference")
    section = {
        "study": study,
        "parts": parts,
        "curves": curves is not None,
        "rates": rates(study.runs[0].content),
    }
    return section, written


def epochs(run: Run) -> str:
    """Return ``3/12``: epochs trained of those asked for."""
    return f"{len(run.log)}/{run.content['config']['train'].get('epochs', '?')}"


def _left_out(studies: list[Study]) -> list[str]:
    """What networks could not give their objectives, once for each method."""
    notes = [(run.method, run.environment.get("left_out")) for study in studies for run in study.runs]
    return list(dict.fromkeys(f"{method}: {note}." for method, note in notes if note))


def _minutes(run: Run) -> str:
    return f"{sum(line['timing']['seconds'] for line in run.log) / 60:.1f}"
