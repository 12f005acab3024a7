from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from nifti_study import write_study

from bench_errors import InputError
from datasets.missingness.availability import (
    availability,
    check_profile,
    mechanism,
    pinned,
    read_csv,
    store_availability,
    unit,
)
from datasets.missingness.degrade import Degradation
from datasets.missingness.profile_file import read_profile
from datasets.preparation.prepare import prepare
from datasets.studies.brats import BRATS2018, BRATS2020
from datasets.studies.myops import MYOPS2020
from datasets.studies.names import DATASETS
from datasets.vocabulary import Layout

NAMES = [f"case{i:04}" for i in range(3000)]
SITES = """groups:
  column: site
  cases: sites.csv
  rates: {north: {t1ce: 0.1}, south: {t1ce: 0.9, t2: 0.5}}
"""


def write(folder, text, sites=None):
    path = folder / "mine.yaml"
    path.write_text(text)
    if sites is not None:
        (folder / "sites.csv").write_text("case,site\n" + "".join(f"{c},{s}\n" for c, s in sites.items()))
    return path


def made(folder, text, cases=NAMES, description=BRATS2020, **options):
    return availability(str(write(folder, text)), cases, description, **options)


def test_rates(tmp_path):
    table = made(tmp_path, "rates: {t1: 0.2, t1ce: 0.95, t2: 0.5}")
    assert table.nominal == {"flair": 0, "t1ce": 0.95, "t1": 0.2, "t2": 0.5}
    assert list(table.realised.values()) == pytest.approx([0, 0.95, 0.2, 0.5], abs=0.03)
    assert table.notes == ()
    assert table.definition == {"rates": {"t1": 0.2, "t1ce": 0.95, "t2": 0.5}}


def test_quotas_leave_to_chance_only_who_lacks_what(tmp_path):
    text = "rates: {t1: 0.2, t1ce: 0.95, flair: 0.4, t2: 0.6}\nquotas: true"
    tables = [made(tmp_path, text, NAMES[:200], seed=seed) for seed in (1, 2)]
    assert tables[0].hash != tables[1].hash
    assert tables[0].realised == tables[1].realised
    assert tables[0].table[:, 1].sum() == pytest.approx(10, abs=2)


def test_what_is_given_is_said(tmp_path):
    table = made(tmp_path, "rates: {t1ce: 0.9999999}", NAMES[:50])
    assert table.table[:, 1].sum() == 1
    case = table.cases[int(table.table[:, 1].argmax())]
    assert table.notes == (f"t1ce was drawn for no case: given to {case}, so that one has it",)


@pytest.mark.parametrize("rate", ["90", "95", "99"])
def test_shipped_extreme_profiles(rate):
    table = availability(f"extreme{rate}", NAMES[:200], BRATS2020)
    assert table.nominal["t1ce"] == int(rate) / 100
    assert table.table.any(axis=0).all()
    assert table.realised["t1ce"] == pytest.approx(int(rate) / 100, abs=0.05)
    assert pinned(f"extreme{rate}", BRATS2020) == f"extreme{rate}"
    with pytest.raises(InputError, match="unknown modality 't1'"):
        check_profile(f"extreme{rate}", MYOPS2020)


def test_rates_by_a_column_of_the_cases(tmp_path):
    sites = {case: "south" if i % 4 else "north" for i, case in enumerate(NAMES)}
    write(tmp_path, SITES, sites)
    table = availability(str(tmp_path / "mine.yaml"), NAMES, BRATS2020)
    north = np.array([sites[case] == "north" for case in NAMES])
    assert (~table.table[north]).mean(axis=0) == pytest.approx([0, 0.1, 0, 0], abs=0.04)
    assert (~table.table[~north]).mean(axis=0) == pytest.approx([0, 0.9, 0, 0.5], abs=0.04)
    assert table.nominal is None
    assert [note[:17] for note in table.notes] == ["site north: 750 c", "site south: 2250 "]
    with pytest.raises(InputError, match=r"the site of 1 of 2 cases is not known \(new\)"):
        availability(str(tmp_path / "mine.yaml"), [NAMES[0], "new"], BRATS2020)


