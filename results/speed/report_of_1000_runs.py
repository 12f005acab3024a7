"""What a report of 1,000 synthetic runs costs, and opening its page; from the root of the project:

PYTHONPATH=.:tests:tests/benchmark .venv/bin/python results/speed/report_of_1000_runs.py [NUMBER OF RUNS]

Runs are those of the tests, of 100 test cases, with slices of 2; the report is made in a process of its own.
On a shared machine only the seconds of the processor mean something.
"""

import json
import resource
import statistics
import sys
import time
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory

from chromium import Chromium
from recorded_runs import record, record_examples

from benchmark.report.write import write_report
from benchmark.speed.bench import alone
from benchmark.training.device import available_cores
from benchmark.training.provenance import environment

PROFILES = ("mr2468", "mr8642", "mr4826", "mr2258", "mr5528", "mr8825", "mr1379", "mr5258", "mr6284")
NETWORKS = ("rfnet", "mmformer", "m2ftrans")
OPENINGS = 5
OPTIONS = [{"tau": tau} for tau in range(1, 15)]
CASES = [f"case {i}" for i in range(100)]


def report(folder: Path) -> dict[str, float]:
    """Make the report of the runs in a folder: seconds, most memory in GiB, files, megabytes."""
    began = time.perf_counter()
    written = write_report([folder / "scale"], folder / "report")
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    # Of its drawing processes only the largest is known: at most, all were as large at the same time.
    kib = usages[0].ru_maxrss + available_cores() * usages[1].ru_maxrss
    return {
        "wall_seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(sum(u.ru_utime + u.ru_stime for u in usages), 1),
        "peak_gib": round(kib / 2**20, 2),
        "files": len(written.files),
        "megabytes": round(sum(path.stat().st_size for path in written.files) / 1e6, 1),
        "page_megabytes": round((folder / "report" / "report.html").stat().st_size / 1e6, 1),
    }


def opening(path: Path) -> float:
    """Seconds until a page is loaded and painted, the median of a few times, each in a browser of its own."""
    seconds = []
    for _ in range(OPENINGS):
        with Chromium() as browser:
            page = browser.open(path)
            paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            loaded = "performance.getEntriesByType('navigation')[0].loadEventEnd"
            page.call("Page.captureScreenshot")
            seconds.append(max(page.run(paint), page.run(loaded)) / 1000)
    return round(statistics.median(seconds), 2)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with TemporaryDirectory() as name:
        axes = product(PROFILES, NETWORKS, OPTIONS, (1037, 1038, 1039))
        for profile, network, options, seed in islice(axes, count):
            method = {"backbone": network, "profile": profile, "options": options}
            run = record(Path(name) / "scale", "passion", seed, cases=CASES, **method)
            record_examples(run, CASES[:2])
        costs = alone(report, Path(name))
        costs["opening_seconds"] = opening(Path(name) / "report" / "report.html")
    print(json.dumps({"runs": count, **costs, "environment": environment("cpu", available_cores(), "fp32")}))
