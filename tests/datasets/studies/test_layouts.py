"""Every dataset is found, recognised, checked and prepared as it is handed out, by its description alone."""

import json

import numpy as np
import pytest
from nifti_study import SHAPE, head, rewrite, write_case, write_study

from bench_errors import InputError
from benchmark.commands.data import check_folder
from datasets.preparation.check import check_study
from datasets.preparation.find import find_cases, recognise
from datasets.preparation.prepare import prepare
from datasets.store.store import Store
from datasets.studies.brats import BRATS2018, BRATS2020, BRATS2023, BRATS2024, MODALITIES, TABLE_ORDER
from datasets.studies.msd import MSD01
from datasets.studies.myops import MYOPS2020
from datasets.studies.names import DATASETS
from datasets.studies.patterns import filled
from datasets.vocabulary import Description, patient, subsets, table_subsets

OFFICIAL = {
    "brats2018": "Brats18_TCIA01_390_1",
    "brats2019": "BraTS19_CBICA_AAB_1",
    "brats2020": "BraTS20_Training_001",
    "brats2021": "BraTS2021_00000",
    "brats2023": "BraTS-GLI-00000-000",
    "brats2024": "BraTS-GLI-00005-100",
    "brats2023-ssa": "BraTS-SSA-00002-000",
    "brats2023-ped": "BraTS-PED-00002-000",
    "brats2023-met": "BraTS-MET-00002-000",
    "fets2022": "FeTS2022_00000",
    "fets2024": "FeTS2024_00000",
    "msd01": "BRATS_001",
    "myops2020": "myops_training_101",
    "mslesseg": "P1_T1",
    "ljubljana": "patient01",
    "msseg2016": "Patient_01",
    "isles2022": "sub-strokecase0001",
    "wmh2017": "100",
    "hecktor2022": "CHUM-001",
    "hecktor2025": "CHUM-001",
    "autopet": "08-12-2003-NA-PET-CT Ganzkoerper primaer mit KM-58839",
    "phantom": "Phantom_001",
    "phantom2": "Phantom2_001",
}
WORDS = {
    **{"grade": "LGG", "part": "Training", "center": "Center_01", "subject": "PETCT_0af7ffe12a"},
    **{"visit": "T1", "site": "Utrecht", "scanner": "GE3T", "hospital": "south"},
}
"""What the words in braces stand for."""
LAYOUTS = [
    (name, layout) for name in DATASETS for layout in range(len(DATASETS.get(name).layouts))
]  # fmt: skip
OF_VOLUMES = [(name, layout) for name, layout in LAYOUTS if DATASETS.get(name).slices is None]


@pytest.mark.parametrize(("name", "layout"), OF_VOLUMES)
def test_every_layout_of_every_dataset(tmp_path, name, layout):
    description = DATASETS.get(name)
    assert description.name == name
    named = {}
    for case in (OFFICIAL.get(name, "101"), "a Ünit"):
        write_case(tmp_path / "study", description, case, layout=layout, **WORDS)
        named[case] = filled(description.layouts[layout].name, {"case": case, **WORDS})
    found = find_cases(tmp_path / "study", description)
    assert [case.name for case in found] == sorted(named.values())
    assert all(list(case.files) == list(description.modalities) and case.label for case in found)
    assert all(case.spare == case.faults == () for case in found)
    if name in OFFICIAL:
        assert recognise(tmp_path / "study") == description
    assert check_study(tmp_path / "study", description) == []
    store = prepare(tmp_path / "study", description, tmp_path / "store")
    volumes, labels = head("a Ünit", description.modalities, file_labels=tuple(description.file_labels))
    for m, modality in enumerate(description.modalities):
        tissue = volumes[modality][1:-1, 1:-1, 1:-1]
        if (normalise := description.normalisation(modality)).rule == "window":
            tissue = np.clip(tissue, *normalise.limits)
        assert store.record(named["a Ünit"]).shape == SHAPE
        stored = store.volumes(named["a Ünit"])[m][1:-1, 1:-1, 1:-1]
        assert np.corrcoef(tissue.ravel(), stored.ravel())[0, 1] > 0.999
    assert np.array_equal(store.labels(named["a Ünit"]), np.vectorize(description.file_labels.get)(labels))


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_every_layout_of_every_dataset_broken(tmp_path, name, layout):
    description = DATASETS.get(name)
    kept, lost, strange, cut = "101", "102", "103", "104"
    paths = {
        case: write_case(tmp_path / "study", description, case, layout=layout, **WORDS)
        for case in (kept, lost, strange, cut)
    }
    paths[lost]["label"].unlink()
    rewrite(paths[strange]["label"], lambda array, affine: (np.where(array, 77, array), affine))
    image = paths[cut][description.modalities[-1 if not description.channels else description.channels[0]]]
    image.write_bytes(image.read_bytes()[:-40])
    lacks = None if description.channels else description.modalities[1]
    if lacks:
        paths[kept][lacks].unlink()
    found = {problem.case: problem for problem in reversed(check_study(tmp_path / "study", description))}
    of = {case: filled(description.layouts[layout].name, {"case": case, **WORDS}) for case in paths}
    severities = {case: found[of[case]].severity for case in paths if of[case] in found}
    assert severities == {**({kept: "note"} if lacks else {}), lost: "error", strange: "error", cut: "error"}
    if lacks:
        assert f"modality {lacks} is missing" in found[of[kept]].message
    assert "found no label, expected" in found[of[lost]].message
    assert "found label 77" in found[of[strange]].message
    with pytest.raises(InputError, match="the store is not changed"):
        prepare(tmp_path / "study", description, tmp_path / "store")