def test_rates_by_grade_need_no_csv(tmp_path):
    text = "groups: {column: grade, rates: {HGG: {t2: 0.99}, LGG: {flair: 0.99}}}"
    names = [f"BraTS20_Training_{i:03}" for i in range(1, 370)]
    table = made(tmp_path, text, names)
    lgg = np.array([259 < i < 336 for i in range(1, 370)])
    assert table.table[lgg, 3].all()
    assert table.table[~lgg, 0].all()
    assert table.realised["t2"] == pytest.approx(293 / 369 * 0.99, abs=0.03)


def test_rates_by_what_the_paths_of_the_files_tell(tmp_path):
    text = "groups: {column: grade, rates: {HGG: {t2: 0.99}, LGG: {flair: 0.99}}}"
    names = NAMES[:200]
    columns = {case: {"grade": "LGG" if i % 2 else "HGG"} for i, case in enumerate(names)}
    table = made(tmp_path, text, names, BRATS2018, columns=columns)
    assert table.table[1::2, 3].all()
    assert table.table[::2, 0].all()
    assert table.notes[0].startswith("grade HGG: 100 cases")
    with pytest.raises(InputError, match="the grade of 200 of 200 cases is not known"):
        made(tmp_path, text, names, BRATS2018)
    with pytest.raises(InputError, match="the files of myops2020 tell no column"):
        made(tmp_path, "groups: {column: grade, rates: {HGG: {}}}", names, MYOPS2020)
    by_site = replace(BRATS2020, layouts=(Layout.named("{site}/{case}/{case}", ("_a",), "_seg"),))
    sites = made(
        tmp_path,
        "groups: {column: site, rates: {x: {t1: 0.5}}}",
        ["a"],
        by_site,
        columns={"a": {"site": "x"}},
    )
    assert sites.notes[0].startswith("site x: 1 cases")


def test_the_csv_of_cases_may_have_its_own_heads(tmp_path):
    """As FeTS's partitioning_1.csv has."""
    rates = 'rates: {"1": {t1ce: 0.5}, "2": {}}'
    groups = f"column: Partition_ID, case: Subject_ID, cases: parts.csv, {rates}"
    path = write(tmp_path, f"groups: {{{groups}}}\n")
    cases = [f"FeTS2022_{i:05}" for i in range(20)]
    lines = ["Partition_ID,Subject_ID", *(f"{1 + i // 10},{case}" for i, case in enumerate(cases))]
    (tmp_path / "parts.csv").write_text("\n".join(lines))
    fets = DATASETS.get("fets2022")
    table = availability(str(path), cases, fets)
    assert (table.table[:10, 1].all(), table.table[10:].all()) == (False, True)
    said = "missing at random (MAR), if the Partition_ID is known without the images: by it"
    assert mechanism(table, fets) == said
    assert (
        table.notes[1]
        == "Partition_ID 2: 10 cases, missing rates flair 0.000, t1ce 0.000, t1 0.000, t2 0.000"
    )
    (tmp_path / "parts.csv").write_text("Partition_ID,case\n1,a\n")
    with pytest.raises(InputError, match="has no column Subject_ID, found Partition_ID, case"):
        read_profile(path, BRATS2020)


def test_a_limit_makes_two_groups_of_numbers(tmp_path):
    ages = "column: age, limit: 60, cases: ages.csv"
    path = write(tmp_path, f"groups: {{{ages}, rates: {{below: {{t1ce: 0.5}}, above: {{}}}}}}\n")
    cases = [f"c{i:02}" for i in range(20)]
    ends = [59.9] * 9 + [-3, 60] + [75] * 9
    (tmp_path / "ages.csv").write_text(
        "case,age\n" + "".join(f"{c},{a}\n" for c, a in zip(cases, ends, strict=True))
    )
    table = availability(str(path), cases, BRATS2020)
    assert (table.table[:10, 1].all(), table.table[10:].all()) == (False, True)
    said = "missing at random (MAR), if the age is known without the images: by it"
    assert mechanism(table, BRATS2020) == said
    digest = read_profile(path, BRATS2020).digest
    write(tmp_path, path.read_text().replace("limit: 60", "limit: 61"))
    assert read_profile(path, BRATS2020).digest != digest
    (tmp_path / "ages.csv").write_text("case,age\nc00,old\nc01,nan\n")
    with pytest.raises(InputError, match="the age of 20 of 20 cases is not known"):
        availability(str(path), cases, BRATS2020)


