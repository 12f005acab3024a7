"""A study that a YAML file describes: everything wrong with the file is named by line and field."""

import json

import numpy as np
import pytest
from nifti_study import head, rewrite, write_case, write_image

from bench_errors import InputError
from datasets.preparation.check import check_study
from datasets.preparation.find import find_cases
from datasets.preparation.prepare import prepare
from datasets.studies.brats import TABLE_ORDER
from datasets.studies.from_yaml import read_description
from datasets.studies.msd import MSD01
from datasets.studies.names import DATASETS
from datasets.studies.patterns import filled
from datasets.vocabulary import Description, Layout, Normalisation, Region, patient, table_subsets

STROKE = """\
modalities:
  adc: "{site}/{case}/{case}_adc.nii.gz"
  dwi: "{site}/{case}/scans/{case}_dwi.nii.gz"
label: "{site}/{case}/{case}_msk.nii.gz"
labels: {core: 1, penumbra: [2, 7]}
regions:
  lesion: [core, penumbra]
  core: {classes: [core], min_voxels: 50}
  no: penumbra
patient: "([^-]+)-.*"
profile_order: [dwi, adc]
spatial_dims: 3
"""

PLAIN = """\
modalities: {t1: "{case}_0001.nii.gz", flair: "{case}_0000.nii.gz"}
label: "labels/{case}.nii.gz"
labels: {lesion: 1}
regions: {lesion: lesion}
"""


