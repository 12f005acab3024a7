"""What pyproject.toml cannot say: a wheel keeps our packages in a folder of its own, see passion_bench.py."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.egg_info import egg_info

FOLDER, OUTSIDE = "passion-bench", "passion_bench"
"""The folder, and the one module that lies beside it."""


class BuildIntoFolder(build_py):
    """Copies packages and modules into `FOLDER`; an editable installation leaves them where they are."""

    def finalize_options(self):
        """Choose the folder to copy into."""
        super().finalize_options()
        if not self.editable_mode:
            self.build_lib = str(Path(self.build_lib, FOLDER))

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


setup(cmdclass={"build_py": BuildIntoFolder, "egg_info": NameOneModule})
