"""The program: ``bench("report", "--grid", "demo")`` in a process of its own, `bench_here` in this one."""

import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from unittest.mock import patch

from benchmark.commands.app import main


def bench(*arguments, cwd=None):
    command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def bench_here(*arguments, cwd="."):
    """Run the program in this process, which has its libraries already: the same result, sooner."""
    command = ["bench", *map(str, arguments)]
    with chdir(cwd), redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as errors:
        try:
            with patch.object(sys, "argv", command):
                main()
        except SystemExit as end:
            return subprocess.CompletedProcess(command, end.code or 0, out.getvalue(), errors.getvalue())
