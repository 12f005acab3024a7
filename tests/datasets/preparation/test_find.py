"""Finding the cases of a study in the layout of every dataset, and recognising which one it is."""

import shutil
from dataclasses import replace
from unicodedata import normalize

import nibabel as nib
import numpy as np
import pytest
from nifti_study import write_case, write_image, write_study
from yaml_studies import MSSEG, described, wmh_2017

from bench_errors import InputError
from datasets.preparation.check import check_case, check_study
from datasets.preparation.find import find_cases, recognise
from datasets.preparation.prepare import prepare
from datasets.studies.brats import BRATS2020
from datasets.studies.msd import MSD01
from datasets.studies.myops import MYOPS2020
from datasets.vocabulary import Description


def test_finds_cases_whatever_their_names(tmp_path):
    names = ["TCGA-FG-6692", "Müller, Jürgen (2)", "患者 7", "a b"]
    write_study(tmp_path, BRATS2020, names)
    (tmp_path / "name_mapping.csv").write_text("a,b")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "notes.txt").write_text("-")
    cases = find_cases(tmp_path, BRATS2020)
    assert [case.name for case in cases] == sorted(names)
    assert list(cases[0].files) == list(BRATS2020.modalities)
    assert cases[0].label.exists()
    assert cases[0].spare == ()


def test_finds_uncompressed_and_spare_files(tmp_path):
    paths = write_case(tmp_path, BRATS2020, "one")
    for name in ("one_t1.nii", "one_t1gd.nii"):
        write_image(tmp_path / "one" / name, np.ones((2, 2, 2), dtype=np.int16))
    paths["t2"].unlink()
    write_image(tmp_path / "one" / "one_t2.nii", np.ones((2, 2, 2), dtype=np.int16))
    (case,) = find_cases(tmp_path, BRATS2020)
    assert case.files["t1"].name == "one_t1.nii.gz"
    assert case.files["t2"].name == "one_t2.nii"
    assert case.spare == ("one_t1.nii", "one_t1gd.nii")


@pytest.mark.parametrize("description", [BRATS2020, MYOPS2020])
def test_recognises_the_naming(tmp_path, description):
    write_study(tmp_path, description)
    assert recognise(tmp_path) == description


def test_no_study(tmp_path):
    with pytest.raises(InputError, match=r"<case>/<case>_\{flair,t1ce,t1,t2,seg\}.*HGG,LGG.*_\{C0,DE"):
        recognise(tmp_path)
    write_study(tmp_path / "hearts", MYOPS2020)
    with pytest.raises(InputError, match=r"is no study.*<case>/<case>_\{flair,t1ce,t1,t2,seg\}"):
        find_cases(tmp_path / "hearts", BRATS2020)
    with pytest.raises(InputError, match="give the folder above it"):
        recognise(tmp_path / "hearts" / "one")
    with pytest.raises(InputError, match="cannot be read"):
        recognise(tmp_path / "absent")
    with pytest.raises(InputError, match="cannot be read"):
        recognise(tmp_path / "hearts" / "one" / "one_C0.nii.gz")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match="cannot be read"):
        recognise(tmp_path / "loop")


def test_all_layouts_are_used_together(tmp_path):
    description = wmh_2017(tmp_path)
    for file in ("Utrecht/0/orig/FLAIR.nii.gz", "Amsterdam/GE3T/100/pre/3DT1.nii.gz"):
        write_image(tmp_path / "study" / file, np.ones((2, 2, 2)))
    (tmp_path / "study" / "Utrecht" / "99").mkdir()
    cases = find_cases(tmp_path / "study", description)
    assert {case.name: case.columns for case in cases} == {
        "0": {"site": "Utrecht"},
        "100": {"site": "Amsterdam", "scanner": "GE3T"},
        "50": {"site": "Singapore"},
        "99": {"site": "Utrecht"},
    }
    assert [len(case.paths) for case in cases] == [3, 3, 3, 0]
    assert cases[1].spare == ("pre/3DT1.nii.gz",)


def test_of_two_layouts_a_file_belongs_to_the_one_that_has_more_of_its_case(tmp_path):
    text = MSSEG.replace(
        '"{center}/{case}/Masks/Consensus.nii.gz"', '["{center}/{case}/a.nii", "{center}/{case}/b.nii"]'
    )
    description = described(tmp_path, text)
    for layout, case in enumerate(("one", "two")):
        write_case(tmp_path / "study", description, case, layout=layout, center="01")
    cases = find_cases(tmp_path / "study", description)
    assert [(case.name, case.label.name) for case in cases] == [("one", "a.nii.gz"), ("two", "b.nii.gz")]


def test_names_made_of_parts_tell_cases_apart(tmp_path):
    once = described(tmp_path, MSSEG)
    for center in ("01", "07"):
        write_case(tmp_path / "study", once, "Patient_01", center=center)
    for case in find_cases(tmp_path / "study", once):
        (fault,) = case.faults
        assert "found 2 cases of this name (in 01/Patient_01/Masks, 07/Patient_01/Masks)" in fault
        assert fault.endswith("case: '{center}_{case}'")
    description = described(tmp_path, MSSEG + 'case: "{center}_{case}"\n')
    cases = find_cases(tmp_path / "study", description)
    assert [case.name for case in cases] == ["01_Patient_01", "07_Patient_01"]
    assert [(case.columns, case.faults, len(case.paths)) for case in cases] == [
        ({"center": "01"}, (), 3),
        ({"center": "07"}, (), 3),
    ]
    assert Description.from_dict(description.to_dict()) == description


