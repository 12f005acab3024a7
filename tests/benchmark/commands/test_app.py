"""The program as a user meets it: in processes of its own, with exit codes and one-line errors."""

import subprocess
import sys
from importlib.metadata import version

import pytest
from bench_program import bench


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    result = bench("data", "phantom", "--out", folder / "study", "--cases", 2, "--size", 32)
    assert result.returncode == 0, result.stderr
    return folder / "study"


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["report", "--help"],
        ["status", "--help"],
        ["compare", "--help"],
        ["show", "--help"],
        ["check-backbone", "--help"],
    ],
)
def test_help_imports_nothing_heavy(command):
    code = (
        "import sys; sys.argv = ['bench', *sys.argv[1:]]\n"
        "from benchmark.commands.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'monai', 'wandb', 'pandas', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "Usage" in result.stdout


def test_report_imports_no_torch():
    code = (
        "import sys, benchmark.report.write; sys.exit(bool({'torch', 'monai', 'wandb'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--grid", "dmo"], "did you mean demo"),
        (["run", "--grid", "demo", "--device", "tpu"], "choose auto, cpu or cuda"),
        (["run", "--grid", "demo", "--device", "cpu", "--gpus", "0"], "--gpus 0 has no effect on a CPU"),
        (["run", "--grid", "demo", "--store", "phantom"], "expected NAME=DIR"),
        (["run", "--grid", "demo", "--store", "brats=x"], "has no dataset brats"),
        (["run", "--grid", "demo", "--store", "phantom=nowhere"], "bench data prepare"),
        (["status", "--grid", "nowhere.yaml"], "grid nowhere.yaml cannot be read"),
        (["report", "--grid", "demo", "--out", "x"], "start them with 'bench run'"),
        (["report", "--grid", "demo", "--out", "x", "--split-by", "dat"], "did you mean data"),
        (["show", "nothing"], "no run or grid 'nothing'"),
        (["show", "x" * 300], "is too long for a file"),
        (["status", "--grid", "x" * 300 + ".yaml"], "cannot be read (File name too long)"),
        (["compare", "nothing", "else"], "no run or grid 'nothing'"),
        (["report", "--grid", "demo", "--out", "x", "--formats", "jpg"], "did you mean png"),
        (["profile", "mr246", "--cases", "names.txt"], "mr246"),
        (["profile", "mr2468", "--cases", "nothing.txt"], "cannot be read"),
        (["profile", "mr2468"], "give a profile with --cases"),
        (["data", "check", "nowhere"], "nowhere"),
        (["data", "prepare", "study", "--dataset", "bratz2020", "--out", "s"], "did you mean brats2020"),
        (["data", "check", "study", "--dataset", "custom"], "give the path of its YAML file"),
        (["data", "check", "study", "--dataset", "no.yaml"], "no.yaml cannot be read"),
        (["data", "phantom", "--out", "x", "--size", "big"], "expected one edge"),
        (["data", "phantom", "--out", "names.txt/x", "--size", "32"], "names.txt"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path, arguments, says):
    (tmp_path / "names.txt").write_text("a\nb\n")
    (tmp_path / "study").mkdir()
    result = (
        bench(*arguments, "--runs", tmp_path / "runs", cwd=tmp_path)
        if arguments[0]
        in (
            "run",
            "status",
            "report",
            "show",
            "compare",
        )
        else bench(*arguments, cwd=tmp_path)
    )
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert result.returncode == 2, result.stderr
    assert len(errors) == 1
    assert says in errors[0]
    assert "Traceback" not in result.stderr


def test_the_version_is_that_of_the_package():
    result = bench("--version")
    assert (result.returncode, result.stdout) == (0, f"passion-bench {version('passion-bench')}\n")


def test_list_has_one_name_a_line():
    lines = [" ".join(line.split()[:2]) for line in bench("list").stdout.splitlines()]
    assert {"backbone rfnet", "objective passion", "dataset brats2020", "profile mr2468", "grid demo"} <= set(
        lines
    )
    assert {"dataset brats2018", "dataset brats2024", "dataset msd01", "dataset custom"} <= set(lines)


def test_profile_prints_a_table_alone_on_standard_output(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("".join(f"case {i}\n" for i in range(40)))
    result = bench("profile", "mr2468", "--cases", names)
    lines = result.stdout.splitlines()
    assert lines[0] == "case,flair,t1ce,t1,t2"
    assert len(lines) == 41
    assert all(set(line.split(",")[1:]) <= {"0", "1"} for line in lines[1:])
    assert "missing rates" in result.stderr
    saved = tmp_path / "table.csv"
    saved.write_text(result.stdout)
    assert bench("profile", "--from-csv", saved).stdout == result.stdout


def test_check_and_prepare(tmp_path, phantom):
    assert bench("data", "check", phantom).returncode == 0
    result = bench("data", "prepare", phantom, "--dataset", "brats2020", "--out", tmp_path / "store")
    assert result.returncode == 0, result.stderr
    assert "prepared 2 cases" in result.stdout
    again = bench(
        "data", "prepare", phantom, "--dataset", "brats2020", "--out", tmp_path / "store", "--workers", 1
    )
    assert "prepared 0 cases" in again.stdout
    assert "kept 2" in again.stdout
    verified = bench("data", "verify", tmp_path / "store")
    assert (verified.returncode, verified.stdout.count("\n")) == (0, 1)
    assert "2 cases, 0 damaged" in verified.stdout
