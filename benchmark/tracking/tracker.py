"""One run's tracking while it trains: `start` and the `Tracker` that it returns; see `benchmark.tracking`."""

import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmark.run_folder.folder import WEIGHTS, RunFolder
from benchmark.run_folder.reasons import Pruned
from benchmark.tracking import server
from benchmark.tracking.uploaded import FOLDER, Uploaded, command

log = logging.getLogger(__name__)

LIMITS = {"WANDB_INIT_TIMEOUT": 3, "WANDB_FINISH_TIMEOUT": 3, "WANDB_HTTP_TIMEOUT": 2}
"""W&B's own limits in seconds, unless the user has set them: to open a run, to receive what is left at its
end, to answer a query. With `server.PROBE_SECONDS` at the start and one query at the end, that is what a
server can cost a run."""
FAILED, KILLED = 1, 255
"""Exit codes by which W&B tells its states apart."""


class Tracker:
    """Tracks to an open W&B run, or nothing; the first error is warned of and ends the tracking."""

    def __init__(self, run: Any = None, folder: RunFolder | None = None, address: str = ""):
        """Take over a run.

        Args:
            run: W&B's; what it has of earlier starts is not logged again. None: nothing is tracked.
            folder: the run folder.
            address: where the run is uploaded to; empty for an offline run.
        """
        self._run = run
        self._folder = folder or RunFolder(Path())
        self._address = address
        self._epochs = int(run.summary.get("epoch", -1)) + 1 if run else 0
        if run and self._epochs > self._folder.epochs():
            _warn(
                f"the server has {self._epochs} epochs of run {run.id}, more than its folder: they stay as "
                "they are; delete the run there to have it logged anew"
            )

    def log_epoch(self, line: Mapping[str, Any]) -> None:
        """Log a line of `log.jsonl`, its nested names joined by slashes (`modality/flair/beta`).

        An epoch that W&B has is not logged again: a resumed run repeats what came after its checkpoint.
        Curves stand over our own `epoch`, since offline runs lose their step.
        """
        if self._run is None or line["epoch"] < self._epochs:
            return
        try:
            self._run.log(flat(line))
            self._epochs = line["epoch"] + 1
        except Exception as error:
            self._give_up(error)

    def finish(self, exit_code: int = 0) -> None:
        """Log what the run folder holds of results, and close; a code other than 0: the run has failed.

        Waits at most W&B's limit for what is not yet uploaded.
        """
        if self._run is None:
            return
        try:
            settings = self._run.settings if self._address else None
            # Tables wait for the server, which therefore has to be there; curves are sent by another process.
            there = not settings or server.answers(settings.base_url, settings.x_graphql_timeout_seconds)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, Pruned):
            self.finish()
        else:
            self.finish(KILLED if issubclass(kind, KeyboardInterrupt) else FAILED)

    def _log_results(self) -> Uploaded:
        logged = Uploaded.all_of(self._folder, self._address)
        before = Uploaded.of(self._folder.path)
        if logged.results and before.lacks(Uploaded(self._address, results=logged.results)):
            from benchmark.tracking.artifacts import data_artifact, scores_artifact, use
            from benchmark.tracking.results import media, summary

            self._run.log(media(self._folder.path))
            self._run.summary.update(summary(self._folder.path))
            use(self._run, data_artifact(self._folder.config()))
            if self._folder.tests():
                self._run.log_artifact(scores_artifact(self._folder, self._run.id))
        if logged.weights:
            import wandb

            artifact = wandb.Artifact(f"weights-{self._run.id}", type="model")
            artifact.add_file(str(self._folder.path / WEIGHTS), policy="immutable")  # no second copy
            self._run.log_artifact(artifact)
        return logged

    def _give_up(self, error: Exception) -> None:
        later = f"; upload the rest later with: {command(self._folder.path)}" if self._address else ""
        _warn(f"tracking ends here, the run goes on{later} ({in_one_line(error)})")
        with suppress(OSError):  # of a full disk, say
            Uploaded.note(self._folder.path, in_one_line(error))
        self._run = None


def start(run_folder: Path, config: Mapping[str, Any]) -> Tracker:
    """Open the W&B run of a run folder, offline where it must be; raise nothing, whatever goes wrong.

    Args:
        run_folder: receives W&B's files, in `wandb/`; the environments of its sessions are logged too.
        config: the content of its `config.yaml`.
    """
    if os.environ.get("WANDB_MODE") == "disabled":
        return Tracker()
    folder, reason = RunFolder(run_folder), ""
    try:
        try:
            settings = server.settings_for(run_folder / FOLDER, LIMITS)
            if settings.mode == "disabled":
                return Tracker()
            chosen = settings.mode in ("offline", "dryrun")
            reason = f"WANDB_MODE is {settings.mode}" if chosen else server.why_offline(settings)
            if not reason:
                run = server.open_run(run_folder, config, "online", run_folder)
                return Tracker(run, folder, server.address(settings))
        except Exception as error:
            reason = in_one_line(error)
            server.forget_settings()
        _warn(f"{reason}, so this run is tracked offline; upload it later with: {command(run_folder)}")
        Uploaded.note(run_folder, reason)
        # What earlier offline starts wrote: this one logs all of it again, as W&B cannot add to it.
        for part in (run_folder / FOLDER).glob("offline-run-*"):
            shutil.rmtree(part, ignore_errors=True)
        return Tracker(server.open_run(run_folder, config, "offline", run_folder), folder)
    except Exception as error:
        _warn(f"this run is not tracked ({in_one_line(error)})")
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
    text = " ".join(str(error).split()).partition(" For further information")[0]  # pydantic's, a link
    return text[:200] or type(error).__name__


def _warn(text: str) -> None:
    log.warning("W&B: %s", text)
