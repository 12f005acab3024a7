"""Speed reports: what they hold and how they compare. Times themselves are never tested."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from bench_errors import InputError
from benchmark.config.run_config import RunConfig
from benchmark.speed import bench, released, sharing, tasks
from benchmark.speed.tasks import Measurement
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020
from datasets.vocabulary import table_subsets

ONCE = Measurement(repeats=1)


def tiny(backbone, objective="passion", precision="fp32", **train):
    config = {"backbone": {"name": backbone, "width": 2}, "objective": objective, "precision": precision}
    return RunConfig.model_validate({"dataset": "brats2020", **config, "train": {"crop": 16, **train}})


@pytest.fixture(scope="module")
def report():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "published", tiny)
        patch.setattr(tasks, "CASE", (24, 20, 16))
        patch.setattr(bench, "alone", lambda task, *arguments: task(*arguments))
        patch.setattr(bench, "profile_counts", lambda: {4: 179, 1: 40})
        report = bench.measure(["rfnet"], ONCE)
    return report


def test_numbers_of_modalities_are_those_of_the_219_training_cases():
    counts = bench.profile_counts()
    assert sum(counts.values()) == 219
    assert sum(count * cases for count, cases in counts.items()) == 452
    assert set(counts) == {1, 2, 3, 4}


def test_the_mean_weighs_numbers_of_modalities_by_their_cases():
    counts = bench.profile_counts()
    seconds = dict.fromkeys(counts, 1.0) | {1: 3.0}
    assert bench.mean_seconds(seconds) == pytest.approx(1 + 2 * counts[1] / 219)


def test_a_report_holds_every_figure_with_its_conditions(report):
    figures = bench.figures(report)
    assert all(value >= 0 for value, _ in figures.values())
    shares = [value for name, (value, _) in figures.items() if name.startswith("rfnet passion share of")]
    assert len(shares) == 6
    assert sum(shares) == pytest.approx(100)
    assert {"cpu", "torch", "commit", "threads", "precision"} <= set(report["environment"])
    assert json.loads(json.dumps(report)) == report


def test_absent_modalities_cost_no_work(report):
    steps = report["backbones"]["rfnet"]["steps"]["passion"]
    assert steps["1"]["gflops"]["convolution"] < steps["4"]["gflops"]["convolution"] / 3


def test_a_recomputed_step_does_the_forward_work_twice(report):
    again = tasks.step(tiny("rfnet", recompute=True), BRATS2020, 4, ONCE)
    kept = report["backbones"]["rfnet"]["steps"]["passion"]["4"]
    assert again["gflops"]["convolution"] > 1.2 * kept["gflops"]["convolution"]
    assert set(again["stages"]) == set(kept["stages"])
    assert all(seconds > 0 for seconds in again["stages"].values())


def test_the_bytes_of_convolutions_are_counted():
    net = torch.nn.Sequential(torch.nn.Conv3d(2, 3, 1), torch.nn.ReLU(), torch.nn.Conv3d(3, 1, 3, stride=2))
    counted = tasks.ConvolutionMaps(net)
    net(torch.zeros(1, 2, 5, 5, 5))
    assert counted.total == (2 + 3) * 5**3 + 3 * 5**3 + 2**3


def test_the_part_of_the_bandwidth_limit(report):
    step = report["backbones"]["rfnet"]["steps"]["passion"]["4"]
    assert step["bytes"] > report["backbones"]["rfnet"]["steps"]["passion"]["1"]["bytes"] > 0
    value, unit = bench.figures(report)["rfnet passion part of the bandwidth limit"]
    assert 0 < value < 100
    assert unit == "%"
    assert bench.bandwidth_share({"bytes": 6e9, "seconds": 4.0}, {"bandwidth": 3.0}) == pytest.approx(0.5)


@pytest.mark.long
def test_two_runs_at_once_on_a_cpu():
    found = sharing.together(tiny("rfnet"), BRATS2020, 2, ONCE)
    assert found["steps_per_second"] > 0
    assert found["peak_bytes"] > 0


@pytest.mark.parametrize(
    ("peak", "free", "busy", "cores", "runs"),
    [
        (4e9, 80e9, 0.25, 16, 4),  # what a run leaves idle
        (30e9, 80e9, 0.25, 16, 2),  # the memory
        (4e9, 80e9, 0.25, 3, 3),  # the cores
        (1e9, 80e9, 0.0, 64, 16),  # the most
        (90e9, 80e9, 0.5, 16, 1),  # one in any case, which says so itself
        (4e9, 80e9, 1.0, 16, 1),
    ],
)
def test_as_many_runs_share_a_gpu_as_pay(peak, free, busy, cores, runs):
    assert sharing.runs_that_fit(peak, free, busy, cores) == runs


def test_what_a_run_takes_is_measured():
    found = sharing.occupancy(tiny("rfnet"), BRATS2020, ONCE)
    assert found["peak"] > 0
    assert found["busy"] == 1.0


def test_the_limit_is_work_over_rate():
    step = {"gflops": {"convolution": 30.0, "matrix": 8.0}}
    assert bench.limit_seconds(step, {"convolution": 10.0, "matrix": 4.0}) == 5.0


def test_reports_compare_by_name_and_say_what_is_not_alike(report, tmp_path):
    other = json.loads(json.dumps(report))
    other["metrics"]["seconds"] = 2 * report["metrics"]["seconds"]
    other["environment"]["threads"] = 64
    path = tmp_path / "before.json"
    path.write_text(json.dumps(other))
    console = Console(width=120, record=True)
    bench.print_report(report, bench.read_report(path), console)
    text = console.export_text()
    assert "2.00" in next(line for line in text.splitlines() if "metrics of a case" in line)
    assert "threads is 1 here, 64 there" in text


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"limits": {}}'])
def test_what_is_no_report_is_refused(content, tmp_path):
    path = tmp_path / "no.json"
    path.write_text(content)
    with pytest.raises(InputError, match="is no report of bench speed"):
        bench.read_report(path)
    with pytest.raises(InputError, match="cannot be read"):
        bench.read_report(tmp_path / "absent.json")


def test_ours_is_compared_with_the_released_code_in_each_way(monkeypatch):
    def alone(task, *arguments):
        if task.__name__.startswith("their"):
            return {"seconds": 6.0, "peak_bytes": 8}
        config = arguments[0]
        seconds = {"fp32": 1.0, "bf16": 0.5}[config.precision] + config.train.recompute
        return {"seconds": seconds, "peak_bytes": 8}

    monkeypatch.setattr(released, "alone", alone)
    reports = []
    released.compare(Path(), ["rfnet"], Measurement(), ["fp32", "bf16+recompute"], Console(), reports.append)
    pairs = reports[-1]["pairs"]
    ratios = {label: pair["ratios"]["seconds"] for label, pair in pairs.items()}
    recomputed = "rfnet passion step, 4 modalities, bf16+recompute"
    assert [label for label in ratios if "recompute" in label] == [recomputed]
    assert ratios[recomputed] == 4
    assert ratios["rfnet passion step, mr2468, fp32"] == pytest.approx(6)
    assert pairs["rfnet case, fp32"]["released"]["seconds"] == 36 * 6 + 6


@pytest.mark.parametrize(("subset", "count"), [(None, 15), ("flair+t2", 1)])
def test_a_dedicated_network_is_timed_on_its_subset_alone(subset, count, monkeypatch):
    asked = []
    monkeypatch.setattr(tasks, "predict", lambda network, volumes, subsets, *_: asked.append(subsets))
    monkeypatch.setattr(tasks, "score_case", lambda maps, *_: asked.append(maps))
    config = RunConfig.model_validate({"train": {"subset": subset}} if subset else {})
    cpu = torch.device("cpu")
    tasks.prediction(None, config, BRATS2020, (8, 8, 8), cpu)()
    tasks.scoring(config, BRATS2020, (8, 8, 8), cpu)()
    assert [len(each) for each in asked] == [count, count]


def test_blobs_hold_every_class_in_labels_and_predictions():
    for description, space in ((BRATS2020, (40, 48, 36)), (MYOPS2020, (48, 40, 3))):
        labels, maps = tasks.blobs(description, space)
        assert len(maps) == len(table_subsets(description))
        for found in (labels, *maps):
            assert found.shape == space
            assert set(np.unique(found)) == set(range(len(description.classes)))
        assert all((prediction != labels).any() for prediction in maps)


def test_a_precision_that_the_device_lacks_is_refused(monkeypatch, tmp_path):
    (tmp_path / "code" / "models").mkdir(parents=True)
    (tmp_path / "code" / "models" / "rfnet.py").touch()
    monkeypatch.setattr(
        sys, "argv", ["released", str(tmp_path), "--out", str(tmp_path / "x.json"), "--ours", "fp16"]
    )
    with pytest.raises(SystemExit, match="fp16 needs CUDA"):
        released.main()
