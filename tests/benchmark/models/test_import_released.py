import os

import pytest
import torch
from bench_program import bench
from docs_page import blocks
from released import released_state

import backbones
from backbones import BACKBONES
from bench_errors import InputError
from benchmark.models.import_released import import_weights
from benchmark.run_folder.checkpoint import load_weights


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    file = tmp_path_factory.mktemp("released") / "rfnet.pth"
    state = {f"module.{name}": value for name, value in released_state("rfnet").items()}
    torch.save({"epoch": 300, "state_dict": state}, file)
    return file


def test_imported_weights_fit_the_network(tmp_path, checkpoint):
    folder = import_weights(checkpoint, "rfnet", tmp_path / "run")
    net = backbones.create(
        "rfnet", modalities=4, classes=4, width=folder.config()["config"]["backbone"]["width"]
    )
    net.load_state_dict(load_weights(folder))
    assert folder.config()["imported"]["file"] == "rfnet.pth"


def test_the_page_imports_what_has_published_weights(tmp_path, checkpoint):
    result = bench(*blocks("predict.md", "sh")[1].replace("FILE", str(checkpoint)).split()[1:], cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    published = [name for name in BACKBONES if hasattr(BACKBONES.get(name), "released_names")]
    assert published == ["rfnet", "mmformer", "m2ftrans"]  # as the page says


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda f: torch.save({"state_dict": {}, "optimizer": Evil()}, f), "needs code to load"),
        (lambda f: torch.save([1, 2], f), "expected tensors by name"),
        (lambda f: torch.save({"a": torch.zeros(2)}, f), "left over"),
        (lambda f: f.write_bytes(b""), "no whole checkpoint"),
        (lambda f: f.write_bytes(b"<html>"), r"no whole checkpoint \(UnpicklingError\): download it again"),
        (lambda f: f.write_text("a text"), "download it again|ask its authors"),
        (lambda f: None, "cannot be read"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path, write, says):
    write(tmp_path / "file.pth")
    with pytest.raises(InputError, match=says) as caught:
        import_weights(tmp_path / "file.pth", "rfnet", tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten(tmp_path, checkpoint):
    import_weights(checkpoint, "rfnet", tmp_path / "run")
    with pytest.raises(InputError, match="holds files already"):
        import_weights(checkpoint, "rfnet", tmp_path / "run")