def test_what_is_to_be_found_may_decide_what_is_missing(tmp_path):
    names = [f"BraTS20_Training_{i:03}" for i in range(1, 9)]
    write_study(tmp_path / "study", BRATS2020, names)
    store = prepare(tmp_path / "study", BRATS2020, tmp_path / "store")
    sizes = {name: int(np.count_nonzero(store.labels(name))) for name in names}
    limit = sorted(sizes.values())[4]
    groups = f"column: labelled, limit: {limit}, rates: {{below: {{t1ce: 0.9}}, above: {{}}}}"
    path = write(tmp_path, f"groups: {{{groups}}}\n")
    table = store_availability(str(path), store, names)
    has = dict(zip(names, table.table[:, 1].tolist(), strict=True))
    assert all(has[name] for name in names if sizes[name] >= limit)
    assert sum(has[name] for name in names if sizes[name] < limit) <= 1
    assert mechanism(table, BRATS2020) == "missing not at random (MNAR): by what is to be found"
    write(tmp_path, "groups: {column: labelled, rates: {below: {}}}")
    with pytest.raises(InputError, match="labelled is a number of voxels: give a limit to it"):
        read_profile(path, BRATS2020)


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("mr2468", "missing completely at random (MCAR): by chance alone"),
        ("extreme90", "missing completely at random (MCAR): by chance alone"),
        ("based.yaml", "missing completely at random (MCAR): by chance alone"),
        ("complete", "nothing is missing"),
        ("csv:a.csv", "missing as the table has it, which does not say by what"),
    ],
)
def test_what_named_profiles_depend_on(tmp_path, monkeypatch, profile, said):
    monkeypatch.chdir(tmp_path)
    Path("based.yaml").write_text("base: mr2468")
    Path("a.csv").write_text("case,flair,t1ce,t1,t2\n" + "".join(f"{name},1,1,0,1\n" for name in NAMES))
    assert mechanism(availability(profile, NAMES, BRATS2020), BRATS2020) == said


def test_what_the_files_lack_is_told_apart_from_what_is_drawn(tmp_path):
    existing = np.ones((40, 4), dtype=bool)
    existing[:10, 2] = False
    write(tmp_path, "rules: [{absent: t1ce, when_absent: t1}]")
    for profile, said in (
        ("complete", "missing as the files are, which do not say by what"),
        (str(tmp_path / "mine.yaml"), "missing as the files are, which do not say by what"),
        ("mr2468", "missing completely at random (MCAR): by chance alone"),
    ):
        table = availability(profile, NAMES[:40], BRATS2020, existing=existing)
        assert mechanism(table, BRATS2020) == said
        assert table.notes[0] == "t1 is not there in the files of 10 of 40 cases"
        assert not table.table[:10, 2].any()


SCANS = replace(BRATS2020, patient=r"(.+)-[0-9]+", layouts=(Layout.named("{site}/{case}", ("_a",), "_seg"),))
OF_PATIENTS = [f"p{i:03}-{k}" for i in range(400) for k in range(3)]


@pytest.mark.parametrize(
    "text",
    [
        "rates: {t1: 0.3, t1ce: 0.7, t2: 0.5}\n",
        "base: ir2468\n",
        "base: mr2468\n",
        "groups: {column: site, rates: {north: {t1: 0.3}, south: {t1ce: 0.7}}}\n",
    ],
)
def test_the_scans_of_a_patient_share_a_draw(tmp_path, text):
    columns = {case: {"site": "north" if int(case[1:4]) % 2 else "south"} for case in OF_PATIENTS}
    path = write(tmp_path, f"{text}unit: patient\n")
    table = availability(str(path), OF_PATIENTS, SCANS, columns=columns)
    of_patients = table.table.reshape(400, 3, 4)
    assert (of_patients == of_patients[:, :1]).all()
    assert unit(table, SCANS) == "for each patient, whose scans share it: 1200 scans of 400 patients"
    # Each patient has what it would have alone, as a patient with one scan.
    if not text.startswith("base"):
        firsts = [case.partition("-")[0] for case in OF_PATIENTS[::3]]
        alone = availability(
            str(write(tmp_path, text)), firsts, SCANS, columns={case[:4]: columns[case] for case in columns}
        )
        assert np.array_equal(alone.table, of_patients[:, 0])
    by_scan = availability(str(write(tmp_path, text)), OF_PATIENTS, SCANS, columns=columns)
    scans = by_scan.table.reshape(400, 3, 4)
    assert not (scans == scans[:, :1]).all()
    assert unit(by_scan, SCANS) == "for each scan: 1200 scans of 400 patients"
    digests = [read_profile(write(tmp_path, t), SCANS).digest for t in (text, f"{text}unit: patient\n")]
    assert digests[0] != digests[1]