def written(folder, text, name="stroke.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_whole_description(tmp_path):
    found = DATASETS.get(str(written(tmp_path, STROKE)))
    assert found.name == "stroke"
    assert found.modalities == ("adc", "dwi")
    assert found.file_labels == {0: 0, 1: 1, 2: 2, 7: 2}
    assert found.classes == ("background", "core", "penumbra")
    assert found.regions == (
        Region("lesion", (1, 2)),
        Region("core", (1,), min_voxels=50),
        Region("no", (2,)),
    )
    assert found.profile_order == ("dwi", "adc")
    assert table_subsets(found) == [("adc",), ("dwi",), ("adc", "dwi")]


def test_its_study_is_found_checked_and_prepared(tmp_path):
    description = read_description(written(tmp_path, STROKE))
    for name, site in (("p1-1", "Basel"), ("p1-2", "Basel"), ("p2-1", "Genève")):
        write_case(tmp_path / "study", description, name, site=site)
    (tmp_path / "study" / "Basel" / "p1-2" / "scans" / "p1-2_dwi.nii.gz").unlink()
    cases = find_cases(tmp_path / "study", description)
    assert [case.columns["site"] for case in cases] == ["Basel", "Basel", "Genève"]
    (note,) = check_study(tmp_path / "study", description)
    assert (note.severity, note.file) == ("note", "scans/p1-2_dwi.nii.gz")
    store = prepare(tmp_path / "study", description, tmp_path / "store")
    assert store.description == description
    assert store.available("p1-2") == (True, False)
    assert "scans/p1-1_dwi.nii.gz" in store.record("p1-1").sources


def test_only_what_is_needed(tmp_path):
    description = read_description(written(tmp_path, PLAIN))
    write_case(tmp_path / "study", description, "a_0001")
    write_case(tmp_path / "study", description, "b")
    assert [case.name for case in find_cases(tmp_path / "study", description)] == ["a_0001", "b"]
    assert check_study(tmp_path / "study", description) == []
    assert description.profile_order == ("t1", "flair")


def test_four_modalities_of_brats_have_the_papers_order(tmp_path):
    files = ", ".join(f'{m}: "{{case}}/{m}.nii"' for m in ("t1", "t2", "flair", "t1ce"))
    text = f'modalities: {{{files}}}\nlabel: "{{case}}/s.nii"\nlabels: {{a: 1}}\nregions: {{a: a}}\n'
    found = table_subsets(read_description(written(tmp_path, text)))
    assert [set(subset) for subset in found] == [set(subset) for subset in TABLE_ORDER]
    assert found[5] == ("t1", "t1ce")


def test_several_modalities_in_a_file(tmp_path):
    text = STROKE.replace(
        '"{site}/{case}/{case}_adc.nii.gz"', '{file: "{site}/{case}/{case}.nii.gz", channel: 1}'
    ).replace('"{site}/{case}/scans/{case}_dwi.nii.gz"', '{file: "{site}/{case}/{case}.nii.gz", channel: 0}')
    description = read_description(written(tmp_path, text))
    assert description.channels == (1, 0)
    write_case(tmp_path / "study", description, "p1-1", site="Bern")
    assert check_study(tmp_path / "study", description) == []


def test_two_of_the_channels_of_a_file(tmp_path):
    text = "modalities:\n"
    for name, channel in (("flair", 0), ("t1ce", 2)):
        text += f'  {name}: {{file: "imagesTr/{{case}}.nii.gz", channel: {channel}}}\n'
    text += 'label: "labelsTr/{case}.nii.gz"\nlabels: {a: 1, b: 2, c: 3}\nregions: {a: a}\n'
    description = read_description(written(tmp_path, text))
    paths = write_case(tmp_path / "study", MSD01, "BRATS_001")
    (note,) = check_study(tmp_path / "study", description)
    assert (note.severity, note.file) == ("note", "imagesTr/BRATS_001.nii.gz")
    assert note.message == "found 4 volumes along the fourth axis, no modality takes 1, 3 (from 0)"
    store = prepare(tmp_path / "study", description, tmp_path / "store")
    whole = prepare(tmp_path / "study", MSD01, tmp_path / "whole")
    for m, modality in enumerate(("flair", "t1ce")):
        expected = whole.volumes("BRATS_001")[MSD01.modalities.index(modality)]
        # The head, and so the mean, is that of the modalities that are taken: a straight line between both.
        assert np.corrcoef(store.volumes("BRATS_001")[m].ravel(), expected.ravel())[0, 1] > 1 - 1e-6
    rewrite(paths["flair"], lambda array, affine: (array[..., :2], affine))
    (error,) = check_study(tmp_path / "study", description)
    assert "(12x10x8x2), expected 4 with 3 or more volumes along the last" in error.message


def test_files_of_several_modalities_each_with_channels_of_its_own(tmp_path):
    text = """\
modalities:
  a: {file: "{case}/ab.nii.gz", channel: 0}
  b: {file: "{case}/ab.nii.gz", channel: 1}
  c: {file: "{case}/c.nii.gz", channel: 0}
label: "{case}/label.nii.gz"
labels: {x: 1}
regions: {x: x}
"""
    description = read_description(written(tmp_path, text))
    volumes, labels = head("one", ("a", "b", "c"), file_labels=(0, 1))
    folder = tmp_path / "study" / "one"
    write_image(folder / "ab.nii.gz", np.stack([volumes["a"], volumes["b"]], axis=-1))
    write_image(folder / "c.nii.gz", volumes["c"][..., None])
    write_image(folder / "label.nii.gz", labels)
    assert check_study(tmp_path / "study", description) == []


LISTS = (
    PLAIN.replace('"{case}_0001.nii.gz"', '["a/{case}_0001.nii.gz", "b/{when}/{case}_1.nii.gz"]')
    .replace('"{case}_0000.nii.gz"', '["a/{case}_0000.nii.gz", "b/{when}/{case}_0.nii.gz"]')
    .replace('"labels/{case}.nii.gz"', '["a/{case}.nii.gz", "b/{when}/{case}.nii.gz"]')
)


def test_lists_of_patterns_are_layouts(tmp_path):
    description = read_description(written(tmp_path, LISTS))
    assert description.layouts == (
        Layout(("a/{case}_0001", "a/{case}_0000"), "a/{case}"),
        Layout(("b/{when}/{case}_1", "b/{when}/{case}_0"), "b/{when}/{case}"),
    )
    text = LISTS + 'case: ["{case}", "{when}-{case}"]\nignore: ["c/*"]\n'
    description = read_description(written(tmp_path, text))
    assert [layout.name for layout in description.layouts] == ["{case}", "{when}-{case}"]
    assert description.ignore == ("c/*",)
    one_label = PLAIN.replace('"{case}_0001.nii.gz"', '["{case}_0001.nii.gz", "{case}_1.nii.gz"]')
    one_label = one_label.replace('"{case}_0000.nii.gz"', '["{case}_0000.nii.gz", "{case}_0.nii.gz"]')
    description = read_description(written(tmp_path, one_label))
    assert [layout.label for layout in description.layouts] == ["labels/{case}"] * 2


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            ', "b/{when}/{case}_1.nii.gz"',
            ', "b/{case}_1.nii.gz"',
            "line 1: modalities.t1: expected the words",
        ),
        (', "b/{when}/{case}_1.nii.gz"', ', "a.nii", "b.nii"', "t1: found 3 patterns, expected 1 or 2"),
        (
            "b/{when}/{case}_1.nii.gz",
            "../x.nii",
            "modalities.t1, entry 2: expected a path below the study's folder",
        ),
        ("labels:", "case: x\nlabels:", "line 3: case: expected words in braces that the patterns have"),
        ("labels:", 'case: "{site}_{case}"\nlabels:', "label: expected {site} in the pattern"),
        ("labels:", 'case: "{when}"\nlabels:', "modalities.t1: expected {when} in the pattern, found 'a/"),
        ("labels:", 'case: "{a}/{case}"\nlabels:', "case: expected words in braces"),
        ("labels:", "ignore: imagesTs\nlabels:", "line 3: ignore: expected a list, found 'imagesTs'"),
    ],
)
def test_what_is_wrong_with_lists_of_patterns(tmp_path, old, new, says):
    assert old in LISTS
    with pytest.raises(InputError) as caught:
        read_description(written(tmp_path, LISTS.replace(old, new, 1)))
    assert says in str(caught.value)


