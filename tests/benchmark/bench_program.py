"""The program in a process of its own: ``bench("report", "--grid", "demo").returncode``."""

import subprocess
import sys


def bench(*arguments, cwd=None):
    command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
