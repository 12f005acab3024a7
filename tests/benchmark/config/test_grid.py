import pytest

from bench_errors import InputError
from benchmark.config.grid import grid_names, load_grid
from datasets.studies.myops import MYOPS2020
from datasets.vocabulary import subset_name, subsets
from tests.tiny_networks import SEGMENTING


def test_each_network_may_bring_its_recipe(tmp_path):
    path = tmp_path / "recipes.yaml"
    path.write_text(
        "axes:\n"
        "  backbone:\n"
        "  - rfnet\n"
        "  - name: monai:DynUNet\n"
        "    arguments: {deep_supr_num: 2}\n"
        "    with:\n"
        "      train: {optimiser: sgd, lr: 0.01, schedule: cosine, steps_per_epoch: 250}\n"
        "      train.crop: [80, 160, 160]\n"
        "      test.flips: true\n"
        "  seed: [1, 2]\n"
        "base: {train: {lr: 0.1, epochs: 3}}\n"
    )
    usual, _, other, _ = load_grid(str(path)).configs
    assert (usual.train.optimiser, usual.train.lr, usual.train.epochs) == ("adamw", 0.1, 3)
    assert (other.train.optimiser, other.train.lr, other.train.epochs) == ("sgd", 0.01, 3)
    assert (other.train.schedule, other.train.steps_per_epoch) == ("cosine", 250)
    assert (other.train.crop, other.window, other.test.flips) == ((80, 160, 160), (80, 160, 160), True)
    assert {config.window for config in load_grid(str(path), ["train.crop=[32, 48, 48]"]).configs} == {
        (32, 48, 48)
    }
    with pytest.raises(InputError, match=r"--set .*the study is 3-D: give 3, or one for all axes"):
        load_grid(str(path), ["train.crop=[32, 48]"])


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


def test_a_network_for_each_subset(tmp_path):
    path = tmp_path / "dedicated.yaml"
    path.write_text(
        "axes:\n- {objective: [baseline]}\n- {train.subset: [t2+t1ce, t1]}\n"
        "- {dataset: [myops2020], profile: [mr357], train.subset: [all]}\n"
    )
    grid = load_grid(str(path))
    asked = [config.train.subset for config in grid.configs]
    assert asked[:3] == [None, "t1ce+t2", "t1"]
    assert asked[3:] == [subset_name(s, MYOPS2020.modalities) for s in subsets(MYOPS2020.modalities)]
    assert len({config.hash for config in grid.configs}) == len(asked) == 10
    assert "-mr2468-t1ce+t2-s1037-" in grid.configs[1].folder
    assert len(load_grid("demo", ["train.subset=all"]).configs) == 15 * len(load_grid("demo").configs)


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ("{train.subset: [flair, t3]}", r"wrong.yaml, line 1: unknown modality 't3' in 't3'"),
        ("{train.subset: [flair+flair]}", "modality given twice"),
        ("{train.subset: [all], dataset: [brats2222]}", "unknown dataset 'brats2222'"),
        ("{train.subset: [t2+flair, flair+t2]}", "are the same run"),
        ("{train.subset: [flair], objective: [moddrop]}", "shown its subset alone, found policy idt_drop"),
    ],
)
def test_wrong_subsets_are_told(tmp_path, axes, says):
    path = tmp_path / "wrong.yaml"
    path.write_text(f"axes: {axes}\n")
    with pytest.raises(InputError, match=says):
        load_grid(str(path))


def test_a_teacher_goes_before_its_students_and_is_a_run_of_the_grid(tmp_path):
    path = tmp_path / "taught.yaml"
    path.write_text("axes: {objective: [kd, {name: kd, tau: 2}, {name: kd, teacher_data: complete}]}\n")
    grid = load_grid(str(path))
    assert [c.objective.name for c in grid.configs] == ["baseline", "baseline", "kd", "kd", "kd"]
    assert grid.needed == grid.configs[:2]
    assert {c.profile for c in grid.needed} == {"mr2468", "complete"}


def test_a_point_of_the_grid_that_teaches_is_not_a_run_of_its_own(tmp_path):
    path = tmp_path / "taught.yaml"
    path.write_text("axes: {objective: [kd, passion, baseline]}\n")
    grid = load_grid(str(path))
    assert [c.objective.name for c in grid.configs] == ["baseline", "kd", "passion"]
    assert grid.needed == ()


