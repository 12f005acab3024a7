"""Studies by name: `DATASETS.get("brats2020")` is a description, so is `DATASETS.get("mine.yaml")`.

The second is of a study of the user's own, in the words that `datasets.studies.from_yaml` explains.
"""

from pathlib import Path
from typing import Any

from bench_errors import InputError
from bench_registry import Registry, attribute

CUSTOM = "custom"
"""What `bench list` calls a dataset that a YAML file describes."""


class _Datasets(Registry):
    """The known datasets; wherever a name is asked for, the path of a YAML file stands for its dataset."""

    def check(self, name: str) -> str:
        """Return `name` if it is known or the path of a YAML file; raise `InputError` if it is neither."""
        if name == CUSTOM:
            raise InputError(
                "dataset custom is one that you describe: give the path of its YAML file, such as mine.yaml"
            )
        return name if _is_file(name) else super().check(name)

    def get(self, name: str) -> Any:
        """Return the description that `name` stands for; raise `InputError` if it is unknown or unusable."""
        if not _is_file(name):
            return super().get(name)
        return attribute("datasets.studies.from_yaml:read_description")(Path(name))


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


DATASETS = _Datasets(
    "dataset",
    {
        # Where the files of a study fit several, the first is taken.
        "brats2020": ("datasets.studies.brats:BRATS2020", "BraTS 2020"),
        "brats2018": ("datasets.studies.brats:BRATS2018", "BraTS 2018"),
        "brats2019": ("datasets.studies.brats:BRATS2019", "BraTS 2019"),
        "brats2021": ("datasets.studies.brats:BRATS2021", "BraTS 2021"),
        "brats2023": ("datasets.studies.brats:BRATS2023", "BraTS-GLI 2023"),
        "brats2024": ("datasets.studies.brats:BRATS2024", "BraTS-GLI 2024, after treatment"),
        "fets2024": ("datasets.studies.brats:FETS2024", "FeTS 2024, laid out like BraTS 2020"),
        "msd01": ("datasets.studies.msd:MSD01", "Medical Segmentation Decathlon, brain tumours"),
        "phantom": ("datasets.studies.brats:PHANTOM", "synthetic, laid out like BraTS 2020"),
        "myops2020": ("datasets.studies.myops:MYOPS2020", "MyoPS 2020, hearts"),
        "phantom-heart": ("datasets.studies.myops:PHANTOM_HEART", "synthetic, laid out like MyoPS 2020"),
    },
)
