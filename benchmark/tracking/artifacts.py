"""What W&B's lineage has of a run: its data go in, its scores come out, and a report is made of these.

    use(run, data_artifact(content))                # data-phantom -> run
    run.log_artifact(scores_artifact(folder, id))   # run -> scores-1a2b3c4d5e-demo
    use(report, scores_artifact(folder, id))        # the same content, so W&B knows it -> report

An artifact of data holds no voxel and no name of a case: it says what the data are, by their hashes.
"""

import json
from collections.abc import Mapping
from typing import Any

from benchmark.run_folder.folder import RunFolder
from benchmark.run_folder.tests import SETTINGS
from benchmark.tracking.server import plain


def data_artifact(content: Mapping[str, Any]) -> Any:
    """Return the data of a run as an artifact of the type `dataset`.

    Args:
        content: of the run's `config.yaml`. Runs on the same data have the same version.
    """
    import wandb

    data = content["data"]
    facts = {
        "dataset": content["config"]["dataset"],
        "hash": data["hash"],
        "description": content["config"].get("description", ""),
        "modalities": content["dataset"]["modalities"],
        "split": {"name": data["split"], "hash": content.get("identity", {}).get("split", "")},
        "cases": {part: data["cases"][part] for part in ("train", "val", "test")},
    }
    artifact = wandb.Artifact(plain(f"data-{facts['dataset']}"), type="dataset", metadata=facts)
    with artifact.new_file("data.json") as file:
        file.write(json.dumps(facts, indent=1))
    return artifact


def scores_artifact(folder: RunFolder, run_id: str) -> Any:
    """Return the scores and settings of the finished tests of a run as an artifact of the type `scores`."""
    import wandb

    artifact = wandb.Artifact(plain(f"scores-{run_id}"), type="scores")
    for test in folder.tests():
        if test.done:
            for path in (test.cases, test.path / SETTINGS):
                artifact.add_file(str(path), name=f"{test.path.name}/{path.name}", policy="immutable")
    return artifact


def use(run: Any, artifact: Any) -> None:
    """Say that a W&B run has used an artifact, which the server has already or gets now.

    This is `use_artifact` without what that does beside: it waits for the server without an end, and does
    nothing offline.
    """
    run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
