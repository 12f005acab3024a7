"""The Medical Segmentation Decathlon's brain tumours (Task01): description of its 4-D volumes.

    DATASETS.get("msd01")

A file of `imagesTr` holds the four modalities on its fourth axis, in the order FLAIR, T1w, T1gd, T2w of the
task's `dataset.json`, so no case can lack one. Labels are 1 oedema, 2 non-enhancing and 3 enhancing tumour.
`imagesTs`, which has no labels, is left alone.
"""

from dataclasses import replace

from datasets.studies.brats import BRATS2020
from datasets.vocabulary import Layout

MSD01 = replace(
    BRATS2020,
    name="msd01",
    file_labels={0: 0, 1: 2, 2: 1, 3: 3},
    layouts=(Layout(("imagesTr/{case}",) * 4, "labelsTr/{case}"),),
    channels=(0, 2, 1, 3),
    case_names=r"BRATS_\d+",
    ignore=("imagesTs/*",),
)
