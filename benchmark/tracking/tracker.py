"""One run's tracking while it trains: `start` and the `Tracker` that it returns; see `benchmark.tracking`."""

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmark.run_folder.folder import RunFolder
from benchmark.run_folder.reasons import Pruned
from benchmark.tracking import server
from benchmark.tracking.uploaded import FOLDER, WEIGHTS, Uploaded, command
from benchmark.tracking.wandb_run import open_run

log = logging.getLogger(__name__)

LIMITS = {"WANDB_INIT_TIMEOUT": 3, "WANDB_FINISH_TIMEOUT": 3, "WANDB_HTTP_TIMEOUT": 2}
"""W&B's own limits in seconds, unless the user has set them: to open a run, to receive what is left at its
end, to answer a query. With `server.PROBE_SECONDS` at the start and one query at the end, that is what a
server can cost a run."""
FAILED, KILLED = 1, 255
"""Exit codes by which W&B tells its states apart."""


class Tracker:
    """Tracks nothing; what `start` returns when tracking is off."""

    def log_epoch(self, line: Mapping[str, Any]) -> None:
        """Log a line of `log.jsonl`, its nested names joined by slashes (`modality/flair/beta`).

        An epoch that W&B has is not logged again: a resumed run repeats what came after its checkpoint.
        """

    def finish(self, exit_code: int = 0) -> None:
        """Log what the run folder holds of results, and close; a code other than 0: the run has failed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, Pruned):
            self.finish()
        else:
            self.finish(KILLED if issubclass(kind, KeyboardInterrupt) else FAILED)


class WandbTracker(Tracker):
    """Tracks to an open W&B run; the first error is warned of and ends the tracking."""

    def __init__(self, run: Any, folder: RunFolder, address: str):
        """Take over a run.

        Args:
            run: W&B's; what it has of earlier starts is not logged again.
            folder: the run folder.
            address: where the run is uploaded to; empty for an offline run.
        """
        self._run = run
        self._folder = folder
        self._address = address
        self._epochs = int(run.summary.get("epoch", -1)) + 1
        if self._epochs > folder.epochs():
            _warn(
                f"the server has {self._epochs} epochs of run {run.id}, more than its folder: they stay as "
                "they are; delete the run there to have it logged anew"
            )

    def log_epoch(self, line: Mapping[str, Any]) -> None:
        """As `Tracker.log_epoch`; curves stand over our own `epoch`, since offline runs lose their step."""
        if self._run is None or line["epoch"] < self._epochs:
            return
        try:
            self._run.log(flat(line))
            self._epochs = line["epoch"] + 1
        except Exception as error:
            self._give_up(error)

    def finish(self, exit_code: int = 0) -> None:
        """As `Tracker.finish`; waits at most W&B's limit for what is not yet uploaded."""
        if self._run is None:
            return
        try:
            # Tables wait for the server, which therefore has to be there; curves are sent by another process.
            there = not self._address or self._server_answers()
            logged = self._log_results() if there else Uploaded()
            self._run.finish(exit_code)
            if not there:
                raise TimeoutError
            if self._address:
                logged.save(self._folder.path)
        except TimeoutError:
            _warn(f"not all is uploaded, do it later with: {command(self._folder.path)}")
        except Exception as error:
            self._give_up(error)

    def _server_answers(self) -> bool:
        settings = self._run.settings
        return server.answers(settings.base_url, settings.x_graphql_timeout_seconds)

    def _log_results(self) -> Uploaded:
        logged = Uploaded.all_of(self._folder, self._address)
        before = Uploaded.of(self._folder.path)
        if logged.results and before.lacks(Uploaded(self._address, results=logged.results)):
            from benchmark.tracking.results import media, summary

            self._run.log(media(self._folder.path))
            self._run.summary.update(summary(self._folder.path))
        if logged.weights:
            self._log_weights()
        return logged

    def _log_weights(self) -> None:
        import wandb

        artifact = wandb.Artifact(f"weights-{self._run.id}", type="model")
        artifact.add_file(str(self._folder.path / WEIGHTS), policy="immutable")  # no second copy
        self._run.log_artifact(artifact)

    def _give_up(self, error: Exception) -> None:
        later = f"; upload the rest later with: {command(self._folder.path)}" if self._address else ""
        _warn(f"tracking ends here, the run goes on{later}", error)
        self._run = None


def start(run_folder: Path, config: Mapping[str, Any]) -> Tracker:
    """Open the W&B run of a run folder; raise nothing, whatever goes wrong.

    Args:
        run_folder: receives W&B's files, in `wandb/`; the environments of its sessions are logged too.
        config: the content of its `config.yaml`.
    """
    if os.environ.get("WANDB_MODE") == "disabled":
        return Tracker()
    try:
        return _start(run_folder, config)
    except Exception as error:
        _warn("this run is not tracked", error)
        return Tracker()


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings, named by their path: ``{"loss/total": 1.0}``."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        leaves |= flat(value, f"{name}/") if isinstance(value, Mapping) else {name: value}
    return leaves


def in_one_line(error: Exception) -> str:
    """Return what an error says, shortened, or its kind where it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _start(run_folder: Path, config: Mapping[str, Any]) -> Tracker:
    settings = server.settings_for(run_folder / FOLDER, LIMITS)
    if settings.mode == "disabled":
        return Tracker()
    chosen = settings.mode in server.OFFLINE
    reason = f"WANDB_MODE is {settings.mode}" if chosen else server.why_offline(settings)
    if not reason:
        try:
            run = open_run(run_folder, config, "online", run_folder)
            return WandbTracker(run, RunFolder(run_folder), server.address(settings))
        except Exception as error:
            import wandb

            wandb.teardown()  # its service still holds the run's id
            reason = in_one_line(error)
    _warn(f"{reason}, so this run is tracked offline; upload it later with: {command(run_folder)}")
    _remove_parts(run_folder)
    run = open_run(run_folder, config, "offline", run_folder)
    return WandbTracker(run, RunFolder(run_folder), "")


def _remove_parts(run_folder: Path) -> None:
    """Remove what earlier offline starts wrote: this one logs all of it again, as W&B cannot add to it."""
    for part in (run_folder / FOLDER).glob("offline-run-*"):
        shutil.rmtree(part, ignore_errors=True)


def _warn(consequence: str, error: Exception | None = None) -> None:
    log.warning("W&B: %s%s", consequence, f" ({in_one_line(error)})" if error else "")
