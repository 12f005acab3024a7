"""Model folders to and from others, by a folder or the Hugging Face hub.

    push(Path("model"), "hf:me/rfnet-phantom", private=True)
    pull("hf:me/rfnet-phantom", Path("model"), revision="main")

The hub's own variables hold: HF_TOKEN (or `hf auth login`), HF_ENDPOINT. Only the files of a model folder are
sent and taken, and what was taken is checked to be whole; it names code of ours and never brings its own.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_errors import InputError
from benchmark.run_folder.model_folder import MODEL_CONFIG, MODEL_FILES, read_model

HUB = "hf:"
"""Begins the name of a repository of the hub: ``hf:OWNER/NAME``."""


def push(model: Path, target: str, private: bool = False) -> str:
    """Send a model folder to a repository of the hub, or copy it to another folder; return its address.

    Args:
        model: as `bench weights export` wrote it.
        target: ``hf:OWNER/NAME``, made if it is not there, or a folder.
        private: whether a new repository is for its owner alone.

    Raises `InputError` where the folder is no whole model folder, or the target cannot be written.
    """
    if not (model / MODEL_CONFIG).is_file():
        raise InputError(f"{model} is no model folder: make one with bench weights export RUN --out {model}")
    for name in MODEL_FILES:
        if (model / name).is_symlink():
            raise InputError(f"{model / name} is a link, expected a file: put the file itself there")
    read_model(model)
    if not target.startswith(HUB):
        _copy(model, Path(target))
        return target
    name = target.removeprefix(HUB)

    def send(hub: Any) -> str:
        api = hub.HfApi()
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name,
            folder_path=model,
            allow_patterns=list(MODEL_FILES),
            delete_patterns=list(MODEL_FILES),  # of an earlier model, say what that has learnt from
            commit_message="Model folder of passion-bench",
        )
        return str(address)

    return _with_hub(target, send)


def pull(source: str, out: Path, revision: str | None = None) -> None:
    """Take a model folder from a repository of the hub, or from a folder, and check that it is whole.

    Args:
        source: ``hf:OWNER/NAME`` or a folder.
        out: the folder to write.
        revision: a branch, tag or commit of the repository; None: its newest.

    Raises `InputError` where there is none, or it is damaged; then nothing is written.
    """
    with tempfile.TemporaryDirectory() as place:
        if source.startswith(HUB):
            taken = Path(place) / "hub"
            arguments = {"repo_id": source.removeprefix(HUB), "revision": revision, "local_dir": taken}
            _with_hub(
                source, lambda hub: hub.snapshot_download(**arguments, allow_patterns=list(MODEL_FILES))
            )
        elif revision:
            raise InputError(f"--revision is of a repository of the hub, {source} is a folder: leave it out")
        else:
            taken = Path(source)
        read_model(taken, source)
        _copy(taken, out)


def _copy(model: Path, out: Path) -> None:
    """Copy the files of a model folder; one that is not there goes there too."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in MODEL_FILES:
            (out / name).unlink(missing_ok=True)
            if (model / name).exists():
                shutil.copyfile(model / name, out / name)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): choose another folder") from None


def _with_hub(name: str, work: Callable[[Any], Any]) -> Any:
    """Let `work` use the hub's library; whatever goes wrong there is an `InputError` in one line."""
    try:
        import huggingface_hub as hub
    except ModuleNotFoundError:
        raise InputError(
            f"{name} needs the package huggingface_hub: pip install 'passion-bench[hub]'"
        ) from None
    try:
        return work(hub)
    except Exception as error:  # of the network, of the hub's own kinds, of a name it refuses
        text = " ".join(str(error).split())[:300]
        raise InputError(
            f"{name}: the hub refused or cannot be reached ({text or type(error).__name__}): "
            "check the name, and log in with hf auth login"
        ) from None
