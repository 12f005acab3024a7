"""Triton's kernels without a GPU: by its interpreter, in processes of their own, and compiled for GPUs."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed: pip install -e '.[kernels]'"
)


def output_of(*command: str, folder: Path) -> str:
    """What a Python process prints, whose cache of compiled kernels is `folder`; fails where it does."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent), "TRITON_CACHE_DIR": str(folder)}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
@needs_triton
@pytest.mark.parametrize("file", sorted(TESTS.glob("*/interpreted/*.py")), ids=lambda file: file.stem)
def test_kernels_in_tritons_interpreter(file: Path, tmp_path: Path) -> None:
    assert "passed" in output_of("-m", "pytest", "-q", "-p", "no:cacheprovider", str(file), folder=tmp_path)


@pytest.mark.long
@needs_triton
@pytest.mark.parametrize("package", ["backbones", "passion"])
def test_kernels_compile_for_gpus_and_fp32_rounds_no_factor(package: str, tmp_path: Path) -> None:
    lines = output_of(str(TESTS / "compiled_kernels.py"), package, folder=tmp_path).splitlines()
    products = {line.split()[0] for line in lines if "fp32" in line}
    for name, dtype, precision, tensor_cores in map(str.split, lines):
        rounds = name in products and (dtype, precision) != ("fp32", "ieee")
        assert (int(tensor_cores) > 0) == rounds, (name, dtype, precision)
    assert products or package == "passion"