def test_quality_is_shared_too_and_a_column_of_the_paths_may_be_the_unit(tmp_path):
    text = "rates: {t1: 0.5}\nunit: site\ndegrade: [{kind: noise, severity: 1, share: 0.5}]\n"
    columns = {case: {"site": case[:3]} for case in OF_PATIENTS}
    path = write(tmp_path, text)
    table = availability(str(path), OF_PATIENTS, SCANS, columns=columns)
    of_sites = table.table.reshape(40, 30, 4)
    assert (of_sites == of_sites[:, :1]).all()
    assert table.degraded
    for case, modality in table.degraded:
        others = [other for other in OF_PATIENTS if other[:3] == case[:3]]
        assert all((other, modality) in table.degraded for other in others)
    assert unit(table, SCANS).startswith("for each site, whose scans share it: 1200 scans")
    with pytest.raises(InputError, match=r"the site of 1200 of 1200 cases is not known \(p000-0\): give a s"):
        availability(str(path), OF_PATIENTS, SCANS)


def test_scans_of_a_unit_keep_within_their_files(tmp_path):
    existing = np.ones((len(OF_PATIENTS), 4), dtype=bool)
    existing[::3] = [True, False, True, False]
    text = "rates: {flair: 0.5, t1: 0.5, t2: 0.5}\nrules: [{absent: t1, when_absent: flair}]\nunit: patient\n"
    table = availability(str(write(tmp_path, text)), OF_PATIENTS, SCANS, existing=existing).table
    assert not (table & ~existing).any()
    assert table.any(axis=1).all()
    assert not (table[:, 2] & ~table[:, 0]).any()
    assert np.array_equal(table[1::3], table[2::3])


