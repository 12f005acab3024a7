import pytest

from bench_errors import InputError
from benchmark.config.grid import grid_names, load_grid
from passion import OBJECTIVES


@pytest.mark.parametrize("name", grid_names())
def test_shipped_grids_are_valid_and_say_what_they_are(name):
    grid = load_grid(name)
    assert grid.about
    assert grid.configs
    if all(config.train.augment == "released" for config in grid.configs):
        assert "--box released" in grid.about  # the other half of the released data


def test_axes_multiply_and_base_is_shared(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "axes: {objective: [baseline, {name: passion, tau: 2}], seed: [1, 2], train.epochs: [3]}\n"
        "base: {train: {crop: 32}}\n"
    )
    grid = load_grid(str(path))
    assert grid.name == "mine"
    assert [(c.objective.name, c.seed, c.train.epochs, c.train.crop) for c in grid.configs] == [
        ("baseline", 1, 3, 32),
        ("baseline", 2, 3, 32),
        ("passion", 1, 3, 32),
        ("passion", 2, 3, 32),
    ]
    assert grid.configs[2].objective.tau == 2


def test_several_blocks_of_axes_are_put_together(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(
        "axes:\n- {dataset: [phantom], profile: [mr2468]}\n- {dataset: [myops2020], profile: [mr357]}\n"
    )
    assert [c.dataset for c in load_grid(str(path)).configs] == ["phantom", "myops2020"]


def test_a_teacher_goes_before_its_students_and_is_a_run_of_the_grid(tmp_path):
    path = tmp_path / "taught.yaml"
    path.write_text("axes: {objective: [kd, {name: kd, tau: 2}, {name: kd, teacher_data: complete}]}\n")
    grid = load_grid(str(path))
    assert [c.objective.name for c in grid.configs] == ["baseline", "baseline", "kd", "kd", "kd"]
    assert grid.teachers == grid.configs[:2]
    assert {c.profile for c in grid.teachers} == {"mr2468", "complete"}


def test_a_point_of_the_grid_that_teaches_is_not_a_run_of_its_own(tmp_path):
    path = tmp_path / "taught.yaml"
    path.write_text("axes: {objective: [kd, passion, baseline]}\n")
    grid = load_grid(str(path))
    assert [c.objective.name for c in grid.configs] == ["baseline", "kd", "passion"]
    assert grid.teachers == ()


def test_the_rivals_grid_has_every_objective():
    grid = load_grid("rivals")
    assert {c.objective.name for c in grid.configs} == set(OBJECTIVES)
    assert len({c.backbone.name for c in grid.configs}) == 2


@pytest.mark.parametrize("name", ["ablation", "paper-ablation"])
def test_the_ablation_has_the_six_rows(name):
    rows = [
        tuple(getattr(c.objective, part, False) for part in ("pixel", "semantic", "delta", "beta"))
        for c in load_grid(name).configs
        if c.seed == 1037
    ]
    assert rows == [
        (False, False, False, False),
        (True, False, False, False),
        (False, True, False, False),
        (True, True, False, False),
        (True, True, True, False),
        (True, True, True, True),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("axes: {backbone: [rfnett]}", "did you mean rfnet"),
        ("axes: {objective: [pasion]}", "did you mean passion"),
        ("axes: {dataset: [phantm]}", "did you mean phantom"),
        ("axes: {profile: [mr246]}", "mr246"),
        ("axes: {dataset: [myops2020], profile: [mr2468]}", "3 modalities"),
        ("axes: {seed: []}", "expected a non-empty list"),
        ("axes: {seed: [1, 1]}", "same run"),
        ("axes: {seed: [one]}", "seed: Input should be a valid integer"),
        ("axis: {seed: [1]}", "is no grid"),
        ("axes: {seed: [1]}\nbases: {}", "did you mean base"),
        ("axes: [1, 2", "is not YAML"),
        ("axes: {seed: [1]}\ndata: {phantom: {casess: 4}}", "did you mean cases"),
        ("axes: {seed: [1]}\ndata: {phantom: {cases: many}}", "line 2: data.phantom: cases: Input should be"),
        ("axes: {seed: [1]}\ndata:\n  brats2020: {cases: 4}", "line 3: data.brats2020 has no effect"),
        ("axes: {seed: [1]}\nbase: [1]", "line 2: base: expected a mapping"),
        ("axes:\n  seed: [1]\n  seed: [2]", "line 3: the key seed stands there twice"),
        (
            "axes:\n  backbone:\n  - rfnet\n  - rfnett",
            "line 4: unknown backbone 'rfnett': did you mean rfnet",
        ),
        ("axes:\n  seed: [1]\nbase:\n  train:\n    crop: 32\n    epoch: 3", "line 6: train.epoch: no such"),
        (
            "axes:\n  seed: [1]\n  train.epoch: [3]",
            "line 3: train.epoch: no such option here, did you mean ep",
        ),
        ("axes:\n  seed: [1]\n  sed: [3]", "line 3: sed: no such option here, did you mean seed"),
        ("axes:\n  objective:\n  - {name: passion,\n     tua: 2}", "line 4: objective.tua: no such option"),
        ("axes:\n  dataset: [brats2020]\n  profile: [mr2468, mr357]", "line 3: profile mr357"),
        ("axes:\n  seed: [1]\n  objective: [{name: baseline, policy: pdt}]", "policy pdt trains on complete"),
        ("axes: {seed: [1]}\nexclude:\n- {seed: 2}", "line 3: this rule excludes no point"),
        ("axes: {seed: [1]}\nexclude:\n- {seed: 1}", "exclude every point"),
        ("axes: {seed: [1]}\nexclude: {seed: 1}", "line 2: exclude: expected a list"),
        ("axes: {seed: [1]}\ninclude:\n- 3", "line 3: include.0: expected a mapping"),
        ("axes: {seed: [1]}\ninclude:\n- {seed: 2}\n- {seeed: 2}", "line 4: seeed: no such option"),
        ("axes: {seed: [1]}\ninclude:\n- {seed: 1}", "line 3: two points of the grid are the same run"),
        ("axes:\n  dataset:\n  - {valu: phantom, with: {seed: 1}}", "line 3: axis dataset: an entry with"),
        ("axes:\n  dataset:\n  - {value: phantom, with: {sed: 1}}", "line 3: sed: no such option"),
    ],
)
def test_wrong_grids_are_refused_with_the_reason(tmp_path, text, says):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="wrong") as caught:
        load_grid(str(path))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_runs_follow_the_content_of_a_profile_file(tmp_path):
    grid, profile = tmp_path / "mine.yaml", tmp_path / "rates.yaml"
    grid.write_text(f"axes: {{profile: ['{profile}']}}")
    hashes = []
    for text in ("rates: {t1: 0.5}", "about: the same\nrates: {t1: 0.50}", "rates: {t1: 0.6}"):
        profile.write_text(text)
        hashes.append(load_grid(str(grid)).configs[0].hash)
    assert hashes[0] == hashes[1] != hashes[2]
    profile.write_text("rates: {t1: 1.5}")
    with pytest.raises(
        InputError, match=r"mine.yaml, line 1: profile .*rates.yaml: rates.t1: expected a rate"
    ):
        load_grid(str(grid))


