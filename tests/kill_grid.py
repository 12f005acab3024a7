"""Kill a grid at random moments, start it again each time, and compare with one that nobody disturbed.

    .venv/bin/python tests/kill_grid.py --folder /tmp/killed --kills 10 --set train.epochs=1

Runs the grid `rivals` on its phantom study twice below the folder. The second time `bench run` is killed with
SIGKILL at random: with all that it has started, as by a power cut, or alone, so that its workers go on
without it. In the end every run has to be done and everything has to be equal to the byte: weights,
`cases.csv`, examples, log lines and all files of the report, apart from clock times. Exit code 0: it is so.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmark.run_folder.folder import RunFolder, run_folders

MARK = "BENCH_KILL_GRID"
"""Variable by which everything that a start of the grid has brought about is found again."""
RESULTS = ("weights.safetensors", "split.json", "tests/*/cases.csv", "tests/*/examples.npz")


def main() -> None:
    """Do what the module says; print each kill and the outcome."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for both grids; nothing may be there")
    parser.add_argument("--grid", default="rivals")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and kinds of the kills")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    whole, killed = options.folder / "whole", options.folder / "killed"

    began = time.monotonic()
    if start(options, whole).wait():
        sys.exit(f"the undisturbed grid did not end well: see {whole / 'output.txt'}")
    length = time.monotonic() - began
    print(f"undisturbed: {length:.0f} s", flush=True)
    kill_and_restart(options, killed, length, len(run_folders(whole / "runs" / options.grid)))
    problems = differences(options, whole, killed)
    print("\n".join(problems) or "every run is done, and all results and the report are equal to the byte")
    sys.exit(1 if problems else 0)


def start(options: argparse.Namespace, place: Path) -> "subprocess.Popen[bytes]":
    """Start the grid in `place`, where it goes on if it is there."""
    place.mkdir(exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "run",
        "--grid",
        options.grid,
        *settings(options),
    ]
    command += ["--runs", str(place / "runs"), "--device", "cpu", "--workers", str(options.workers)]
    with (place / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [*command, "--no-track"],
            stdout=output,
            stderr=output,
            env={**os.environ, MARK: str(place.resolve())},
            start_new_session=True,
        )


def settings(options: argparse.Namespace) -> list[str]:
    """The grid's settings as arguments of `bench`."""
    return [text for setting in options.settings for text in ("--set", setting)]


def kill_and_restart(options: argparse.Namespace, place: Path, length: float, runs: int) -> None:
    """Kill the grid as often as asked for, spread over the time that it takes, and let it end.

    `length`: the seconds that its `runs` took undisturbed.
    """
    draw, states = random.Random(options.seed), list[str]()
    for left in range(options.kills, 0, -1):
        process = start(options, place)
        delay = draw.uniform(0, length * (1 - states.count("done") / runs) / left)
        try:
            process.wait(delay)
            sys.exit(f"the grid ended {left} kills too early: give it more to do, or another --seed")
        except subprocess.TimeoutExpired:
            alone = draw.random() < 0.3
            victims = [process.pid] if alone else marked(place)
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            process.wait()
        states = [folder.state() for folder in run_folders(place / "runs" / options.grid)]
        counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
        what = "the launcher alone" if alone else f"all {len(victims)} processes"
        print(f"killed after {delay:.1f} s {what}; the runs then: {counts or 'none'}", flush=True)
    code = start(options, place).wait()
    print(f"the last start ended with exit code {code}", flush=True)


def marked(place: Path) -> list[int]:
    """The processes that starts of the grid in `place` have brought about."""
    mark = f"{MARK}={place.resolve()}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:  # it has ended, or is somebody else's
            continue
    return found


def differences(options: argparse.Namespace, whole: Path, killed: Path) -> list[str]:
    """What is not as it has to be, a line each."""
    problems = []
    expected = run_folders(whole / "runs" / options.grid)
    for run in expected:
        other = RunFolder(killed / "runs" / options.grid / run.path.name)
        if (run.state(), other.state()) != ("done", "done"):
            problems.append(f"{run.path.name} is {other.state()}, undisturbed {run.state()}")
            continue
        problems += [
            f"{run.path.name}: {name} differs"
            for pattern in RESULTS
            for name in (path.relative_to(run.path) for path in run.path.glob(pattern))
            if (run.path / name).read_bytes() != (other.path / name).read_bytes()
        ]
        if forget_times(run) != forget_times(other):
            problems.append(f"{run.path.name}: log.jsonl differs")
    files = [report(options, place) for place in (whole, killed)]
    names = sorted(files[0].keys() | files[1].keys())
    problems += [f"report: {name} differs" for name in names if files[0].get(name) != files[1].get(name)]
    print(f"compared {len(expected)} runs and {len(names)} files of the report", flush=True)
    return problems


def forget_times(folder: RunFolder) -> list[dict[str, object]]:
    """Set the clock times that the report shows to zero, and return the lines of the log."""
    lines = folder.log()
    for line in lines:
        line["timing"] = dict.fromkeys(line["timing"], 0.0)
    (folder.path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lines


def report(options: argparse.Namespace, place: Path) -> dict[str, bytes]:
    """Make the grid's report; returns its files, name -> content."""
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "report",
        "--grid",
        options.grid,
        *settings(options),
    ]
    command += ["--runs", place / "runs", "--out", place / "report"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    out = place / "report"
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


if __name__ == "__main__":
    main()
