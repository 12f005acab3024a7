"""What `bench speed` does: measure, print, save, compare.

    report = measure(["rfnet"], Measurement())
    print_report(report, None, console)
    print_report(report, read_report(Path("before.json")), console)

Two limits of the machine's own say how much of a step is left to gain: the time its convolutions and matrix
products would take at the rate of the best large ones here, and the time in which the memory would move the
inputs and outputs of its convolutions three times, forward and for both gradients, at the rate of a copy.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from math import nan
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from backbones import BACKBONES
from bench_console import messages, output
from bench_errors import InputError
from benchmark.launch.worker_command import MALLOC
from benchmark.speed import sharing, tasks
from benchmark.speed.tasks import Measurement
from benchmark.training.device import available_cores, chosen_device, device_text
from benchmark.training.precision import check_precision
from benchmark.training.provenance import environment
from datasets.missingness.availability import availability
from datasets.studies.brats import BRATS2020

PROFILE, CASES = "mr2468", 219
"""The missing rates over which a mean step is taken: those of BraTS2020's training cases."""


def run_speed(
    names: Sequence[str] | None,
    device: str,
    threads: int | None,
    precision: str,
    repeats: int,
    recompute: bool,
    out: Path | None,
    against: Path | None,
    together: Sequence[int] = (),
    resident: bool = False,
    compiled: bool = False,
) -> None:
    """Measure the named backbones (all by default), print the figures, save and compare them where asked.

    `together`: how many runs at once to time besides. `resident`: with recorded steps. `compiled`: with
    `train.compile`.
    """
    import torch

    other = read_report(against) if against else None
    device = chosen_device(device)
    check_precision(precision, torch.device(device))
    chosen = [BACKBONES.check(name) for name in names] if names else list(BACKBONES)
    if resident and device == "cpu":
        raise InputError("--resident has no effect on a CPU: leave it out, or use --device cuda")
    setting = Measurement(device, threads or available_cores(), repeats, resident)
    report = measure(chosen, setting, precision, recompute, together, compiled)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print_report(report, other, output(120))


def measure(
    names: Sequence[str],
    setting: Measurement,
    precision: str = "fp32",
    recompute: bool = False,
    together: Sequence[int] = (),
    compiled: bool = False,
) -> dict[str, Any]:
    """Measure the named backbones, each task in a fresh process; say on standard error what comes next."""
    os.environ.update({**MALLOC, "OMP_NUM_THREADS": str(setting.threads)} | os.environ)

    def run(label: str, task: Callable[..., Any], *arguments: Any) -> Any:
        messages().print(label)
        return alone(task, *arguments, setting)

    report: dict[str, Any] = {
        "setting": {**asdict(setting), "precision": precision, "recompute": recompute, "compile": compiled},
        "environment": environment(device_text(setting.device), setting.threads, precision),
        "limits": run("limits of the machine", tasks.limits, precision),
        "metrics": run("Dice and HD95", tasks.metrics, tasks.published(names[0]), BRATS2020, tasks.CASE),
        "backbones": {},
    }
    for name in names:
        steps, config = {}, tasks.published(name, precision=precision)
        shared: dict[str, Any] = {}
        for objective in ("passion", "baseline"):
            options: dict[str, Any] = {
                "precision": precision,
                "recompute": recompute,
                "compile": compiled,
            }
            trained = tasks.published(name, objective, **options)
            steps[objective] = {
                str(count): run(
                    f"{name}, {objective}, {count} modalities", tasks.step, trained, BRATS2020, count
                )
                for count in sorted(profile_counts(), reverse=True)
            }
            for runs in together:
                messages().print(f"{name}, {objective}, {runs} at once")
                found = sharing.together(trained, BRATS2020, runs, setting)
                shared.setdefault(objective, {})[str(runs)] = found
        report["backbones"][name] = {
            "steps": steps,
            "together": shared,
            "mean_step": {
                objective: mean_seconds({int(count): step["seconds"] for count, step in of.items()})
                for objective, of in steps.items()
            },
            "window": run(f"{name}, 15 subsets of a window", tasks.window, config, BRATS2020),
            "case": run(f"{name}, a case", tasks.case, config, BRATS2020),
        }
    return report


