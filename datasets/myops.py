"""MyoPS2020: description of the naming, labels, regions and table order (three contrasts of the heart)."""

from dataclasses import replace

from datasets.vocabulary import Description, Region

MYOPS2020 = Description(
    name="myops2020",
    modalities=("bssfp", "lge", "t2"),
    suffixes=("_C0", "_DE", "_T2"),
    label_suffix="_gd",
    file_labels={0: 0, 200: 1, 500: 2, 600: 3, 1220: 4, 2221: 5},
    classes=("background", "myocardium", "LV blood pool", "RV blood pool", "oedema", "scar"),
    regions=(Region("LVB", (2,)), Region("RVB", (3,)), Region("MYO", (1, 4, 5))),
    table_order=(),
    profile_order=("bssfp", "lge", "t2"),
    spatial_dims=2,
)

PHANTOM_HEART = replace(MYOPS2020, name="phantom-heart")
"""The synthetic heart: named and labelled like MyoPS2020, split at random."""
