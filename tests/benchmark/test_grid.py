import pytest

from bench_errors import InputError
from benchmark.grid import grid_names, load_grid
from passion import OBJECTIVES


@pytest.mark.parametrize("name", grid_names())
def test_shipped_grids_are_valid_and_say_what_they_are(name):
    grid = load_grid(name)
    assert grid.about
    assert grid.configs


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
    with pytest.raises(InputError, match=r"grid mine: profile .*rates.yaml: rates.t1: expected a rate"):
        load_grid(str(grid))


def test_unknown_grid_names_the_nearest():
    with pytest.raises(InputError, match="did you mean demo"):
        load_grid("dmo")