def profile_counts() -> dict[int, int]:
    """Number of modalities -> how many of BraTS2020's training cases have so many under mr2468."""
    table = availability(PROFILE, [f"{i:03d}" for i in range(CASES)], BRATS2020).table
    return dict(Counter(table.sum(axis=1).tolist()))


def mean_seconds(seconds: dict[int, float]) -> float:
    """Mean over the training cases of mr2468, given the seconds by number of modalities."""
    return sum(seconds[count] * cases for count, cases in profile_counts().items()) / CASES


def alone(task: Callable[..., Any], *arguments: Any) -> Any:
    """Run a task in a fresh process, whose peak memory is then its own.

    On a GPU, which counts memory from where `tasks.begin` says, the measurements share this one: CUDA starts
    slowly.
    """
    if isinstance(arguments[-1], Measurement) and arguments[-1].device == "cuda":
        return task(*arguments)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(task, *arguments).result()


def limit_seconds(step: dict[str, Any], limits: dict[str, float]) -> float:
    """What the step's convolutions and matrix products alone would take at the machine's best rates."""
    return sum(step["gflops"][kind] / limits[kind] for kind in ("convolution", "matrix"))


def bandwidth_share(step: dict[str, Any], limits: dict[str, float]) -> float:
    """What the bytes that must move would take at the bandwidth of the memory, over what the step takes."""
    return float(step["bytes"] / (limits["bandwidth"] * 1e9) / step["seconds"])


def figures(report: dict[str, Any]) -> dict[str, tuple[float, str]]:
    """Return the report's figures by name, each with its unit."""
    rows: dict[str, tuple[float, str]] = {
        "limit of convolutions": (report["limits"]["convolution"], "GFLOP/s"),
        "limit of matrix products": (report["limits"]["matrix"], "GFLOP/s"),
        "metrics of a case": (report["metrics"]["seconds"], "s"),
    }
    if "bandwidth" in report["limits"]:
        rows["limit of the memory"] = (report["limits"]["bandwidth"], "GB/s")
    for name, of in report["backbones"].items():
        for objective, steps in of["steps"].items():
            full = next(iter(steps.values()))
            rows |= {
                f"{name} {objective} step, all modalities": (full["seconds"], "s"),
                f"{name} {objective} step, {PROFILE}": (of["mean_step"][objective], "s"),
                f"{name} {objective} peak memory": (full["peak_bytes"] / 2**30, "GiB"),
                f"{name} {objective} step at the limit": (limit_seconds(full, report["limits"]), "s"),
            }
            if "bytes" in full:  # a report of before has none
                share = bandwidth_share(full, report["limits"])
                rows[f"{name} {objective} part of the bandwidth limit"] = (100 * share, "%")
            for runs, found in of.get("together", {}).get(objective, {}).items():
                if found:
                    rows[f"{name} {objective} steps of {runs} at once"] = (found["steps_per_second"], "1/s")
            total = sum(full["stages"].values())
            for stage, seconds in full["stages"].items():
                rows[f"{name} {objective} share of {stage}"] = (100 * seconds / total, "%")
        rows[f"{name} 15 subsets of a window"] = (of["window"]["seconds"], "s")
        rows[f"{name} window peak memory"] = (of["window"]["peak_bytes"] / 2**30, "GiB")
        rows[f"{name} test of a case"] = (of["case"]["seconds"], "s")
    return rows


def print_report(report: dict[str, Any], other: dict[str, Any] | None, console: Console) -> None:
    """Print the figures of a report, beside those of another with its ratio to this one if there is one."""
    theirs = figures(other) if other else {}
    table = Table("figure", "here", *(["against", "ratio"] if other else []), "unit")
    for name, (value, unit) in figures(report).items():
        cells = [f"{value:.3g}"]
        if other:
            before = theirs.get(name, (nan,))[0]
            cells += [f"{before:.3g}", f"{before / value:.2f}" if value else ""]
        table.add_row(name, *cells, unit)
    console.print(table)
    if not other:
        return
    for key in ("cpu", "device", "threads", "precision", "torch"):
        here, there = report["environment"].get(key), other["environment"].get(key)
        if here != there:
            console.print(f"not alike: {key} is {here} here, {there} there: a ratio may be the machine's")


def read_report(path: Path) -> dict[str, Any]:
    """Read a saved report; `InputError` if it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        figures(content)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a file of bench speed") from None
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise InputError(f"{path} is no report of bench speed ({error!r}): make one with --out") from None
    return dict(content)
