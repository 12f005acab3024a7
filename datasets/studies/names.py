"""Studies by name: `DATASETS.get("brats2020")` is a description, so is `DATASETS.get("mine.yaml")`.

The second is of a study of the user's own, in the words that `datasets.studies.from_yaml` explains.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from bench_errors import InputError
from bench_registry import Registry, attribute, unknown
from datasets.vocabulary import Description, is_spacing

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


def regridded(description: Description, grid: str) -> Description:
    """Return a description whose files are brought to `grid`, as in `Description`; empty: as it says itself.

    Raises `InputError` for a grid that is neither a modality of it nor a number of mm.
    """
    if grid and not is_spacing(grid) and grid not in description.modalities:
        expected = unknown("modality", grid, list(description.modalities))
        raise InputError(f"--resample {grid}: {expected}, or an edge of the voxels in mm such as 1.5")
    if is_spacing(grid):
        grid = f"{float(grid):g}"
    return replace(description, grid=grid) if grid else description


def prepare_command(
    dataset: str, store: Path, study: Path | str = "FOLDER", box: str = "full", grid: str = ""
) -> str:
    """Return the command that prepares a store, with the options that are not what it does by itself.

    `grid`: that of its description.
    """
    released = " --box released" if box == "released" else ""
    return f"bench data prepare {study} {study_options(dataset, grid)}{released} --out '{store}'"


def study_options(dataset: str, grid: str = "") -> str:
    """Return the options by which a command knows a study: `--dataset`, and `--resample` if need be.

    A study of the user's own has no name that the command knows, but a file. `grid`: that of its description.
    """
    own = dataset not in DATASETS
    resample = "" if not grid or (not own and DATASETS.get(dataset).grid == grid) else f" --resample {grid}"
    return f"--dataset {dataset}{'.yaml' if own else ''}{resample}"


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
        "brats2023-ssa": ("datasets.studies.brats:BRATS2023_SSA", "BraTS-SSA 2023, sub-Saharan Africa"),
        "brats2023-ped": ("datasets.studies.brats:BRATS2023_PED", "BraTS-PED 2023, children"),
        "brats2023-met": ("datasets.studies.brats:BRATS2023_MET", "BraTS-MET 2023, metastases"),
        "fets2022": ("datasets.studies.brats:FETS2022", "FeTS 2022, laid out like BraTS 2020"),
        "fets2024": ("datasets.studies.brats:FETS2024", "FeTS 2024, laid out like BraTS 2020"),
        **{
            name: (f"datasets.studies.from_yaml:{name}", about)
            for name, about in {
                "mslesseg": "MSLesSeg, multiple sclerosis",
                "ljubljana": "Ljubljana, multiple sclerosis",
                "msseg2016": "MSSEG 2016, multiple sclerosis",
                "msseg2016-hga": "MSSEG 2016, its slices as HGA takes them",
                "isles2022": "ISLES 2022, stroke",
                "wmh2017": "WMH 2017, white matter hyperintensities",
                "hecktor2022": "HECKTOR 2022, head and neck",
                "hecktor2025": "HECKTOR 2025, head and neck",
                "autopet": "autoPET, tumours all over the body",
            }.items()
        },
        "msd01": ("datasets.studies.msd:MSD01", "Medical Segmentation Decathlon, brain tumours"),
        "phantom": ("datasets.studies.brats:PHANTOM", "synthetic, laid out like BraTS 2020"),
        "phantom2": (
            "datasets.studies.brats:PHANTOM2",
            "synthetic gliomas of every kind, from three hospitals",
        ),
        "myops2020": ("datasets.studies.myops:MYOPS2020", "MyoPS 2020, hearts"),
        "phantom-heart": ("datasets.studies.myops:PHANTOM_HEART", "synthetic, laid out like MyoPS 2020"),
    },
)
