"""What the `bench data` commands print."""

import shutil
import sys

import pytest
from nifti_study import write_case

from bench_errors import InputError
from benchmark.commands.app import main
from benchmark.commands.data import check_folder, prepare_folder, verify_store
from datasets.phantom.study import write_study
from datasets.studies.myops import MYOPS2020


def test_prepare_says_what_it_leaves_out_and_verify_what_is_damaged(tmp_path, capsys):
    one, two, _, four = write_study(tmp_path / "study", cases=4, size=32)
    prepare_folder(tmp_path / "study", "brats2020", tmp_path / "store", "full", False, None)
    (tmp_path / "study" / two / f"{two}_seg.nii.gz").unlink()
    shutil.rmtree(tmp_path / "study" / four)
    capsys.readouterr()
    prepare_folder(tmp_path / "study", "brats2020", tmp_path / "store", "full", True, 2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"left out {two}: {two}_seg.nii.gz: found no label")
    assert lines[1].startswith(f"removed {four}: its files are gone from")
    assert "prepared 0 cases" in lines[2]
    assert "kept 2: 2 in all" in lines[2]

    (volumes,) = (tmp_path / "store" / one).glob("*/volumes.b2nd")
    volumes.write_bytes(volumes.read_bytes()[:-1])
    assert verify_store(tmp_path / "store", None) == 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{one}: missing or damaged: volumes.b2nd; prepare it again")
    assert lines[1].startswith("2 cases, 1 damaged")
    with pytest.raises(InputError, match="does not exist"):
        verify_store(tmp_path / "nowhere", None)


def test_a_store_is_mended_by_the_rule_that_made_it(tmp_path, capsys):
    """The command that `verify` prints has the options of then, and without them nothing is prepared."""
    (one,) = write_study(tmp_path / "study", cases=1, size=32)
    out = tmp_path / "store"

    def call(box, resample):
        prepare_folder(tmp_path / "study", "brats2020", out, box, False, 1, resample)

    call("released", "1.50")
    (volumes,) = (out / one).glob("*/volumes.b2nd")
    volumes.write_bytes(b"")
    capsys.readouterr()
    assert verify_store(out, None) == 2
    again = f"bench data prepare FOLDER --dataset brats2020 --resample 1.5 --box released --out '{out}'"
    assert again in capsys.readouterr().out
    for box, resample, named in (
        ("full", "1.5", "--box released, now it is full"),
        ("released", "", "now it is none"),
    ):
        with pytest.raises(InputError, match=named):
            call(box, resample)
    assert not volumes.read_bytes()
    call("released", "1.5")
    assert "prepared 1 cases" in capsys.readouterr().out
    assert verify_store(out, None) == 0


def test_files_that_no_pattern_takes_are_named_by_check_and_prepare(tmp_path, capsys):
    _, two = write_study(tmp_path / "study", cases=2, size=32)
    deeper = tmp_path / "study" / "Amsterdam" / two
    deeper.parent.mkdir()
    (tmp_path / "study" / two).rename(deeper)
    assert check_folder(tmp_path / "study", "brats2020", as_json=False) == 1
    out = capsys.readouterr().out
    assert "found 5 image files that no pattern takes" in out
    assert "1 cases of 1 patients" in out
    prepare_folder(tmp_path / "study", "brats2020", tmp_path / "store", "full", False, None)
    out, warnings = capsys.readouterr()
    assert "prepared 1 cases" in out
    (warning,) = warnings.splitlines()
    assert warning.startswith("warning: Amsterdam: found 5 image files that no pattern takes")


def test_prepare_says_that_there_are_warnings(tmp_path, capsys):
    for name in ("one", "two"):
        write_case(tmp_path / "study", MYOPS2020, name, (300, 12, 8))
    for found in (2, 0):
        prepare_folder(tmp_path / "study", "phantom-heart", tmp_path / "store", "full", False, None)
        out, errors = capsys.readouterr()
        assert "2 in all" in out
        assert len(errors.splitlines()) == min(found, 1)
        if found:
            assert errors.startswith("warning: case 'one', one: found ")
            assert "labelled voxels and 14.1% of the head outside the middle 256x256 voxels" in errors
            check = f"bench data check '{tmp_path / 'study'}' --dataset phantom-heart"
            assert errors.endswith(f" (and 1 more warnings); see all with: {check}\n")


def test_patients_to_predict_are_checked_without_labels(tmp_path, capsys, monkeypatch):
    for name in write_study(tmp_path / "study", cases=2, size=32):
        (tmp_path / "study" / name / f"{name}_seg.nii.gz").unlink()
    for options, code, says in (([], 2, "2 errors"), (["--no-labels"], 0, "no problems")):
        monkeypatch.setattr(sys, "argv", ["bench", "data", "check", str(tmp_path / "study"), *options])
        with pytest.raises(SystemExit) as end:
            main()
        assert (end.value.code or 0) == code
        assert says in capsys.readouterr().out
