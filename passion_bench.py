"""The suite from outside: ``import passion_bench``, then ``from backbones.contract import Backbone``.

Our packages bear common names: Hugging Face has a `datasets` too. So a wheel keeps them in a folder of its
own, which no other program sees (`setup.py` lays it out). Importing this module puts that folder, or the
checkout, first on the path of this process. `bench` imports it, and tells the processes that it starts.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

_HERE = Path(__file__).resolve().parent
_INSTALLED = _HERE / "passion-bench"
ROOMS = str(_INSTALLED if _INSTALLED.is_dir() else _HERE)
"""The folder that holds our packages."""


def _put_first() -> None:
    loaded = getattr(sys.modules.get("datasets"), "__file__", None)
    if loaded and not Path(loaded).resolve().is_relative_to(ROOMS):
        raise ImportError(
            f"this process has imported another package 'datasets', {loaded}, and passion-bench has one of "
            "that name: import passion_bench in a process of its own"
        )
    sys.path[:] = [ROOMS, *(entry for entry in sys.path if entry != ROOMS)]


def path_variables() -> dict[str, str]:
    """Return the variables by which a process of Python finds our packages first.

    `python -m` would look into the user's folder before.
    """
    path = os.pathsep.join(filter(None, (ROOMS, os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def main() -> NoReturn:
    """Run `bench`."""
    from benchmark.commands.app import main as run

    run()


_put_first()
if __name__ == "__main__":
    main()