def test_names_that_two_years_share_are_told_by_the_check(tmp_path, capsys):
    for description, other in (("fets2022", "fets2024"), ("msseg2016", "msseg2016-hga")):
        for case in ("FeTS2022_00000", "FeTS2022_00001"):
            write_case(tmp_path / description, DATASETS.get(description), case, **WORDS)
        assert check_folder(tmp_path / description, None, as_json=False) == 0
        first, second, _ = capsys.readouterr().out.splitlines()
        assert first.startswith(f"{description}: 2 cases")
        assert second == f"files and names of {other} are alike: if it is that, say so with --dataset"
        assert check_folder(tmp_path / description, other, as_json=False) == 0
        assert "are alike" not in capsys.readouterr().out


def test_bodies_have_no_box_of_a_head(tmp_path):
    write_case(tmp_path / "study", DATASETS.get("autopet"), "a", **WORDS)
    with pytest.raises(InputError, match="those of autopet are taken whole: leave it out"):
        prepare(tmp_path / "study", DATASETS.get("autopet"), tmp_path / "store", "released")


@pytest.mark.parametrize("name", list(DATASETS))
def test_descriptions_are_whole_and_go_through_json(name):
    description = DATASETS.get(name)
    assert Description.from_dict(json.loads(json.dumps(description.to_dict()))) == description
    count = len(description.modalities)
    assert sorted(table_subsets(description)) == sorted(subsets(description.modalities))
    assert len(table_subsets(description)) == 2**count - 1
    assert sorted(description.profile_order) == sorted(description.modalities)
    assert all(len(layout.files) == count for layout in description.layouts)
    assert set(description.file_labels.values()) == set(range(len(description.classes)))
    for region in description.regions:
        assert 0 < min(region.classes) <= max(region.classes) < len(description.classes)
    if description.modalities == MODALITIES:
        assert description.table_order is TABLE_ORDER


def test_records_of_older_versions_are_read():
    values = BRATS2020.to_dict()
    del values["layouts"]
    assert Description.from_dict({**values, "suffixes": ["_flair"]}).modalities == MODALITIES


def test_every_dataset_of_the_field_is_named():
    assert set(DATASETS) >= {*OFFICIAL, "phantom-heart"}
    assert len(table_subsets(MYOPS2020)) == 7
    assert [region.name for region in MYOPS2020.regions] == ["LVB", "RVB", "MYO"]


def test_labels_of_the_years():
    assert (
        BRATS2020.file_labels[4]
        == BRATS2023.file_labels[3]
        == BRATS2024.file_labels[3]
        == MSD01.file_labels[3]
    )
    assert BRATS2024.classes[BRATS2024.file_labels[4]] == "resection cavity"
    assert MSD01.classes[MSD01.file_labels[1]] == "oedema"


def test_grade_becomes_a_column_that_the_store_keeps(tmp_path):
    for name, grade in (("Brats18_A_1", "HGG"), ("Brats18_B_1", "LGG")):
        write_case(tmp_path / "study", BRATS2018, name, grade=grade)
    (tmp_path / "study" / "survival_data.csv").write_text("-")
    assert [case.columns for case in find_cases(tmp_path / "study", BRATS2018)] == [
        {"grade": "HGG"},
        {"grade": "LGG"},
    ]
    prepare(tmp_path / "study", BRATS2018, tmp_path / "store")
    assert Store.open(tmp_path / "store").record("Brats18_B_1").columns == {"grade": "LGG"}


def test_hidden_files_of_an_archive_are_passed_over(tmp_path):
    write_case(tmp_path, MSD01, "BRATS_001")
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "._BRATS_001.nii.gz").write_bytes(b"\0\5\x16\7")
    assert [case.name for case in find_cases(tmp_path, MSD01)] == ["BRATS_001"]
    assert check_study(tmp_path) == []


def test_cases_side_by_side_keep_spare_files_apart(tmp_path):
    for name in ("myops_training_101", "myops_training_102"):
        paths = write_case(tmp_path, MYOPS2020, name, layout=1)
    paths["t2"].rename(paths["t2"].with_name("myops_training_102_T2w.nii.gz"))
    first, second = find_cases(tmp_path, MYOPS2020)
    assert first.spare == ()
    assert second.spare == ("train25/myops_training_102_T2w.nii.gz",)
    unused, problem = check_study(tmp_path)
    assert "no pattern takes (train25/myops_training_102_T2w.nii.gz)" in unused.message
    assert problem.file == "train25/myops_training_102_T2.nii.gz"
    assert "found also train25/myops_training_102_T2w.nii.gz" in problem.message


@pytest.mark.parametrize(
    ("description", "case", "expected"),
    [
        (BRATS2018, "Brats18_TCIA01_390_1", "TCIA01_390"),
        (BRATS2023, "BraTS-GLI-00005-100", "00005"),
        (BRATS2023, "TCGA-FG-6692", "TCGA-FG-6692"),
        (BRATS2020, "BraTS20_Training_001", "BraTS20_Training_001"),
    ],
)
def test_patients(description, case, expected):
    assert patient(case, description) == expected


def test_recognises_2024_by_its_scans(tmp_path):
    write_study(tmp_path, BRATS2024, ["BraTS-GLI-00005-100", "BraTS-GLI-00005-101"])
    assert recognise(tmp_path) == BRATS2024
