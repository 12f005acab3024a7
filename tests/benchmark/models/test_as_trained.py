"""A store whose cases lie otherwise than those of training is shown as training saw it, and it is said."""

from dataclasses import replace
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from nifti_study import write_study

from benchmark.evaluation.segment_case import Segmentation
from benchmark.models.as_trained import TurnedStore, warn_of_unlike
from datasets.missingness.degrade import Degradation, DegradedStore
from datasets.preparation.likeness import Likeness
from datasets.preparation.prepare import prepare
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020

LIKENESS = Likeness("LPS", ((1.0, 1.0),) * 3, (0.4, 0.6))


def model(**changes):
    return SimpleNamespace(name="RUN", likeness=replace(LIKENESS, **changes))


@pytest.fixture
def stores(tmp_path):
    """Of the same slices (which are not turned when they are prepared), as training saw them and turned."""
    made = []
    for name in ("LPS", "RAS"):
        for path in [p for files in write_study(tmp_path / name, MYOPS2020).values() for p in files.values()]:
            if name == "RAS":
                nib.save(nib.as_closest_canonical(nib.load(path)), path)
        made.append(prepare(tmp_path / name, MYOPS2020, tmp_path / f"store-{name}"))
    return made


def test_a_network_sees_the_same_of_images_that_are_turned(stores, tmp_path):
    straight, turned = stores
    expected, held = np.asarray(straight.volumes("one")), np.asarray(turned.volumes("one"))
    assert not np.allclose(held, expected, atol=1e-3)
    seen = TurnedStore.of(turned, model())
    assert np.allclose(seen.volumes("one"), expected, atol=1e-5)
    labels = np.asarray(straight.labels("one"))
    assert np.array_equal(seen.labels("one"), labels)
    foreground = np.asarray(seen.volumes("one"))[:1, labels > 0]
    back = seen.turned_back("one", Segmentation({"t2": labels}, {"t2": foreground}))
    assert np.array_equal(back.maps["t2"], turned.labels("one"))
    assert np.array_equal(back.probabilities["t2"], held[:1, np.asarray(turned.labels("one")) > 0])
    # Nothing is turned where training did not lie in one way, or as it lies already.
    assert np.array_equal(TurnedStore.of(turned, model(orientation="")).volumes("one"), held)
    assert np.array_equal(TurnedStore.of(straight, model()).volumes("one"), expected)
    degraded = DegradedStore.of(turned, {("one", "t2"): Degradation.parse("noise-3")}, tmp_path / "cache")
    assert not np.allclose(TurnedStore.of(degraded, model()).volumes("one")[2], expected[2], atol=1e-3)


def test_what_differs_from_training_is_said(stores, capsys):
    straight, turned = stores
    warn_of_unlike(model(), straight, straight.cases)
    assert capsys.readouterr().err == ""
    warn_of_unlike(model(), turned, turned.cases)
    assert capsys.readouterr().err == "turned from RAS to LPS, as in training\n"
    warn_of_unlike(model(spacing=((1.0, 1.0), (1.0, 1.0), (5.0, 5.0))), straight, straight.cases)
    error = capsys.readouterr().err
    assert "warning: 2 of 2 cases are not like the training data, such as one: the voxels are 1x1x1" in error
    warn_of_unlike(model(tissue=(900.0, 2000.0)), straight, ["two"])
    assert (
        "1 of 1 cases are not like the training data, such as two: the head fills 0.48 mL"
        in capsys.readouterr().err
    )
    warn_of_unlike(SimpleNamespace(name="RUN", likeness=None), straight, ["two"])
    assert "does not say what its training images looked like" in capsys.readouterr().err


def test_sizes_are_compared_along_the_axes_of_training(tmp_path, capsys):
    for files in write_study(tmp_path / "study", BRATS2020, ("one",)).values():
        for path in files.values():
            image = nib.load(path)
            affine = np.array([[0, 0, 5.0, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
            nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), affine), path)
    store = prepare(tmp_path / "study", BRATS2020, tmp_path / "store")
    warn_of_unlike(model(spacing=((5.0, 5.0), (1.0, 1.0), (1.0, 1.0)), tissue=(2.0, 3.0)), store, ["one"])
    assert "not like" not in capsys.readouterr().err
