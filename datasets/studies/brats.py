"""The BraTS studies: where their files lie, what they label, what is scored and in which order it is tabled.

    DATASETS.get("brats2023")

All have the modalities, classes and table order of BraTS2020; the years differ in names, folders and labels.
BraTS-GLI 2023 and 2024 follow the challenges' descriptions (arXiv 2305.09011, 2405.18368): `t2f` is FLAIR,
`t1c` T1 with contrast, `t1n` T1 without. Label 1 is the necrotic or non-enhancing core, 2 oedema (2024: all
surrounding FLAIR hyperintensity), 3 enhancing tumour; 4, in 2024 only, is the resection cavity, which belongs
to no other region.
"""

from dataclasses import replace

from datasets.vocabulary import Description, Layout, Region

MODALITIES = ("flair", "t1ce", "t1", "t2")

TABLE_ORDER = (
    ("t2",), ("t1ce",), ("t1",), ("flair",),
    ("t1ce", "t2"), ("t1ce", "t1"), ("flair", "t1"), ("t1", "t2"), ("flair", "t2"), ("flair", "t1ce"),
    ("flair", "t1ce", "t1"), ("flair", "t1", "t2"), ("flair", "t1ce", "t2"), ("t1ce", "t1", "t2"),
    ("flair", "t1ce", "t1", "t2"),
)  # fmt: skip
"""The paper's order of the columns, for every study of these four modalities."""

_SUFFIXES = ("_flair", "_t1ce", "_t1", "_t2")
_BY_CASE = Layout.named("{case}/{case}", _SUFFIXES, "_seg")
_BY_GRADE = Layout.named("{grade:HGG|LGG}/{case}/{case}", _SUFFIXES, "_seg")

BRATS2020 = Description(
    name="brats2020",
    modalities=MODALITIES,
    file_labels={0: 0, 1: 1, 2: 2, 4: 3},
    classes=("background", "necrosis", "oedema", "enhancing"),
    regions=(
        Region("WT", (1, 2, 3)),
        Region("TC", (1, 3)),
        Region("ET", (3,)),
        Region("ETpp", (3,), min_voxels=500),
    ),
    table_order=TABLE_ORDER,
    profile_order=("t1", "t1ce", "flair", "t2"),
    layouts=(_BY_CASE,),
    case_names=r"BraTS20_Training_\d+",
)

BRATS2018 = replace(
    BRATS2020,
    name="brats2018",
    layouts=(_BY_GRADE, _BY_CASE),
    patient=r"Brats18_(.+)_\d+",
    case_names=r"Brats18_.+",
)

BRATS2019 = replace(BRATS2018, name="brats2019", patient=r"BraTS19_(.+)_\d+", case_names=r"BraTS19_.+")

BRATS2021 = replace(BRATS2020, name="brats2021", case_names=r"BraTS2021_\d+")

FETS2022 = replace(BRATS2021, name="fets2022", case_names=r"FeTS2022_\d+")
FETS2024 = replace(BRATS2021, name="fets2024", case_names=r"FeTS20\d\d_\d+")
"""BraTS 2021's patients by institution; those of 2024 are named as in 2022."""

BRATS2023 = replace(
    BRATS2020,
    name="brats2023",
    file_labels={0: 0, 1: 1, 2: 2, 3: 3},
    layouts=(Layout.named("{case}/{case}", ("-t2f", "-t1c", "-t1n", "-t2w"), "-seg"),),
    patient=r"BraTS-GLI-(\d+)-\d+",
    case_names=r"BraTS-GLI-\d+-0\d+",
)

BRATS2024 = replace(
    BRATS2023,
    name="brats2024",
    file_labels={0: 0, 1: 1, 2: 2, 3: 3, 4: 4},
    classes=(*BRATS2020.classes, "resection cavity"),
    regions=(*BRATS2020.regions[:3], Region("RC", (4,))),
    case_names=r"BraTS-GLI-\d+-1\d+",
)

BRATS2023_SSA, BRATS2023_PED, BRATS2023_MET = (
    replace(
        BRATS2023,
        name=f"brats2023-{kind}",
        regions=BRATS2023.regions[:3],
        patient=rf"BraTS-{kind.upper()}-(\d+)-\d+",
        case_names=rf"BraTS-{kind.upper()}-\d+-\d+",
    )
    for kind in ("ssa", "ped", "met")
)
"""Gliomas in sub-Saharan Africa and those of children, metastases."""

PHANTOM = replace(BRATS2020, name="phantom", case_names=r"Phantom_\d+")
"""The synthetic head: named and labelled like BraTS2020, split at random."""

PHANTOM2 = replace(
    PHANTOM,
    name="phantom2",
    regions=(*BRATS2020.regions[:3], Region("ETpp", (3,), min_voxels=62)),
    layouts=(Layout.named("{hospital:north|south|west}/{case}/{case}", _SUFFIXES, "_seg"),),
    case_names=r"Phantom2_\d+",
)
"""Its second edition, whose folders tell the hospital: on voxels of 2 mm, 62 are the 500 mm^3 of ETpp."""