def test_the_rivals_grid_has_every_objective():
    grid = load_grid("rivals")
    assert {c.objective.name for c in grid.configs} == set(SEGMENTING)
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
        ("axes: {seed: []}", "axes.seed: expected 1 or more entries, found []"),
        ("axes: {seed: [1, 1]}", "same run"),
        ("axes: {seed: [one]}", "seed: expected a whole number, found 'one'"),
        ("axis: {seed: [1]}", "axis: no such option here, did you mean axes"),
        ("axes: {seed: [1]}\nbases: {}", "did you mean base"),
        ("axes: [1, 2", "is not YAML"),
        ("axes: {seed: [1]}\ndata: {phantom: {casess: 4}}", "did you mean cases"),
        (
            "axes: {seed: [1]}\ndata: {phantom: {cases: many}}",
            "line 2: data.phantom.cases: expected a whole number, found 'many'",
        ),
        ("axes: {seed: [1]}\ndata:\n  brats2020: {cases: 4}", "line 3: data.brats2020 has no effect"),
        ("axes: {seed: [1]}\nbase: [1]", "line 2: base: expected a mapping"),
        ("axes:\n  seed: [1]\n  seed: [2]", "line 3: axes.seed stands there twice"),
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
        (
            "axes:\n  seed: [1]\n  objective: [{name: baseline, policy: pdt}]",
            "line 3: objective.policy: pdt trains on complete",
        ),
        ("axes: {seed: [1]}\nexclude:\n- {seed: 2}", "line 3: this rule excludes no point"),
        ("axes: {seed: [1]}\nexclude:\n- {seed: 1}", "exclude every point"),
        ("axes: {seed: [1]}\nexclude: {seed: 1}", "line 2: exclude: expected a list"),
        ("axes: {seed: [1]}\ninclude:\n- 3", "line 3: include, entry 1: expected a mapping, found 3"),
        ("axes: {seed: [1]}\ninclude:\n- {seed: 2}\n- {seeed: 2}", "line 4: seeed: no such option"),
        ("axes: {seed: [1]}\ninclude:\n- {seed: 1}", "line 3: two points of the grid are the same run"),
        (
            "axes:\n  train.crop: [80]\n  test.window: [null,\n    80]",
            "line 4: two points of the grid are the same",
        ),
        (
            "axes:\n  test.slices: [per-volume]",
            "line 2: test.slices has no effect: phantom is no study of slices",
        ),
        (
            "axes:\n  test.empty_slices: [skip]",
            "line 2: test.empty_slices has no effect: phantom is no study",
        ),
        (
            "axes:\n  train.subset: [flair]\n  test.outside: [noise-2]",
            "line 3: test.outside has no effect: a dedicated network sees its subset alone",
        ),
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
        InputError, match=r"mine.yaml, line 1: profile .*rates.yaml, line 1: rates.t1: expected less"
    ):
        load_grid(str(grid))


def test_an_option_without_effect_is_named_where_it_stands(tmp_path):
    path = tmp_path / "idle.yaml"
    path.write_text("axes: {objective: [passion]}\nbase:\n  objective: {beta: false,\n    eta: 0.5}\n")
    with pytest.raises(InputError, match=r"idle.yaml, line 4: objective.eta has no effect"):
        load_grid(str(path))


def test_each_error_of_a_point_is_told_with_its_own_line(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "axes:\n"
        "  train.lr: [1e-1]\n"
        "  objective:\n"
        "  - {name: baseline,\n"
        "     with: {train: {crop: 30}}}\n"
        "base:\n"
        "  backbone:\n"
        "    width: wide\n"
    )
    with pytest.raises(InputError) as caught:
        load_grid(str(path), ["seed=1.5"])
    assert str(caught.value) == (
        f"grid {path}, line 8: backbone.width: expected a whole number, found 'wide'; "
        "line 5: train.crop: expected a multiple of 16, found 30; "
        "--set seed=1.5: seed: expected a whole number, found 1.5"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("base:\n  train: {lr: 0.1}\n  train.lr: 0.2", "line 4: train.lr is given at grid {}, line 3 too"),
        ("base:\n  train.lr: 0.2\n  train:\n    lr: 1", "line 5: train.lr is given at grid {}, line 3 too"),
        (
            "base: {objective: kd,\n  objective.name: pmr}",
            "line 3: objective.name is given at grid {}, line 2",
        ),
        ("base: {train: 3,\n  train.lr: 1}", "line 3: train.lr is given at grid {}, line 2 too"),
        ("include:\n- {test: {window: 32},\n   test.window: 48}", "line 4: test.window is given at"),
        ("exclude:\n- {train.lr: 1, train: {lr: 1}}", "line 3: train.lr is given at"),
    ],
)
def test_a_setting_that_hides_one_beside_it_is_refused(tmp_path, text, says):
    path = tmp_path / "twice.yaml"
    path.write_text(f"axes: {{seed: [1]}}\n{text}\n")
    with pytest.raises(InputError) as caught:
        load_grid(str(path))
    assert says.format(path) in str(caught.value)
    assert str(caught.value).endswith("leave one of them")


