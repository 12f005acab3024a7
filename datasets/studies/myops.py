"""MyoPS2020: description of the naming, labels, regions and table order (three contrasts of the heart).

The files may lie as they are handed out, `train25/<case>_C0.nii.gz` with the labels beside them in
`train25_myops_gd`, or in one folder a case. `test20`, which has no labels, is left alone.
"""

from dataclasses import replace

from datasets.vocabulary import Description, Layout, Region

_SUFFIXES = ("_C0", "_DE", "_T2")

MYOPS2020 = Description(
    name="myops2020",
    modalities=("bssfp", "lge", "t2"),
    file_labels={0: 0, 200: 1, 500: 2, 600: 3, 1220: 4, 2221: 5},
    classes=("background", "myocardium", "LV blood pool", "RV blood pool", "oedema", "scar"),
    regions=(Region("LVB", (2,)), Region("RVB", (3,)), Region("MYO", (1, 4, 5))),
    table_order=(),
    profile_order=("bssfp", "lge", "t2"),
    spatial_dims=2,
    layouts=(
        Layout.named("{case}/{case}", _SUFFIXES, "_gd"),
        Layout(tuple("train25/{case}" + suffix for suffix in _SUFFIXES), "train25_myops_gd/{case}_gd"),
    ),
    case_names=r"myops_training_\d+",
    ignore=("test20/*",),
)

PHANTOM_HEART = replace(MYOPS2020, name="phantom-heart", case_names="")
"""The synthetic heart: named and labelled like MyoPS2020, split at random."""