@pytest.mark.parametrize(("said", "held"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_letters_of_two_parts_are_as_good_as_one(tmp_path, said, held):
    """A site "Süd" in YAML and csv is the one that a store has, however each of them writes its ü."""
    text = normalize(said, SITES.replace("north", "süd").replace("column: site", "column: präp"))
    path = write(tmp_path, text)
    cases = [normalize(held, f"Jürgen {i}") for i in range(20)]
    lines = [normalize(held, "case,präp"), *(f"{c},{normalize(held, 'süd')}" for c in cases), "x,south"]
    (tmp_path / "sites.csv").write_text("\n".join(lines), encoding="utf-8")
    table = availability(str(path), [normalize(said, case) for case in cases], BRATS2020)
    assert table.notes[0].startswith("präp süd: 20 cases")
    described = replace(BRATS2020, layouts=(Layout(("{präp}/{case}",) * 4, "{präp}/{case}"),))
    write(tmp_path, "\n".join(line for line in text.splitlines() if "cases:" not in line))
    columns = {case: {"präp": normalize(held, "süd")} for case in cases}
    table = availability(str(path), cases, described, columns=columns)
    assert table.notes[0].startswith("präp süd: 20 cases")
    (tmp_path / "table.csv").write_text(normalize(said, table.to_csv()), encoding="utf-8")
    again = availability(f"csv:{tmp_path / 'table.csv'}", cases, BRATS2020)
    assert np.array_equal(again.table, table.table)


def test_rules_hold_within_what_exists(tmp_path):
    existing = np.ones((300, 4), dtype=bool)
    existing[:100, 2] = False
    text = "rates: {t1: 0.3, flair: 0.5, t2: 0.5}\nrules:\n- {absent: t1ce, when_absent: t1}\n"
    table = made(tmp_path, text, NAMES[:300], existing=existing).table
    assert not table[:100, 1:3].any()
    assert not (table[:, 1] & ~table[:, 2]).any()
    assert table.any(axis=1).all()
    assert table[100:, 2].mean() == pytest.approx(0.7 / 0.925, abs=0.1)
    existing[7] = [False, True, False, False]
    with pytest.raises(InputError, match="leave nothing to case case0007, which has t1ce on disk"):
        made(tmp_path, text, NAMES[:300], existing=existing)


def test_a_base_keeps_its_table(tmp_path):
    table = made(tmp_path, "base: mr2468\ndegrade:\n- {kind: noise, severity: 2, share: 0.5}\n", NAMES[:219])
    base = availability("mr2468", NAMES[:219], BRATS2020)
    assert np.array_equal(table.table, base.table)
    assert table.nominal == base.nominal
    assert table.hash != base.hash


def test_degraded_shares_are_of_the_cases_that_have_it(tmp_path):
    text = (
        "rates: {flair: 0.5}\ndegrade:\n"
        "- {kind: noise, severity: 1, share: 0.3, modalities: [flair, t2]}\n"
        "- {kind: slab, severity: 3, share: 0.6, modalities: flair}\n"
    )
    table = made(tmp_path, text)
    assert set(table.quality) == {"flair", "t2"}
    assert table.quality["flair"] == pytest.approx({"noise-1": 0.3, "slab-3": 0.6}, abs=0.04)
    assert table.quality["t2"] == pytest.approx({"noise-1": 0.3}, abs=0.03)
    has = dict(zip(table.cases, table.table, strict=True))
    assert all(has[case][table.modalities.index(m)] for case, m in table.degraded)
    part = availability(str(tmp_path / "mine.yaml"), NAMES[10:20], BRATS2020)
    assert part.degraded == {k: v for k, v in table.degraded.items() if k[0] in NAMES[10:20]}


def test_a_table_with_poor_quality_comes_back_from_csv(tmp_path):
    table = made(tmp_path, "rates: {t1: 0.5}\ndegrade: [{kind: bias, severity: 3, share: 0.4}]", NAMES[:30])
    path = tmp_path / "table.csv"
    path.write_text(table.to_csv())
    assert "bias-3" in path.read_text()
    back = read_csv(path, BRATS2020)
    assert (back.hash, back.degraded) == (table.hash, table.degraded)
    existing = np.ones((10, 4), dtype=bool)
    existing[:, 3] = False
    part = availability(f"csv:{path}", NAMES[:10], BRATS2020, existing=existing)
    assert {k for k in table.degraded if k[0] in NAMES[:10] and k[1] != "t2"} == set(part.degraded)
    path.write_text("case,flair,t1ce,t1,t2\na,1,0,noise-4,1\n")
    with pytest.raises(InputError, match="expected a severity of 1, 2 or 3"):
        read_csv(path, BRATS2020)


def test_the_digest_is_of_what_can_change_a_table(tmp_path):
    sites = {"a": "north", "b": "south"}

    def digest(text, sites=sites):
        return read_profile(write(tmp_path, text, sites), BRATS2020).digest

    first = digest(SITES)
    assert first == "786f294af509"  # as before files were read by pydantic: runs know profiles by it
    assert digest("# a comment\nabout: something\n" + SITES) == first
    assert digest(SITES.replace("0.9, t2: 0.5", "0.9, flair: 0, t2: 0.50")) == first
    others = [
        digest(SITES.replace("0.9", "0.8")),
        digest(SITES, {"a": "south", "b": "north"}),
        digest(SITES + "rules: [{absent: t1, when_absent: t2}]"),
        digest(SITES + "degrade: [{kind: noise, severity: 2, share: 0.1}]"),
        digest(SITES + "degrade: [{kind: noise, severity: 2, share: 0.2}]"),
        digest("rates: {t1: 0.1}"),
        digest("rates: {t1: 0.1}\nquotas: true"),
        digest("base: mr2468"),
    ]
    assert len({first, *others}) == 9


@pytest.mark.parametrize("kind", ["yaml", "csv"])
def test_two_files_at_one_path_are_two_profiles(tmp_path, kind):
    path = tmp_path / f"mine.{kind}"
    first, second = (
        ("rates: {t1: 0.2}", "rates: {t1: 0.3}")
        if kind == "yaml"
        else ("case,flair,t1ce,t1,t2\na,1,1,1,1\n", "case,flair,t1ce,t1,t2\na,0,1,1,1\n")
    )
    prefix = "csv:" if kind == "csv" else ""
    path.write_text(first)
    one = pinned(f"{prefix}{path}", BRATS2020)
    assert pinned(one, BRATS2020) == one
    assert one.startswith(f"{prefix}{path}#")
    assert availability(one, ["a"], BRATS2020).table.shape == (1, 4)
    path.write_text(second)
    assert pinned(f"{prefix}{path}", BRATS2020) != one
    with pytest.raises(InputError, match="has changed since the run was planned"):
        availability(one, ["a"], BRATS2020)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rate: {t1: 0.2}", "line 1: rate: no such option here, did you mean rates"),
        ("rates: {t1c: 0.2}", "rates.t1c: unknown modality 't1c': did you mean t1ce"),
        ("rates: {t1: 1.0}", "rates.t1: expected less than 1, found 1.0"),
        ("rates: {t1: -0.1}", "rates.t1: expected 0 or more, found -0.1"),
        ("rates: {t1: .nan}", "rates.t1: found .nan, expected true, false, a finite decimal number"),
        ("rates: {t1: half}", "rates.t1: expected a number, found 'half'"),
        ("rates: {t1: true}", "rates.t1: expected a number, found True"),
        ("rates: [0.1]", "rates: expected a mapping, found [0.1]"),
        ("rates: 0.9", "found 0.9"),
        ("just text", "expected a mapping with the keys about, base, rates"),
        ("", "found None"),
        ("rates: [", "is not YAML"),
        ("about: 3", "about: expected text"),
        ("base: mr246", "base: expected mr or ir and 4 digits"),
        ("base: mr9p546", "base: expected mr or ir and 4 digits"),
        ("base: other.yaml", "base: expected mr or ir"),
        ("unit: site", "line 1: unit: unknown unit 'site'"),
        ("base: cr2468", "base: expected mr or ir and 4 digits"),
        ("base: mr2468\nrates: {t1: 0.1}", "line 2: rates stands beside base"),
        ("base: mr2468\nrules: [{absent: t1, when_absent: t2}]", "rules: go with rates or groups"),
        ("groups: {column: site, rates: {a: {t1: 0.1}}}", "groups.cases: expected a csv with the site"),
        ("groups: {column: grade, rates: {HGG: {t1: 0.1}}}", "nothing is said of grade LGG"),
        (
            "groups: {column: grade, rates: {HGG: {}, LGG: {}, HG: {}}}",
            "unknown grade 'HG': did you mean HGG",
        ),
        ("groups: {column: grade, rates: {HGG: {}, LGG: {t9: 0}}}", "groups.rates.LGG.t9: unknown modality"),
        ("groups: {column: grade}", "groups.rates is missing"),
        ("groups: {column: 3, rates: {}}", "groups.column: expected text, found 3"),
        ("groups: {column: site, cases: none.csv, rates: {a: {}}}", "none.csv cannot be read"),
        (
            "groups: {column: place, cases: sites.csv, rates: {a: {}}}",
            "has no column place, found case, site",
        ),
        ("groups: {column: site, cases: sites.csv, rates: {north: {}}}", "nothing is said of site south"),
        ("groups: {column: site, cases: sites.csv, rates: {yes: {}}}", "unknown site 'yes'"),
        ("groups: {columns: site}", "groups.columns: no such option here, did you mean column"),
        ("rules: {absent: t1}", "rules: expected a list"),
        ("quotas: true", "quotas: go with rates or groups"),
        ("base: mr2468\nquotas: true", "quotas: go with rates or groups"),
        ("rules: [{absent: t1}]", "rules, entry 1: expected absent and either when_absent or when_present"),
        ("rules: [{absent: t1, when_absent: t1}]", "t1 stands on both sides"),
        ("rules: [{absent: t3, when_absent: t1}]", "rules, entry 1.absent: unknown modality 't3'"),
        (
            "rules: [{absent: [], when_absent: t1}]",
            "rules, entry 1.absent: expected 1 or more entries, found []",
        ),
        (
            "rules: [{absent: t1, if_absent: t2}]",
            "rules, entry 1.if_absent: no such option here, did you mean",
        ),
        (
            "rules: [{absent: [flair, t1ce, t1], when_present: t2}, {absent: t2, when_absent: t1}]",
            "rules: leave every case with nothing",
        ),
        ("rules: [{absent: t2, when_present: t1}]", "rules: never leave t2 to any case"),
        (
            "degrade: [{kind: nois, severity: 1, share: 0.5}]",
            "unknown degradation 'nois': did you mean noise",
        ),
        ("degrade: [{kind: noise, severity: 4, share: 0.5}]", "severity: expected 1, 2 or 3, found 4"),
        ("degrade: [{kind: noise, severity: 1.5, share: 0.5}]", "found 1.5"),
        (
            "degrade: [{kind: [], severity: {}, share: 0}]",
            "degrade, entry 1.share: expected more than 0, found 0",
        ),
        ("degrade: [{kind: noise, severity: 1, share: 0.5, modalities: [t5]}]", "unknown modality 't5'"),
        (
            "degrade: [{kind: noise, severity: 1, share: 0.7}, {kind: bias, severity: 1, share: 0.7}]",
            "shares of flair add up to 1.4",
        ),
    ],
)
def test_wrong_files_are_refused_in_one_line(tmp_path, text, says):
    path = write(tmp_path, text, {"a": "north", "b": "south"})
    with pytest.raises(InputError) as caught:
        check_profile(str(path), BRATS2020)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_each_is_told_with_its_line(tmp_path):
    path = write(
        tmp_path,
        "rates: {t1: 0.5,\n  t9: 0.1}\n"
        "rules:\n- {absent: t1, when_absent: t2}\n- absent: t1\n  when_present: t1\n"
        "degrade:\n- kind: noise\n  severity: 2\n  share: yes\n",
    )
    with pytest.raises(InputError) as caught:
        read_profile(path, BRATS2020)
    assert str(caught.value).startswith(
        f"profile {path}, line 10: degrade, entry 1.share: found yes, expected"
    )
    path.write_text(path.read_text().replace("yes", "2"))
    with pytest.raises(InputError) as caught:
        read_profile(path, BRATS2020)
    assert str(caught.value) == (
        f"profile {path}, line 2: rates.t9: unknown modality 't9': did you mean t2 or t1? known are flair, "
        "t1ce, t1, t2; line 5: rules, entry 2: t1 stands on both sides: name it on one; "
        "line 10: degrade, entry 1.share: expected 1 or less, found 2"
    )