IMAGES = """\
mask: "{site}/{case}/{case}_brain.nii"
background: -1024
normalise: {adc: {window: [-100, 300]}}
"""


def test_mask_background_and_normalisation(tmp_path):
    description = read_description(written(tmp_path, STROKE + IMAGES))
    assert description.layouts[0].mask == "{site}/{case}/{case}_brain"
    assert description.background == -1024
    assert description.normalise == (Normalisation("window", (-100, 300)), Normalisation())
    assert description.normalisation("dwi") == Normalisation("zscore")
    assert Description.from_dict(json.loads(json.dumps(description.to_dict()))) == description
    assert read_description(written(tmp_path, STROKE)).normalise == ()
    rules = "normalise: {adc: none, dwi: {percentiles: [0.5, 99.5]}}\n"
    found = read_description(written(tmp_path, STROKE + rules)).normalise
    assert found == (Normalisation("none"), Normalisation("percentiles", (0.5, 99.5)))


WRONG_IMAGES = {
    # kind: (what stands after STROKE, what is said of it)
    "mask elsewhere": ('mask: "../{case}.nii"', "line 13: mask: expected a path below the study"),
    "mask is the label": (
        'mask: "{site}/{case}/{case}_msk.nii.gz"',
        "line 13: mask: the same file as another",
    ),
    "mask of other words": ('mask: "{case}.nii"', "mask: expected the words in braces that label has"),
    "background word": ("background: air", "line 13: background: expected a number, found 'air'"),
    "background infinite": ("background: .inf", "line 13: background: found .inf, expected "),
    "background truth": ("background: yes", "line 13: background: found yes, expected true, false, a finite"),
    "no rules": (
        "normalise: none",
        "line 13: normalise: expected a mapping, found 'none'",
    ),
    "unknown modality": (
        "normalise: {adx: none}",
        "line 13: normalise.adx: unknown modality 'adx': did you mean adc",
    ),
    "unknown rule": (
        "normalise: {adc: minmax}",
        "normalise.adc: expected zscore, none, {window: [low, high]} or",
    ),
    "two rules": (
        "normalise: {adc: {window: [0, 1], percentiles: [0, 1]}}",
        "normalise.adc: expected zscore, none",
    ),
    "limits the other way": (
        "normalise: {adc: {window: [9, 1]}}",
        "normalise.adc.window: expected [low, high], found",
    ),
    "one limit": ("normalise: {adc: {window: [9]}}", "normalise.adc.window: expected [low, high], found [9]"),
    "words as limits": (
        "normalise: {adc: {window: [a, b]}}",
        "normalise.adc.window: expected [low, high], found",
    ),
    "beyond 100": (
        "normalise: {adc: {percentiles: [1, 101]}}",
        "expected [low, high] within 0 and 100, found [1, 101]",
    ),
}