def test_an_option_without_effect_is_named_where_it_stands(tmp_path):
    path = tmp_path / "idle.yaml"
    path.write_text("axes: {objective: [passion]}\nbase:\n  objective: {beta: false,\n    eta: 0.5}\n")
    with pytest.raises(InputError, match=r"idle.yaml, line 4: objective.eta has no effect"):
        load_grid(str(path))


def test_unknown_grid_names_the_nearest():
    with pytest.raises(InputError, match="did you mean demo"):
        load_grid("dmo")


def test_rules_leave_out_and_add_points(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(
        "axes: {objective: [baseline, {name: passion, tau: 2}], seed: [1, 2], train.crop: [32, 48]}\n"
        "base: {train.epochs: 3}\n"
        "exclude:\n"
        "- {objective: passion, seed: 2}\n"
        "- {train: {crop: 48}, objective: {name: baseline}}\n"
        "include:\n"
        "- {objective: pmr, seed: 7}\n"
    )
    configs = load_grid(str(path)).configs
    assert [(c.objective.name, c.seed, c.train.crop) for c in configs] == [
        ("baseline", 1, 32),
        ("baseline", 2, 32),
        ("passion", 1, 32),
        ("passion", 1, 48),
        ("pmr", 7, 80),
    ]
    assert {c.train.epochs for c in configs} == {3}


def test_an_entry_of_any_axis_carries_settings(tmp_path):
    path = tmp_path / "carried.yaml"
    path.write_text(
        "axes:\n"
        "  profile: [complete]\n"
        "  dataset: [phantom, {value: myops2020, with: {train.crop: 256, train: {lr: 0.002}}}]\n"
        "  objective: [baseline, {name: passion, tau: 2, with: {seed: 3}}]\n"
    )
    configs = load_grid(str(path)).configs
    assert [(c.dataset, c.train.crop, c.train.lr, c.seed) for c in configs] == [
        ("phantom", 80, 2e-4, 1037),
        ("phantom", 80, 2e-4, 3),
        ("myops2020", 256, 0.002, 1037),
        ("myops2020", 256, 0.002, 3),
    ]
    assert configs[3].objective.tau == 2


def test_settings_of_the_command_line_stand_above_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("axes: {objective: [baseline, passion], seed: [1, 2]}\nbase: {train: {epochs: 9}}\n")
    grid = load_grid(str(path), ["train.epochs=3", "seed=5", "backbone=mmformer"])
    assert [(c.objective.name, c.seed, c.train.epochs, c.backbone.name) for c in grid.configs] == [
        ("baseline", 5, 3, "mmformer"),
        ("passion", 5, 3, "mmformer"),
    ]
    assert load_grid(str(path), ["train.epochs=9"]).configs == load_grid(str(path)).configs


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed", "--set seed: expected KEY=VALUE"),
        ("seed=", "expected KEY=VALUE"),
        ("seed=[", "expected KEY=VALUE"),
        ("sed=1", "--set sed=1: sed: no such option here, did you mean seed"),
        ("train.epochs=few", "--set train.epochs=few: train.epochs: Input should be a valid integer"),
        ("profile=mr246", "--set profile=mr246: profile mr246"),
        ("backbone=rfnett", "did you mean rfnet"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason(text, says):
    with pytest.raises(InputError) as caught:
        load_grid("demo", [text])
    assert says in str(caught.value)