def test_names_of_groups_are_text_as_it_is_written(tmp_path):
    sites = {"a": "010", "b": "no", "c": "1.50"}
    path = write(tmp_path, SITES.replace("north", "010").replace("south", "no"), sites)
    with pytest.raises(InputError, match=r"line 4: groups.rates: nothing is said of site 1.50: add rates"):
        read_profile(path, BRATS2020)
    path.write_text(path.read_text().replace("{010:", "{1.50: {}, 010:"))
    assert list(read_profile(path, BRATS2020).rates) == ["1.50", "010", "no"]


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    path = write(tmp_path, "rates: {t1: 2, t9: 0}\nrules: 3\ndegrade: [{}]\nabuot: x\n")
    with pytest.raises(InputError) as caught:
        read_profile(path, BRATS2020)
    for part in (
        "rates.t1",
        "'t9'",
        "line 2: rules: expected a list",
        "entry 1.kind is missing",
        "entry 1.share",
        "abuot: no such option here, did you mean about",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("csv", "says"),
    [
        ("case,site\na,\n", "a line without case or site"),
        ("case,site\na,north\na,south\n", "gives case a two values of site"),
        ("", "has no column case, found no rows"),
        ("case,site\na\n", "a line without case or site"),
        ("case,site\na,north,more\nb,south\n", ""),
    ],
)
def test_files_of_cases(tmp_path, csv, says):
    path = write(tmp_path, SITES)
    (tmp_path / "sites.csv").write_text(csv)
    if says:
        with pytest.raises(InputError) as caught:
            read_profile(path, BRATS2020)
        assert says in str(caught.value)
    else:
        assert read_profile(path, BRATS2020).groups == {"a": "north", "b": "south"}


def test_too_few_cases_for_the_rules(tmp_path):
    text = "rates: {flair: 0.5}\nrules: [{absent: [t1, t2, t1ce], when_present: flair}]"
    with pytest.raises(InputError, match="1 cases are too few"):
        made(tmp_path, text, ["a"])
    assert made(tmp_path, text, ["a", "b"]).table.sum() == 4


def test_files_that_are_not_there():
    for name in ("absent.yaml", "/"):
        with pytest.raises(InputError):
            check_profile(str(Path(name)), BRATS2020)


def test_degradations_are_parsed_back():
    assert Degradation.parse("noise-2") == Degradation("noise", 2)
    for text in ("noise", "noise-0", "noise-2-2", "noise2", "fog-1", ""):
        with pytest.raises(InputError):
            Degradation.parse(text)
