"""Finding the cases of a study in the layout of every dataset, and recognising which one it is."""

import numpy as np
import pytest
from nifti_study import write_case, write_image, write_study

from bench_errors import InputError
from datasets.preparation.find import find_cases, recognise
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020


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
