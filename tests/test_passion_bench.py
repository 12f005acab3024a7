"""The suite from outside: an installed wheel beside another package `datasets`, and what puts ours first."""

import fcntl
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from docs_page import block

import passion_bench

ROOT = Path(passion_bench.ROOMS)
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
ROOMS = ("backbones", "benchmark", "datasets", "passion", "results/published")
PLUGIN = "from backbones.rfnet import RFNet\n\nclass Net(RFNet):\n    pass\n"
GRID = """
axes: {objective: [baseline]}
base:
  profile: ir2468
  backbone: {name: mine:Net, width: 2}
  train: {epochs: 1, crop: 16}
data:
  phantom: {cases: 3, size: 32}
"""


def python(code, program=sys.executable, expect=0, **variables):
    """What a process says that finds nothing in the folder where it starts."""
    done = subprocess.run(
        [program, "-c", code],
        capture_output=True,
        text=True,
        cwd="/",
        env=ENVIRONMENT | variables,
        check=False,
    )
    assert done.returncode == expect, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def rival(tmp_path):
    """A folder with another package `datasets`."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("theirs = True\n")
    return tmp_path


def test_ours_come_first_once_the_module_is_imported(rival):
    both = f"{rival}{os.pathsep}{ROOT}"
    python("import datasets; assert datasets.theirs", PYTHONPATH=both)
    said = python(
        "import passion_bench, sys, datasets.vocabulary\n"
        "print(sys.path[0], sys.path.count(passion_bench.ROOMS), passion_bench.path_variables())",
        PYTHONPATH=both,
    )
    assert said.split(maxsplit=2)[:2] == [str(ROOT), "1"]
    assert f"{ROOT}{os.pathsep}{both}" in said


def test_another_datasets_that_is_imported_already_is_named(rival):
    said = python(
        "import datasets, passion_bench", PYTHONPATH=f"{rival}{os.pathsep}{ROOT}", expect=1
    ).splitlines()
    assert str(rival / "datasets") in said[-1]
    assert "in a process of its own" in said[-1]


class Environment:
    """A fresh virtual environment that sees the packages of this one, but not the installed suite."""

    def __init__(self, folder):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.bin = folder / "bin"
        paths = python("import sysconfig; print(sysconfig.get_path('purelib'))", self.bin / "python")
        self.site = Path(paths.strip())
        lent = folder / "lent"
        lent.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if "passion_bench" not in path.name and path.name != "datasets":
                (lent / path.name).symlink_to(path)
        (self.site / "lent.pth").write_text(f"{lent}\n")

    def pip(self, *arguments):
        command = [sys.executable, "-m", "pip", "--quiet", "--python", self.bin / "python", *arguments]
        subprocess.run(command, env=ENVIRONMENT, check=True)

    def python(self, code, **options):
        return python(code, self.bin / "python", **options)

    def bench(self, *arguments, cwd, **variables):
        done = subprocess.run(
            [self.bin / "bench", *arguments],
            capture_output=True,
            text=True,
            cwd=cwd,
            env=ENVIRONMENT | variables,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def files(self):
        found = {path.relative_to(self.site).as_posix() for path in self.site.rglob("*") if path.is_file()}
        return {name for name in found if "__pycache__" not in name}


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder of the sdist, and of the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    # The build writes beside the sources, where another worker of the tests may be at it.
    with (tmp_path_factory.getbasetemp().parent / "dist.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    return next(dist.glob("*.whl"))


@pytest.mark.long
def test_the_sdist_is_the_whole_project(dist):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("no checkout of git")
    with tarfile.open(next(dist.glob("*.tar.gz"))) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {name for name in tracked.stdout.splitlines() if (ROOT / name).exists()} <= names


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """The wheel of another package `datasets`."""
    path = tmp_path_factory.mktemp("theirs") / "datasets-9.9-py3-none-any.whl"
    files = {
        "datasets/__init__.py": "from datasets.table import Table\n",
        "datasets/table.py": "class Table:\n    rows = 3\n",
        "datasets/vocabulary.py": "",
        "datasets-9.9.dist-info/METADATA": "Metadata-Version: 2.1\nName: datasets\nVersion: 9.9\n",
        "datasets-9.9.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "datasets-9.9.dist-info/RECORD"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(record, "".join(f"{name},,\n" for name in (*files, record)))
    return path


@pytest.mark.long
def test_the_wheel_holds_the_rooms_in_one_folder(wheel):
    wanted = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("bench_*.py")}
    for room in ROOMS:
        wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / room).rglob("*") if path.is_file()}
    wanted = {name for name in wanted if "__pycache__" not in name} - {"backbones/README.md"}
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {name.removeprefix("passion-bench/") for name in names if name.startswith("passion-bench/")}
    assert inside == wanted | {"commit.txt"}
    outside = {name for name in names if not name.startswith(("passion-bench/", "passion_bench-"))}
    assert outside == {"passion_bench.py"}


@pytest.mark.long
@pytest.mark.parametrize("ours_first", [True, False])
def test_the_wheel_lives_beside_another_datasets(wheel, theirs, tmp_path, ours_first):
    environment = Environment(tmp_path / "venv")
    empty = environment.files()
    for path in (wheel, theirs) if ours_first else (theirs, wheel):
        environment.pip("install", "--no-deps", "--no-compile", path)
    use_theirs = "import datasets; assert datasets.Table.rows == 3; assert 'venv' in datasets.__file__"
    use_ours = block("install.md", "python") + "import datasets.store.store"
    environment.python(use_theirs)
    environment.python(use_ours)
    assert environment.bench("--version", cwd=tmp_path).startswith("passion-bench ")
    assert "backbone rfnet" in environment.bench("list", cwd=tmp_path)
    if ours_first:
        environment.pip("uninstall", "--yes", "passion-bench")
        environment.python(use_theirs)
        environment.pip("uninstall", "--yes", "datasets")
        assert environment.files() == empty
    else:
        environment.pip("uninstall", "--yes", "datasets")
        environment.python(use_ours)
        assert "backbone rfnet" in environment.bench("list", cwd=tmp_path)


@pytest.mark.long
def test_the_wheel_runs_and_reports_away_from_the_checkout(wheel, tmp_path):
    environment = Environment(tmp_path / "venv")
    environment.pip("install", "--no-deps", "--no-compile", wheel)
    options = ["--quiet", "--allow-empty", "--message=theirs"]
    theirs = ["-c", "user.name=a", "-c", "user.email=b", "commit", *options]
    for command in (["init", "--quiet"], theirs):  # the environment lies in a checkout of something else
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    place = tmp_path / "somewhere"
    for name in ("datasets", "benchmark"):  # packages that a user may have
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").touch()
    (place / "mine.py").write_text(PLUGIN)
    (place / "mine.yaml").write_text(GRID)
    plugin = {"PASSION_BENCH_PLUGINS": "mine:Net", "OMP_NUM_THREADS": "1"}
    environment.bench("run", "--grid", "mine.yaml", "--no-track", cwd=place, **plugin)
    report = ["report", "--grid", "mine.yaml", "--out", "report", "--formats", "png"]
    environment.bench(*report, cwd=place, **plugin)
    head, *modified = zipfile.ZipFile(wheel).read("passion-bench/commit.txt").decode().split()
    assert re.fullmatch("[0-9a-f]{10}", head)
    commit = f"{head} (modified)" if modified else head
    assert f"Code at commit {commit}." in (place / "report" / "report.md").read_text()
    [run] = [path.parent.name for path in place.glob("runs/mine/*/config.yaml")]
    environment.bench("weights", "export", run, "--out", "model", cwd=place, **plugin)
    assert (place / "model" / "model.safetensors").exists()
    completion = {"COMP_WORDS": "bench rep", "COMP_CWORD": "1", "_BENCH_COMPLETE": "complete_bash"}
    assert environment.bench(cwd=place, **completion).split() == ["report"]
