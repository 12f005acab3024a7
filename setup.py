"""What pyproject.toml cannot say: a wheel keeps our packages in a folder of its own, see passion_bench.py.

It also says which commit it is of, for `benchmark.training.provenance`; so does the sdist it is built from.
"""

import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.egg_info import egg_info
from setuptools.command.sdist import sdist

FOLDER, OUTSIDE = "passion-bench", "passion_bench"
"""The folder, and the one module that lies beside it."""
ROOT, COMMIT = Path(__file__).parent, "commit.txt"


def commit():
    """Return the commit of this sdist or checkout, with `modified` behind it where that has been changed.

    It is empty where nothing says it, as where there is no git.
    """
    if not (ROOT / ".git").exists():
        return (ROOT / COMMIT).read_text() if (ROOT / COMMIT).exists() else ""
    command = ["git", "-C", ROOT, "describe", "--always", "--exclude=*", "--abbrev=10", "--dirty= modified"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


class SayCommit(sdist):
    """Writes `COMMIT` into the sdist."""

    def make_release_tree(self, base_dir, files):
        """Copy the files, and add that one."""
        super().make_release_tree(base_dir, files)
        Path(base_dir, COMMIT).write_text(commit())


class BuildIntoFolder(build_py):
    """Copies packages and modules into `FOLDER`; an editable installation leaves them where they are."""

    def finalize_options(self):
        """Choose the folder to copy into."""
        super().finalize_options()
        if not self.editable_mode:
            self.build_lib = str(Path(self.build_lib, FOLDER))

    def run(self):
        """Copy all, and add `COMMIT`."""
        super().run()
        if not self.editable_mode:
            Path(self.build_lib, COMMIT).write_text(commit())

    def get_module_outfile(self, build_dir, package, module):
        """Return where to copy a module."""
        if module == OUTSIDE and not self.editable_mode:
            build_dir = str(Path(build_dir).parent)
        return super().get_module_outfile(build_dir, package, module)


class NameOneModule(egg_info):
    """Says that `OUTSIDE` is all that can be imported from site-packages."""

    def run(self):
        """Write the metadata."""
        super().run()
        Path(self.egg_info, "top_level.txt").write_text(f"{OUTSIDE}\n")


setup(cmdclass={"build_py": BuildIntoFolder, "egg_info": NameOneModule, "sdist": SayCommit})
