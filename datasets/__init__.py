"""From files on disk to batches: descriptions of studies, checking, preparation, missingness, loading.

`DATASETS.get("brats2020")` is the description of a study by its name.
"""

from bench_registry import Registry

DATASETS = Registry(
    "dataset",
    {
        "brats2020": "datasets.brats:BRATS2020",
        "phantom": "datasets.brats:PHANTOM",
        "myops2020": "datasets.myops:MYOPS2020",
        "phantom-heart": "datasets.myops:PHANTOM_HEART",
    },
)
