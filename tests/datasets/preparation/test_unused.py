"""Image files of a study that no pattern takes are named: none is dropped without a word."""

from dataclasses import replace

import numpy as np
from nifti_study import write_case, write_image, write_study
from yaml_studies import WMH, described, wmh_2017

from datasets.preparation.check import check_study
from datasets.preparation.find import find_cases
from datasets.preparation.prepare import prepare
from datasets.preparation.unused import unused
from datasets.studies.brats import BRATS2020
from datasets.studies.msd import MSD01


def put(path):
    return write_image(path, np.ones((2, 2, 2)))


def said(root, description):
    found = unused(root, description, find_cases(root, description))
    return [(problem.severity, problem.file, problem.message) for problem in found]


def test_a_forgotten_layout_is_a_warning(tmp_path):
    wmh_2017(tmp_path)
    first = WMH.replace('["', '"').replace(', "{site}/{scanner}/{case}/pre/FLAIR.nii.gz"]', "")
    first = first.replace(', "{site}/{scanner}/{case}/pre/T1.nii.gz"]', "")
    first = first.replace(', "{site}/{scanner}/{case}/wmh.nii.gz"]', "")
    ((severity, file, message),) = said(tmp_path / "study", described(tmp_path, first))
    assert (severity, file) == ("warning", "Amsterdam")
    assert message.startswith(
        "found 3 image files that no pattern takes (Amsterdam/GE3T/100/pre/FLAIR.nii.gz, "
        "Amsterdam/GE3T/100/pre/T1.nii.gz, ...): add a pattern for them to the description (lists of"
    )
    assert said(tmp_path / "study", described(tmp_path, WMH)) == []
    ignored = first + 'ignore: ["Amsterdam/*"]\n'
    assert said(tmp_path / "study", described(tmp_path, ignored)) == []


def test_files_beside_those_of_cases_are_one_note(tmp_path):
    write_study(tmp_path, BRATS2020)
    for case in ("one", "two"):
        put(tmp_path / case / f"{case}_dwi.nii.gz")
    put(tmp_path / "two" / "raw" / "t1.nii.gz")
    (tmp_path / "two" / "raw" / "t1.img").write_bytes(b"-")
    ((severity, file, message),) = said(tmp_path, BRATS2020)
    assert (severity, file) == ("note", "{case}")
    assert "those of the cases: 1 raw/t1.img, 1 raw/t1.nii.gz, 2 {case}_dwi.nii.gz: nothing to do" in message
    (problem,) = check_study(tmp_path, BRATS2020)
    assert problem.message == message


def test_what_lies_among_the_files_of_many_cases(tmp_path):
    write_case(tmp_path, MSD01, "BRATS_001")
    put(tmp_path / "imagesTs" / "BRATS_485.nii.gz")
    assert said(tmp_path, MSD01) == []
    put(tmp_path / "labelsTr" / "BRATS_001 (copy).nii.gz")
    put(tmp_path / "more.nii")
    (tmp_path / "imagesTr" / "BRATS_002.mha").write_bytes(b"-")
    found = said(tmp_path, MSD01)
    assert [(severity, file) for severity, file, _ in found] == [("warning", "."), ("warning", "imagesTr")]
    assert "found 1 image file that no pattern takes (more.nii): add" in found[0][2]
    assert "convert them to .nii.gz" in found[1][2]
    # What fits the label's pattern is a case without images.
    assert [case.name for case in find_cases(tmp_path, MSD01)] == ["BRATS_001", "BRATS_001 (copy)"]


def test_links_that_go_round_are_followed_once(tmp_path):
    write_study(tmp_path, BRATS2020)
    (tmp_path / "one" / "again").symlink_to(tmp_path)
    put(tmp_path / "other" / "x" / "a.nii.gz")
    assert [file for _, file, _ in said(tmp_path, BRATS2020)] == ["other"]


def test_ignoring_files_prepares_nothing_again(tmp_path):
    write_study(tmp_path / "study", BRATS2020)
    before = prepare(tmp_path / "study", BRATS2020, tmp_path / "store")
    after = prepare(tmp_path / "study", replace(BRATS2020, ignore=("x/*",)), tmp_path / "store")
    assert {name: r.key for name, r in before.records.items()} == {
        name: r.key for name, r in after.records.items()
    }