@pytest.mark.parametrize(
    "axes",
    [
        "train: [{lr: 0.1}]\n  train.lr: [0.2]",
        "dataset: [{value: phantom, with: {train.lr: 0.1}}]\n  train.lr: [0.2]",
        "dataset: [{value: phantom, with: {train.lr: 0.1, train: {lr: 0.2}}}]",
    ],
)
def test_axes_do_not_hide_each_other(tmp_path, axes):
    path = tmp_path / "twice.yaml"
    path.write_text(f"axes:\n  {axes}\n")
    with pytest.raises(InputError, match=r"line [23]: train.lr is given at grid .*twice.yaml, line 2 too"):
        load_grid(str(path))


def test_what_is_more_particular_stands_above_the_base(tmp_path):
    path = tmp_path / "above.yaml"
    path.write_text(
        "axes: {train.lr: [0.1], train: [{crop: 32}]}\nbase: {train: {lr: 0.5, crop: 48, epochs: 7}}\n"
        "include: [{train: {lr: 0.3}}]\n"
    )
    trains = [c.train for c in load_grid(str(path), ["train.crop=64"]).configs]
    assert [(t.lr, t.crop, t.epochs) for t in trains] == [(0.1, 64, 7), (0.3, 64, 7)]


@pytest.mark.parametrize("option", ["train.lr", "objective.lambda1", "train.weight_decay"])
@pytest.mark.parametrize("value", [".inf", ".nan", "1e999", "true", "'0.1'", "yes"])
def test_what_is_no_finite_number_is_refused(tmp_path, option, value):
    path = tmp_path / "wrong.yaml"
    path.write_text(f"axes:\n  {option}: [0.1,\n  {value}]\nbase: {{objective: passion}}\n")
    with pytest.raises(InputError, match=rf"wrong.yaml, line 3: .*{option}.*expected"):
        load_grid(str(path))
    path.write_text("axes: {objective: [passion]}\n")
    with pytest.raises(InputError, match=r"--set .*expected"):
        load_grid(str(path), [f"{option}={value}"])


@pytest.mark.parametrize(
    "value", ["yes", "1:30", "010", "true", "1.0", "'5'", "-1", "9" * 19, "9" * 5000, "1e3"]
)
def test_what_is_no_seed_is_refused(tmp_path, value):
    path = tmp_path / "wrong.yaml"
    path.write_text(f"axes:\n  seed:\n  - {value}\n")
    with pytest.raises(InputError, match=r"wrong.yaml, line 3: .*seed.*expected") as caught:
        load_grid(str(path))
    assert len(str(caught.value)) < 300 + len(str(path))
    with pytest.raises(InputError, match=r"--set seed=.*expected") as caught:
        load_grid("demo", [f"seed={value}"])
    assert len(str(caught.value)) < 300


def test_numbers_may_be_written_as_readers_know_them(tmp_path):
    path = tmp_path / "numbers.yaml"
    path.write_text("axes: {train.lr: [1e-1], train.weight_decay: [-0.0], seed: [999999999999999999]}\n")
    (config,) = load_grid(str(path)).configs
    assert (config.train.lr, str(config.train.weight_decay), config.seed) == (0.1, "0.0", 10**18 - 1)
    written = load_grid("demo", ["train.lr=1e-1", "train.weight_decay=-0.0"]).configs
    assert written == load_grid("demo", ["train.lr=0.1", "train.weight_decay=0"]).configs


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".yaml", "ü" * 130 + ".yaml", '"a\\0.yaml"'])
@pytest.mark.parametrize("key", ["dataset", "profile", "backbone", "objective", "split"])
def test_names_that_no_file_has(tmp_path, key, name):
    path = tmp_path / "long.yaml"
    path.write_text(f"axes: {{seed: [1]}}\nbase:\n  {key}: {name}\n")
    with pytest.raises(InputError, match=r"long.yaml, line 3: "):
        load_grid(str(path))


def test_a_run_folder_with_a_name_too_long_is_refused(tmp_path):
    profile = tmp_path / ("ä" * 100 + ".yaml")
    profile.write_text("rates: {t1: 0.5}")
    path = tmp_path / "long.yaml"
    path.write_text(f"axes: {{seed: [1]}}\nbase:\n  profile: {profile}\n")
    with pytest.raises(InputError, match=r"line 3: the run's folder would have a name of 2\d\d bytes"):
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


