"""The real patient in three namings, whole and with any one file removed; its data stay where they are."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nifti_study import write_image

from bench_errors import InputError
from datasets.preparation.check import check_study
from datasets.preparation.find import recognise
from datasets.preparation.prepare import prepare
from datasets.studies.brats import BRATS2020, BRATS2023
from datasets.studies.from_yaml import read_description

REAL = Path(__file__).parents[4] / "shared" / "data" / "TCGA-FG-6692"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="the real patient is not on this machine")

CUSTOM = """\
modalities:
  t2: "{case}/T2.nii.gz"
  t1: "{case}/T1.nii.gz"
  flair: "{case}/FLAIR.nii.gz"
  t1ce: "{case}/T1Gd.nii.gz"
label: "{case}/truth.nii.gz"
labels: {necrosis: 1, oedema: 2, enhancing: 4}
regions: {WT: [necrosis, oedema, enhancing], ET: enhancing}
"""
MODALITIES = ("flair", "t1ce", "t1", "t2")
KEYS = (*MODALITIES, "seg")
FILES = {
    "2020": {key: f"patient 1_{key}" for key in KEYS},
    "2023": {
        key: f"patient 1-{suffix}"
        for key, suffix in zip(KEYS, ("t2f", "t1c", "t1n", "t2w", "seg"), strict=True)
    },
    "custom": dict(zip(KEYS, ("FLAIR", "T1Gd", "T1", "T2", "truth"), strict=True)),
}
NORMALLY = {("2020", "flair"), ("2020", "t1"), ("2023", "t1ce"), ("custom", "t2")}
"""Which of the removals run with the fast tests; each modality and each naming once at least."""


def study(folder, naming, without=""):
    """The patient's files in a naming, and the description that reads them."""
    case = folder / "study" / "patient 1"
    case.mkdir(parents=True)
    for key, name in FILES[naming].items():
        source = REAL / f"TCGA-FG-6692_{key}.nii.gz"
        if key == without:
            continue
        if (naming, key) == ("2023", "seg"):  # says 3 where the others say 4
            label = nib.load(source)
            values = np.asanyarray(label.dataobj)
            write_image(
                case / f"{name}.nii.gz", np.where(values == 4, 3, values).astype(np.uint8), label.affine
            )
        else:
            (case / f"{name}.nii.gz").symlink_to(source)
    if naming == "custom":
        (folder / "mine.yaml").write_text(CUSTOM)
        return case.parent, read_description(folder / "mine.yaml")
    return case.parent, recognise(case.parent)


@pytest.mark.parametrize(
    ("naming", "without"),
    [
        pytest.param(n, w, marks=[] if not w or (n, w) in NORMALLY else [pytest.mark.long])
        for n in FILES
        for w in ("", *MODALITIES)
    ],
)
def test_check_and_prepare(tmp_path, naming, without):
    root, description = study(tmp_path, naming, without)
    assert description in (BRATS2020, BRATS2023) or naming == "custom"
    problems = check_study(root, description)
    assert {p.severity for p in problems} == ({"warning", "note"} if without else {"warning"})
    assert [p.message for p in problems if p.severity == "note"] == (
        [f"modality {without} is missing: the case is used without it"] if without else []
    )
    store = prepare(root, description, tmp_path / "store")
    (case,) = store.cases
    assert store.available(case) == tuple(m != without for m in description.modalities)
    assert np.bincount(np.ravel(store.labels(case)))[1:].tolist() == [2477, 20862, 6840]
    volumes = store.volumes(case)
    assert np.isfinite(volumes).all()
    assert [bool(volume.any()) for volume in volumes] == list(store.available(case))


@pytest.mark.parametrize("naming", FILES)
def test_without_the_label(tmp_path, naming):
    root, description = study(tmp_path, naming, "seg")
    (error,) = [p for p in check_study(root, description) if p.severity == "error"]
    assert error.file == f"{FILES[naming]['seg']}.nii.gz"
    assert error.message.startswith(f"found no label, expected {error.file}")
    with pytest.raises(InputError, match="found no label"):
        prepare(root, description, tmp_path / "store")
    assert not (tmp_path / "store").exists()
