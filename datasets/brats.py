"""The BraTS studies: descriptions of the naming, labels, regions and table order (BraTS 2018-2020)."""

from dataclasses import replace

from datasets.vocabulary import Description, Region

BRATS2020 = Description(
    name="brats2020",
    modalities=("flair", "t1ce", "t1", "t2"),
    suffixes=("_flair", "_t1ce", "_t1", "_t2"),
    label_suffix="_seg",
    file_labels={0: 0, 1: 1, 2: 2, 4: 3},
    classes=("background", "necrosis", "oedema", "enhancing"),
    regions=(
        Region("WT", (1, 2, 3)),
        Region("TC", (1, 3)),
        Region("ET", (3,)),
        Region("ETpp", (3,), min_voxels=500),
    ),
    table_order=(
        ("t2",), ("t1ce",), ("t1",), ("flair",),
        ("t1ce", "t2"), ("t1ce", "t1"), ("flair", "t1"), ("t1", "t2"), ("flair", "t2"), ("flair", "t1ce"),
        ("flair", "t1ce", "t1"), ("flair", "t1", "t2"), ("flair", "t1ce", "t2"), ("t1ce", "t1", "t2"),
        ("flair", "t1ce", "t1", "t2"),
    ),
    profile_order=("t1", "t1ce", "flair", "t2"),
)  # fmt: skip

PHANTOM = replace(BRATS2020, name="phantom")
"""The synthetic head: named and labelled like BraTS2020, split at random."""
