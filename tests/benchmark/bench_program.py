"""The program as a user calls it: ``bench("report", "--grid", "demo", cwd=folder).returncode``.

It runs in this process, which has imported torch already; its workers are processes of their own.
"""

import os
import signal
import subprocess
import sys
import traceback
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from unittest import mock

from benchmark.commands.app import main


def bench(*arguments, cwd="."):
    texts = [str(argument) for argument in arguments]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    out, errors, code = StringIO(), StringIO(), 1
    with (
        chdir(cwd),
        mock.patch.object(sys, "argv", ["bench", *texts]),
        mock.patch.dict(os.environ),
        redirect_stdout(out),
        redirect_stderr(errors),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        except Exception:
            traceback.print_exc()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return subprocess.CompletedProcess(texts, code, out.getvalue(), errors.getvalue())


def bench_apart(*arguments):
    """The same in a process of its own, for what a library keeps for the life of one."""
    command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