def test_a_key_is_set_once_on_the_command_line():
    for settings in (["seed=1", "seed=2"], ["train.lr=1", "train={lr: 2}"]):
        with pytest.raises(
            InputError, match=r"--set .*2.?: .* is given at --set .*=1 too: leave one of them"
        ):
            load_grid("demo", settings)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed", "--set seed: expected KEY=VALUE"),
        ("seed=", "expected KEY=VALUE"),
        ("seed=[", "--set seed=[ is not YAML"),
        ("sed=1", "--set sed=1: sed: no such option here, did you mean seed"),
        ("train.epochs=few", "--set train.epochs=few: train.epochs: expected a whole number, found 'few'"),
        ("profile=mr246", "--set profile=mr246: profile mr246"),
        ("backbone=rfnett", "did you mean rfnet"),
        ("seed={a: 1, a: 2}", "--set seed={a: 1, a: 2}: a stands there twice"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason(text, says):
    with pytest.raises(InputError) as caught:
        load_grid("demo", [text])
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "base",
    [
        "train: {epochs: 4, validate_every: 5}",
        "train: {epochs: 4, validate_every: 5, select: best}",
        "train.epochs: 4\n  train.validate_every: 5",
        "pretrain: {objective: baseline, train: {epochs: 1, validate_every: 2}}",
    ],
)
def test_looks_that_no_run_lives_to_see_are_refused(tmp_path, base):
    path = tmp_path / "looks.yaml"
    path.write_text(f"axes: {{seed: [1]}}\nbase:\n  {base}\n")
    says = r"looks\.yaml, line [34]: validate_every has no effect: no run of the grid has so many epochs"
    with pytest.raises(InputError, match=says):
        load_grid(str(path))


def test_runs_of_few_epochs_may_share_the_looks_of_others(tmp_path):
    path = tmp_path / "looks.yaml"
    path.write_text("axes: {train.epochs: [1, 4]}\nbase: {train: {validate_every: 4}}\n")
    assert len(load_grid(str(path)).configs) == 2
    assert len(load_grid(str(path), ["train.epochs=1"]).configs) == 1  # to try the grid


def test_what_is_needed_goes_before_what_needs_it(tmp_path):
    path = tmp_path / "chain.yaml"
    path.write_text(
        "axes: {objective: [kd, {name: kd, teacher_data: complete}]}\n"
        "base: {backbone: m3ae, pretrain: {objective: mae, train: {epochs: 2}}}\n"
    )
    grid = load_grid(str(path))
    found = [(c.objective.name, c.profile) for c in grid.configs]
    assert found[:4] == [(o, p) for p in ("mr2468", "complete") for o in ("mae", "baseline")]
    assert grid.needed == grid.configs[:4]
    assert [set(c.needs) <= set(grid.configs[:i]) for i, c in enumerate(grid.configs)] == [True] * 6


def test_settings_reach_the_pretraining(tmp_path):
    path = tmp_path / "set.yaml"
    path.write_text("axes: {backbone: [{name: m3ae, with: {pretrain.objective: mae}}]}\n")
    pretraining, run = load_grid(str(path), ["pretrain.train.epochs=9", "train.lr=0.01"]).configs
    assert (pretraining.train.epochs, run.train.epochs) == (9, 300)
    assert pretraining.train.lr == run.train.lr == 0.01


def test_a_pretraining_is_one_run_whatever_tests_others_have(tmp_path):
    text = "axes: {objective: [mae, baseline], test.policy: [passion, brats-2022]}\nbase: {backbone: m3ae}\n"
    (tmp_path / "mae.yaml").write_text(text)
    grid = load_grid(str(tmp_path / "mae.yaml"))
    assert [config.objective.name for config in grid.configs] == ["mae", "baseline", "baseline"]
    text = "axes: {test.policy: [passion, brats-2022]}\nbase: {backbone: m3ae, pretrain: {objective: mae}}\n"
    (tmp_path / "mae.yaml").write_text(text)
    grid = load_grid(str(tmp_path / "mae.yaml"))
    assert [config.objective.name for config in grid.configs] == ["mae", "passion", "passion"]
    assert [config.objective.name for config in grid.needed] == ["mae"]


def test_a_point_that_the_command_line_makes_of_two_is_there_once(tmp_path):
    (tmp_path / "two.yaml").write_text("axes: {test.window: [null, 80], seed: [1]}\n")
    assert len(load_grid(str(tmp_path / "two.yaml"), ["train.crop=80"]).configs) == 1


def test_empty_slices_are_no_matter_where_volumes_are_scored(tmp_path):
    text = "axes: {seed: [1]}\nbase: {dataset: myops2020, profile: mr357, test: {slices: per-volume%s}}\n"
    (tmp_path / "whole.yaml").write_text(text % "")
    assert load_grid(str(tmp_path / "whole.yaml")).configs
    (tmp_path / "whole.yaml").write_text(text % ", empty_slices: skip")
    with pytest.raises(InputError, match=r"test\.empty_slices has no effect: cases are scored as volumes"):
        load_grid(str(tmp_path / "whole.yaml"))
