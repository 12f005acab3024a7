"""The real patient in three namings, whole and with any one file removed; its data stay where they are."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nifti_study import write_image

from bench_errors import InputError
from datasets.preparation.check import check_study
from datasets.preparation.find import recognise
from datasets.preparation.nifti import turned
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


NORMALISED = """\
modalities: {flair: "{case}/Flair_subtrMeanDivStd.nii.gz", t1ce: "{case}/T1c_subtrMeanDivStd.nii.gz"}
label: "{case}/OTMultiClass.nii.gz"
labels: {necrosis: 1, oedema: 2, other: 3, enhancing: 4}
regions: {WT: [necrosis, oedema, other, enhancing], ET: enhancing}
"""
MASK = 'mask: "{case}/brainmask.nii.gz"\nnormalise: {flair: none, t1ce: none}\n'


def patient_of(tmp_path, study, case, text):
    """A study of one real patient, linked, and the description that reads it."""
    (tmp_path / "study").mkdir(exist_ok=True)
    (tmp_path / "study" / case).symlink_to(REAL.parent / study / case)
    (tmp_path / "mine.yaml").write_text(text)
    return tmp_path / "study", read_description(tmp_path / "mine.yaml")


@pytest.mark.parametrize("text", [NORMALISED, NORMALISED + MASK])
def test_a_patient_whose_images_are_normalised(tmp_path, text):
    case = "brats_2013_pat0006_1"
    root, description = patient_of(tmp_path, "glioma-2013", case, text)
    told = "mask" in text
    problems = check_study(root, description)
    assert [p.message for p in problems if "brainmask.nii.gz: nothing" in p.message] == [
        p.message for p in problems if p.severity == "note"
    ]
    assert {p.severity for p in problems} == ({"warning"} if told else {"warning", "note"})
    assert len([p for p in problems if "normalised before" in p.message]) == (0 if told else 2)
    store = prepare(root, description, tmp_path / "store")
    record = store.record(case)
    mask = np.asarray(nib.load(root / case / "brainmask.nii.gz").dataobj) > 0.5
    assert record.tissue == mask.sum()
    for (start, end), axis in zip(record.box, range(3), strict=True):
        occupied = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        assert start <= occupied[0] <= occupied[-1] < end
        assert end - start == max(occupied[-1] + 1 - occupied[0], 129)
    window = tuple(slice(*limits) for limits in record.box)
    flair = np.asarray(nib.load(root / case / "Flair_subtrMeanDivStd.nii.gz").dataobj)[window]
    seen = store.volumes(case)[0]
    if told:
        assert np.array_equal(seen, flair)
    else:
        inside = mask[window]
        assert (seen[inside].mean(), seen[inside].std()) == pytest.approx((0, 1), abs=1e-4)
        assert (seen[~inside] < seen[inside].min() + 1e-6).all()


def test_a_patient_that_lies_otherwise_is_turned(tmp_path):
    suffix = "_N4_noneck_reduced_winsor_regtoFLAIR_"
    files = ", ".join(f'{m.lower()}: "{{case}}/{m}{suffix}brain_N4_regtoMNI.nii.gz"' for m in ("FLAIR", "T2"))
    label = '"{case}/GOLD_STANDARD_N4_noneck_reduced_winsor_regtoFLAIR_regtoMNI.nii.gz"'
    text = f"modalities: {{{files}}}\nlabel: {label}\nlabels: {{lesion: 1}}\nregions: {{lesion: lesion}}\n"
    root, description = patient_of(tmp_path, "ms-ljubljana", "patient07", text)
    unused, *problems = check_study(root, description)
    assert "T1POST" in unused.message
    assert all("negative voxels" in p.message for p in problems)
    store = prepare(root, description, tmp_path / "store")
    record = store.record("patient07")
    assert (record.orientation, record.stored_orientation) == ("LAS", "LPS")
    whole = np.zeros(record.original_shape, dtype=np.uint8)
    whole[tuple(slice(*limits) for limits in record.box)] = store.labels("patient07")
    file = next((root / "patient07").glob("GOLD*"))
    assert np.array_equal(turned(whole, "LPS", "LAS"), np.asarray(nib.load(file).dataobj))