@pytest.mark.parametrize("kind", WRONG_IMAGES)
def test_what_is_wrong_with_mask_background_and_normalisation(tmp_path, kind):
    text, says = WRONG_IMAGES[kind]
    with pytest.raises(InputError) as caught:
        read_description(written(tmp_path, STROKE + text + "\n"))
    assert says in str(caught.value)


ADC = '"{site}/{case}/{case}_adc.nii.gz"'
MASK = '"{site}/{case}/{case}_msk.nii.gz"'

WRONG = {
    # kind: (what stands in the file, what is put in its place, what is said of it)
    "no mapping": (STROKE, "- adc\n", "expected a mapping with the keys modalities, label, labels, regions"),
    "empty": (STROKE, "", "expected a mapping with the keys"),
    "no YAML": (STROKE, "a: [1\n", "is not YAML"),
    "unknown key": (
        "spatial_dims",
        "spatial",
        "line 12: spatial: no such option here, did you mean spatial_dims?",
    ),
    "missing key": ("label:", "labe:", "line 1: label is missing"),
    "key twice": ("profile_order: [dwi, adc]", "spatial_dims: 2", "line 12: spatial_dims stands there twice"),
    "one modality": (f"  adc: {ADC}\n", "", "line 1: modalities: expected 2 or more entries, found {'dwi'"),
    "not a mapping": (
        STROKE[: STROKE.index("label:")],
        "modalities: [a]\n",
        "line 1: modalities: expected a mapping, found ['a']",
    ),
    "word some take for false": (
        "dims: 3",
        "dims: no",
        "line 12: spatial_dims: found no, expected true, false",
    ),
    "name too long": (
        "  adc:",
        f"  {'a' * 33}:",
        "expected another name, of at most 32 letters, digits, - and _",
    ),
    "region too long": ("  lesion:", f"  {'a' * 65}:", "expected a name of at most 64 letters and digits"),
    "dims true": ("dims: 3", "dims: true", "line 12: spatial_dims: expected 2 or 3, found True"),
    "value true": ("core: 1,", "core: true,", "line 5: labels.core: expected a whole number, found True"),
    "value with a point": ("core: 1,", "core: 1.0,", "labels.core: expected a whole number, found 1.0"),
    "name with plus": ("  adc:", "  a+b:", "line 2: modalities.a+b: expected another name"),
    "reserved name": ("  adc:", "  label:", "line 2: modalities.label: expected another name"),
    "no ending": (
        "_adc.nii.gz",
        "_adc.mha",
        "line 2: modalities.adc: expected a pattern that ends",
    ),
    "no case": (ADC, '"{site}/adc.nii.gz"', "line 2: modalities.adc: expected {case} in the pattern"),
    "outside": (ADC, '"../{case}_adc.nii.gz"', "line 2: modalities.adc: expected a path below the study"),
    "absolute": (MASK, '"/{case}_msk.nii.gz"', "line 4: label: expected a path below the study"),
    "braces": (ADC, '"{site/{case}_adc.nii.gz"', "modalities.adc: expected braces around single words"),
    "other words": (MASK, '"{case}.nii"', "modalities.adc: expected the words in braces that label has"),
    "same file": ("scans/{case}_dwi", "{case}_adc", "line 3: modalities.dwi: the same file as adc, expected"),
    "label as modality": ("_msk", "_adc", "line 4: label: the same file as a modality"),
    "channel for one": (ADC, f"{{file: {ADC}, channel: 0}}", "a channel for every modality or for none"),
    "channel word": (
        ADC,
        f"{{file: {ADC}, channel: x}}",
        "adc.channel: expected a whole number, found 'x'",
    ),
    "key of a modality": (
        ADC,
        f"{{fil: {ADC}}}",
        "modalities.adc.fil: no such option here, did you mean f",
    ),
    "pattern as number": (ADC, "7", "line 2: modalities.adc: expected a file pattern such as"),
    "label value": ("core: 1,", "core: one,", "line 5: labels.core: expected a whole number, found 'one'"),
    "label twice": ("[2, 7]", "[1, 7]", "line 5: labels.penumbra: value 1 stands for core too"),
    "label zero": ("core: 1,", "core: 0,", "line 5: labels.core: value 0 stands for background too"),
    "unknown class": (
        "core, penumbra]\n",
        "penumbre]\n",
        "line 7: regions.lesion: unknown class 'penumbre'",
    ),
    "no class": ("[core, penumbra]", "[]", "line 7: regions.lesion: expected 1 or more entries, found []"),
    "region key": (
        "min_voxels",
        "min",
        "line 8: regions.core.min: no such option here, remove it; known are c",
    ),
    "region size": ("50", "-1", "line 8: regions.core.min_voxels: expected 0 or more, found -1"),
    "patient": ('"([^-]+)-.*"', '".*"', "line 10: patient: expected a pattern with one group"),
    "no expression": ('"([^-]+)-.*"', '"(("', "line 10: patient is no regular expression"),
    "profile order": ("[dwi, adc]", "[dwi, dwi]", "line 11: profile_order: expected each of adc, dwi once"),
    "dims": ("dims: 3", "dims: 4", "line 12: spatial_dims: expected 2 or 3, found 4"),
    "too deep": ('"([^-]+)-.*"', "&a [*a]", "line 10: expected at most 32 levels"),
    "tag": (
        "dims: 3",
        "dims: !!python/name:os.system 3",
        "line 12: spatial_dims has the tag tag:",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_named_by_line_and_field(tmp_path, kind):
    old, new, says = WRONG[kind]
    assert old in STROKE
    path = written(tmp_path, STROKE.replace(old, new))
    with pytest.raises(InputError) as caught:
        read_description(path)
    assert str(caught.value).startswith(f"dataset {path}")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_patient_in_the_paths_needs_a_pattern_of_names(tmp_path):
    """The division goes by names alone: cases of one patient would be on both sides."""
    text = STROKE.replace("{site}", "{patient}")
    assert read_description(written(tmp_path, text)).patient == "([^-]+)-.*"
    without = text.replace('patient: "([^-]+)-.*"\n', "")
    with pytest.raises(InputError) as caught:
        read_description(written(tmp_path, without))
    advice = """case: "{patient}--{case}" and patient: "(.+?)--.+\""""
    assert "patient: expected a pattern, as {patient} in the paths keeps no patient" in str(caught.value)
    assert advice in str(caught.value)
    described = read_description(written(tmp_path, without + advice.replace(" and ", "\n")))
    names = [filled(described.layouts[0].name, {"patient": p, "case": c}) for p in "ab" for c in ("1-1", "2")]
    assert [patient(name, described) for name in names] == ["a", "a", "b", "b"]


def test_everything_that_is_wrong_is_said_at_once(tmp_path):
    text = STROKE.replace("spatial_dims: 3", "spatial_dims: 4").replace("core: 1,", "core: x,")
    with pytest.raises(InputError, match=r"line 5: labels\.core: .*; line 12: spatial_dims: "):
        read_description(written(tmp_path, text))


def test_a_file_without_channel_is_a_pattern(tmp_path):
    short = read_description(written(tmp_path, STROKE))
    assert read_description(written(tmp_path, STROKE.replace(ADC, f"{{file: {ADC}}}"))) == short


def test_names_and_files(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml cannot be read \(No such file"):
        DATASETS.get(str(tmp_path / "nowhere.yaml"))
    with pytest.raises(InputError, match="would be called 'brats2020'"):
        read_description(written(tmp_path, STROKE, "brats2020.yaml"))
    with pytest.raises(InputError, match=r"would be called 'a{65}'.* up to 64 letters"):
        read_description(written(tmp_path, STROKE, f"{'a' * 65}.yaml"))
    with pytest.raises(InputError, match="would be called 'my study'"):
        read_description(written(tmp_path, STROKE, "my study.yaml"))
    with pytest.raises(InputError, match="custom is one that you describe"):
        DATASETS.get("custom")
    assert DATASETS.check("any.yaml") == "any.yaml"
