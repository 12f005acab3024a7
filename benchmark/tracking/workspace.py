"""A view of a grid or a study in W&B's interface: ``bench sync --grid demo --workspace``.

    print(save_workspace(Path("runs/demo")))

Panels are made of what the runs have logged: the terms of the loss, validation, each modality's terms, scores
and slices of the test, costs; of a study the parallel coordinates of what its trials have tried, and how much
each parameter matters. Any panel can be taken into a report there. W&B's package `wandb-workspaces` knows how
a view is written.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench_errors import InputError
from benchmark.run_folder.folder import RunFolder, run_folders
from benchmark.tracking import server
from benchmark.tracking.results import summary
from benchmark.tracking.sync import LIMITS
from benchmark.tracking.tracker import flat, in_one_line

AGAIN = "call bench sync --grid GRID --workspace again later"
COST = ("timing/seconds", "timing/step", "timing/peak_gib")


def save_workspace(grid_folder: Path) -> str:
    """Save a view of a grid's runs and return its address.

    Raises `InputError` where there are no runs, the package is not installed, or the server does not take it.
    """
    folders = run_folders(grid_folder)
    if not folders:
        raise InputError(f"no runs at {grid_folder}: say with --runs where they are")
    try:
        import wandb_workspaces.workspaces as views
    except ModuleNotFoundError:
        raise InputError(
            "--workspace needs the package wandb-workspaces: pip install 'passion-bench[wandb]'"
        ) from None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        settings = server.settings_for(Path(scratch), LIMITS)
        if reason := server.why_offline(settings):
            raise InputError(f"{reason}: no view can be saved now, {AGAIN}")
        try:
            import wandb

            view = views.Workspace(
                entity=settings.entity or str(wandb.Api().default_entity),
                project=os.environ.get("WANDB_PROJECT", server.PROJECT),
                name=f"Grid {grid_folder.name}",
                sections=list(sections(folders)),
                runset_settings=views.RunsetSettings(filters=[views.Metric("Group") == grid_folder.name]),
            )
            return str(view.save().url)
        except Exception as error:  # of the network, or of what the server does not know
            raise InputError(f"the server did not take the view ({in_one_line(error)}): {AGAIN}") from None


def sections(folders: Sequence[RunFolder]) -> Iterator[Any]:
    """The sections of a view, those alone for which the runs have something."""
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as views

    lines = [line for folder in folders for line in folder.log()[-1:]]
    logged = dict.fromkeys(name for line in lines for name in flat(line))
    results = dict.fromkeys(name for folder in folders for name in summary(folder.path))

    def curves(names: Sequence[str], title: str = "") -> Any:
        return panels.LinePlot(title=title or names[0], x="epoch", y=list(names))

    def bars(names: Sequence[str], title: str) -> Any:
        return panels.BarPlot(title=title, metrics=list(names), max_runs_to_show=len(folders))

    by_term: dict[str, list[str]] = {}
    for name in logged:
        if name.startswith("modality/"):
            by_term.setdefault(name.rpartition("/")[2], []).append(name)
    by_metric: dict[str, list[str]] = {}
    for name in results:
        if "/average/" in name:
            by_metric.setdefault(name.rpartition("/")[2], []).append(name)
    goals = [name for name in results if name.startswith("goal/")]
    tried = dict.fromkeys(key for folder in folders for key in folder.trial().get("params", {}))
    if tried and goals:
        axes: list[Any] = [panels.Config(f"params.{key}") for key in tried]
        axes += [panels.SummaryMetric(goal) for goal in goals]
        columns = [panels.ParallelCoordinatesPlotColumn(metric=axis) for axis in axes]
        both = panels.ParallelCoordinatesPlot(title="What was tried, and what it came to", columns=columns)
        matters = [panels.ParameterImportancePlot(with_respect_to=goal) for goal in goals]
        yield views.Section(name="Study", panels=[both, *matters], is_open=True)
    tests = [bars(names, f"{metric}, mean over the subsets") for metric, names in by_metric.items()]
    if tests:
        slices = panels.MediaBrowser(media_keys=["examples/worst", "examples/median", "examples/best"])
        yield views.Section(name="Scores", panels=[*tests, slices], is_open=True)
    found = {
        "Training": [curves([name]) for name in logged if name.startswith("loss/") or name == "validation"],
        "Modalities": [curves(names, term) for term, names in by_term.items()],
        "Cost": [curves([name]) for name in COST if name in logged],
    }
    for name, plots in found.items():
        if plots:
            yield views.Section(name=name, panels=plots, is_open=name == "Training")
