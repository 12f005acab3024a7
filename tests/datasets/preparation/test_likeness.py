"""What is alike among cases, and what is said of one that is not so."""

import yaml
from nifti_study import rewrite, write_study

from datasets.preparation.likeness import Appearance, Likeness
from datasets.preparation.prepare import prepare
from datasets.studies.brats import BRATS2020

RAW = Likeness("LPS", ((1.0, 1.0),) * 3, (1000.0, 1500.0), {"flair": (0.0, 0.01), "t1": (0.0, 0.0)})
NORMALISED = Likeness("LPS", ((1.0, 1.0),) * 3, (1000.0, 1500.0), {"flair": (0.4, 0.55)})
SOUND = Appearance((1.0, 1.0, 1.0), 1200.0, {"flair": 0.005})


def look(**changes):
    return Appearance(
        **{"spacing": SOUND.spacing, "tissue": SOUND.tissue, "negative": SOUND.negative, **changes}
    )


def test_of_prepared_cases(tmp_path):
    study = write_study(tmp_path / "study", BRATS2020, ("one", "two"))
    for path in study["two"].values():
        rewrite(path, lambda a, m: (a, m @ [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    study["two"]["t1"].unlink()
    store = prepare(tmp_path / "study", BRATS2020, tmp_path / "store")
    found = Likeness.of(store, store.cases)
    assert found.orientation == "LPS"
    assert found.spacing == ((1, 2), (1, 1), (1, 1))
    assert found.tissue == (0.5, 1.0)
    assert found.negative == dict.fromkeys(BRATS2020.modalities, (0, 0))
    assert Likeness.from_dict(yaml.safe_load(yaml.safe_dump(found.to_dict()))) == found


def test_of_runs_of_older_versions():
    content = {"orientation": "LPS", "spacing": [[1, 1]] * 3, "tissue": None}
    assert Likeness.from_dict(content).differences(SOUND) == []


def test_what_looks_the_same_gets_no_remark():
    assert RAW.differences(SOUND) == []
    assert NORMALISED.differences(look(negative={"flair": 0.48})) == []


def test_what_looks_otherwise_is_said():
    (found,) = RAW.differences(look(negative={"flair": 0.5}))
    assert found.startswith(
        "flair looks normalised already: 50% of its voxels that are not background are neg"
    )
    assert "in training 1% at most" in found
    (found,) = NORMALISED.differences(SOUND)
    assert found.startswith(
        "flair looks as the scanner made it: 0% of its voxels are negative, in training 40%"
    )
    (found,) = RAW.differences(look(tissue=3000.0))
    assert "the head fills 3000 mL, in training 1000 to 1500: it looks like a skull" in found
    (found,) = RAW.differences(look(tissue=500.0), "in most cases")
    assert "in most cases 1000 to 1500: it looks like a part of the head" in found
    (found,) = RAW.differences(look(spacing=(1.0, 1.0, 5.5)))
    assert found == "the voxels are 1x1x5.5 mm, in training they were 1x1x1: resample the images to that"


def test_typical_is_the_middle_half():
    sizes = [1000, 1100, 1200, 1300, 1400, 5000, 9000]
    found = Likeness.typical([look(tissue=float(size), spacing=(1.0, 1.0, size / 1000)) for size in sizes])
    assert found.spacing[2] == (1.2, 1.4)
    assert found.tissue == (1200, 1750)
    three = Likeness.typical([look(tissue=float(size)) for size in (1000, 1200, 9000)])
    assert three.tissue == (1200, 1500)
