"""A report in W&B: ``track_report(written, Path("report/demo"))``, a run of its grid's group with all tables.

It uses the scores of every run that it is made of and logs the report's files as an artifact, so that W&B's
lineage leads from the data over the runs to the tables. A report that is made again goes on with its run.
"""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.report.data.effects import mean
from benchmark.report.tables.render import wide_csv
from benchmark.report.tables.table import Table
from benchmark.report.write import Written
from benchmark.run_folder.folder import RunFolder
from benchmark.tracking import server
from benchmark.tracking.artifacts import scores_artifact, use
from benchmark.tracking.sync import LIMITS
from benchmark.tracking.tracker import in_one_line

KIND = "report"
"""Job type of the run and type of its artifact."""


def track_report(written: Written, out: Path) -> str:
    """Log a report to W&B and say in one line where it is; raises nothing, whatever goes wrong.

    Args:
        written: the report.
        out: its folder, which receives what is tracked offline.
    """
    disabled = "W&B: WANDB_MODE is disabled, so the report is not tracked"
    if os.environ.get("WANDB_MODE") == "disabled":
        return disabled
    try:
        settings = server.settings_for(out / "wandb", LIMITS)
        if settings.mode == "disabled":
            return disabled
        chosen = settings.mode in ("offline", "dryrun")
        reason = f"WANDB_MODE is {settings.mode}" if chosen else server.why_offline(settings)
        run = _logged(written, out, "offline" if reason else "online")
    except Exception as error:
        return f"W&B: the report is not tracked ({in_one_line(error)})"
    if reason:
        return f"W&B: {reason}; upload the report later with: wandb sync {out}/wandb/offline-run-*"
    return f"W&B: the report is at {run.url}"


def _logged(written: Written, out: Path, mode: str) -> Any:
    """The finished W&B run of a report."""
    grids = "+".join(dict.fromkeys(run.grid for run in written.runs))
    name = server.plain(f"{KIND}-{grids}")
    run = server.init(
        mode,
        out,
        id=name[: server.LENGTH],
        group=grids,
        job_type=KIND,
        name=name,
        notes=_notes(written),
        config={"grids": grids, "runs": len(written.runs)},
    )
    for folder, run_id in {run.path: server.run_id(run.content) for run in written.runs}.items():
        use(run, scores_artifact(RunFolder(folder), run_id))
    run.log({f"tables/{table.name}": _table(table) for table in written.tables})
    run.summary.update(dict(_answers(written)))
    run.log_artifact(_artifact(written, out, name))
    run.finish()
    return run


def _notes(written: Written) -> str:
    """The answers in Markdown, which the page of the run shows."""
    return "\n\n".join(
        "\n".join([f"**{answer.heading}**", "", *(f"- {sentence}" for sentence in answer.sentences)])
        for answer in written.answers
    )


def _table(table: Table) -> Any:
    """A row per method and statistic, as in the csv file."""
    import wandb

    frame = pd.read_csv(io.StringIO(wide_csv(table)))
    values = frame.astype(object).where(frame.notna(), None)
    return wandb.Table(columns=list(values.columns), data=values.to_numpy())


def _answers(written: Written) -> Iterator[tuple[str, float]]:
    """The primary endpoint of each method, and its gain over the baseline with the ends of its interval."""
    for answer in written.answers:
        study = answer.scores.study.name
        for method, trainings in answer.scores.trainings(answer.scores.endpoint).items():
            yield f"{study}/{method}/mean", float(mean(trainings).mean[0])
        for gain in answer.gains:
            named = zip(("gain", "low", "high"), gain.value(), strict=True)
            yield from ((f"{study}/{gain.method}/{what}", value) for what, value in named if value == value)


def _artifact(written: Written, out: Path, name: str) -> Any:
    """The report's files without its figures."""
    import wandb

    artifact = wandb.Artifact(name[:128], type=KIND)
    for file in written.files:
        inside = file.relative_to(out).as_posix()
        if not inside.startswith("figures/"):
            artifact.add_file(str(file), name=inside, policy="immutable")
    return artifact
