"""What `bench weights import` does: a published checkpoint becomes a run folder with weights.

import_weights(Path("rfnet.pth"), "rfnet", Path("runs/imported/rfnet"))
"""

from hashlib import sha256
from pathlib import Path

from backbones.weights import from_released
from bench_errors import InputError
from benchmark.config.run_config import RunConfig
from benchmark.evaluation.metrics import Scoring
from benchmark.run_folder.checkpoint import save_weights, tensors_of
from benchmark.run_folder.folder import RunFolder
from datasets.preparation.likeness import Likeness
from datasets.preparation.prepare_case import VERSION
from datasets.studies.brats import BRATS2020

BRATS = Likeness("LPS", ((1.0, 1.0),) * 3, (900.0, 2000.0))
"""The images of BraTS2020: one orientation, 1 mm, skull-stripped; an adult's brain with its ventricles."""


def import_weights(file: Path, backbone: str, out: Path) -> RunFolder:
    """Translate a released checkpoint (`.pth`, `.pt` or `.safetensors`) and write it as a run folder.

    The folder holds `config.yaml`, whose `imported` names the file and its SHA-256 (how it was trained is not
    known), and `weights.safetensors`. The file is read as data only. Raises `InputError` for a file that is
    no checkpoint, needs code to load, or does not fit `backbone`, and for a folder that holds files already.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): give the checkpoint's file") from None
    weights = from_released(backbone, tensors_of(file, content))
    folder = RunFolder(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} holds files already, and a run replaces none: give a new folder with --out")
    config = RunConfig.model_validate(
        {"dataset": BRATS2020.name, "backbone": {"name": backbone}, "profile": "complete"}
    )
    known = config.model_dump(include={"dataset": True, "backbone": True, "train": {"crop"}, "test": True})
    scoring = Scoring.of(config.test.model_dump())
    digest = sha256(content).hexdigest()
    folder.write_config(
        {
            "hash": digest[:10],
            "name": f"imported-{backbone}",
            "grid": "imported",
            "config": known,
            "dataset": BRATS2020.to_dict(),
            "metrics": scoring.conditions(BRATS2020.spatial_dims),
            "preparation": {"version": VERSION, "box": "released"},
            "images": BRATS.to_dict(),
            "imported": {"file": file.name, "sha256": digest},
        }
    )
    save_weights(folder, weights)
    folder.mark_trained()
    return folder