def test_a_case_named_by_other_words_alone(tmp_path):
    text = MSSEG.replace("{center}", "{subject}").replace("{case}", "{visit}")
    description = described(tmp_path, text + 'case: "{subject}_{visit}"\n')
    write_case(tmp_path / "study", description, "", subject="sub-01", visit="ses-2")
    (case,) = find_cases(tmp_path / "study", description)
    assert case.name == "sub-01_ses-2"
    flat = text.replace("{subject}/{visit}/", "all/{subject}_{visit}_")
    description = described(tmp_path, flat + 'case: "{subject}_{visit}"\n')
    write_case(tmp_path / "flat", description, "", subject="sub-01", visit="ses-2")
    assert [case.name for case in find_cases(tmp_path / "flat", description)] == ["sub-01_ses-2"]


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_letters_of_two_parts_are_as_good_as_one(tmp_path, form, written):
    """Some file systems and archives write "ü" as "u" and a diaeresis."""
    text = MSSEG.replace("Masks/Consensus", "Präp/Läsion").replace("{center}", "Süd")
    description = described(tmp_path, normalize(written, text))
    write_case(tmp_path / "study", description, "Jürgen")
    for path in sorted(tmp_path.glob("study/**/*"), reverse=True):
        path.rename(path.with_name(normalize(form, path.name)))
    (case,) = find_cases(tmp_path / "study", description)
    assert (case.name, len(case.paths)) == (normalize("NFC", "Jürgen"), 3)
    assert all(path.exists() for path in case.paths.values())
    assert prepare(tmp_path / "study", description, tmp_path / "store").cases == ["Jürgen"]


@pytest.mark.parametrize("ending", [".NII.GZ", ".nii.GZ", ".NII"])
def test_endings_in_capitals_are_read(tmp_path, ending):
    paths = write_case(tmp_path, BRATS2020, "one")
    image = nib.load(paths["t1"])
    write_image(tmp_path / f"t1{ending.lower()}", np.asanyarray(image.dataobj), image.affine).rename(
        tmp_path / "one" / f"one_t1{ending}"
    )
    paths["t1"].unlink()
    (case,) = find_cases(tmp_path, BRATS2020)
    assert case.files["t1"].name == f"one_t1{ending}"
    assert case.spare == ()
    assert check_case(case, BRATS2020) == []


def test_files_of_other_formats_are_named_with_what_to_do(tmp_path):
    paths = write_case(tmp_path, BRATS2020, "one")
    paths["t1"].unlink()
    for ending in ("img", "hdr"):
        (tmp_path / "one" / f"one_t1.{ending}").write_bytes(b"-")
    (case,) = find_cases(tmp_path, BRATS2020)
    (note,) = check_case(case, BRATS2020)
    assert note.message == (
        "modality t1 is missing (found also one_t1.hdr, one_t1.img: convert it to .nii.gz?): "
        "the case is used without it"
    )
    for path in (tmp_path / "one").glob("*.gz"):
        path.rename(path.with_suffix("").with_suffix(".mgz"))
    with pytest.raises(
        InputError, match=r"found one/one_flair\.mgz and the like: convert the files to \.nii"
    ):
        find_cases(tmp_path, BRATS2020)


def test_the_same_name_with_two_endings_is_an_error(tmp_path):
    paths = write_case(tmp_path, BRATS2020, "one")
    shutil.copy(paths["t1"], paths["t1"].with_name("one_t1.NII.GZ"))
    (case,) = find_cases(tmp_path, BRATS2020)
    (error,) = check_case(case, BRATS2020)
    assert error.severity == "error"
    assert "expected one: remove the other" in error.message


def test_what_is_ignored_is_no_part_of_the_study(tmp_path):
    parts = MSSEG.replace("{center}", "{part}") + 'ignore: ["hidden*", "*_T1.nii.gz", "train/atlas/*"]\n'
    description, study = described(tmp_path, parts), tmp_path / "study"
    for part, case in (("train", "one"), ("train", "two"), ("hidden_test", "three")):
        paths = write_case(study, description, case, part=part)
        write_image(paths["t1"].with_name("one_T1.nii.gz"), np.ones((2, 2, 2)))
    write_image(study / "train" / "atlas" / "mean.nii.gz", np.ones((2, 2, 2)))
    cases = find_cases(study, description)
    assert [(case.name, case.spare) for case in cases] == [("one", ()), ("two", ())]
    assert check_study(study, description) == []
    (study / "train").rename(study / "hidden_train")
    with pytest.raises(InputError, match="is no study"):
        find_cases(study, description)


def test_files_of_many_cases_may_be_ignored(tmp_path):
    description = replace(MSD01, ignore=("imagesTr/BRATS_0[5-9]*",))
    for case in ("BRATS_001", "BRATS_073"):
        write_case(tmp_path, MSD01, case)
    assert [(case.name, case.paths) for case in find_cases(tmp_path, description)] == [
        ("BRATS_001", find_cases(tmp_path, MSD01)[0].paths),
        ("BRATS_073", {"label": tmp_path / "labelsTr" / "BRATS_073.nii.gz"}),
    ]
    whole = replace(MSD01, ignore=("*BRATS_073*",))
    assert [case.name for case in find_cases(tmp_path, whole)] == ["BRATS_001"]
