"""What stands under a table: the conditions of its numbers, in sentences.

caption([study], "for every subset of modalities, mean over {tested}", coverage=...)
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmark.report.data.names import modality_title
from benchmark.report.data.runs import Run, Study
from benchmark.report.tables.table import LEVEL, Test

NEEDED = 6
"""Cases that must differ before Wilcoxon's test can give p < 0.05."""


def caption(
    studies: Sequence[Study],
    lead: str,
    runs: Sequence[Run],
    fewest: int = 0,
    tests: Sequence[Test] = (),
    deviations: bool = True,
) -> str:
    """Return the caption of a table over `runs` of `studies` of one dataset; it goes on from the title.

    Args:
        studies: the groups that the runs are of; each has its conditions named.
        lead: what the table shows; begins with a space or a colon, as it goes on from ``on phantom``;
            ``{tested}`` in it stands for the test cases.
        runs: the runs in the table.
        fewest: the smallest number of cases of any subset, where a subset has not all of them; else 0.
        tests: those that the table's stars come from.
        deviations: whether values stand with their standard deviation over the seeds.
    """
    first = studies[0].runs[0]
    folds = sorted({run.fold for run in runs})
    tested = counted(first.content["data"]["cases"]["test"], "test case")
    sentences = [
        f"on {studies[0].dataset}"
        + lead.format(tested="the test cases of each fold" if len(folds) > 1 else tested)
        + "."
    ]
    sentences += [_training(study, len(folds) > 1) for study in studies]
    sentences += _evaluated(runs)
    sentences += _outside(runs)
    if fewest:
        sentences.append(
            f"Not every test case has every modality: a subset has {counted(fewest, 'case')} or more."
        )
    if deviations:
        sentences += _seeds(runs, "seed" if len(folds) == 1 else "seed or fold")
    sentences += _significance(tests)
    sentences += [
        f"{region.name} is emptied when fewer than {region.min_voxels} of its voxels are predicted."
        for region in studies[0].description.regions
        if region.min_voxels
    ]
    sentences += dict.fromkeys(study.runs[0].metric_text for study in studies)
    sentences.append(f"Code at commit {', '.join(sorted({run.commit for run in runs}))}.")
    return " ".join(sentences)


def rates(content: dict[str, Any]) -> str:
    """Say how often each modality is missing or poor in training, from the content of a `config.yaml`."""
    availability = content["data"]["availability"]
    realised = availability["realised"]
    missing = _missing(realised)
    poor = ", ".join(
        f"{modality_title(m)} {name} {100 * share:.1f} %"
        for m, shares in availability.get("degraded", {}).items()
        for name, share in shares.items()
    )
    return f"{missing}; in poor quality, of the cases that have it, {poor}" if poor else missing


def _missing(realised: dict[str, float]) -> str:
    parts = ", ".join(f"{modality_title(m)} {100 * rate:.1f} %" for m, rate in realised.items())
    return f"realised missing rates {parts}" if any(realised.values()) else "no modality missing"


def counted(number: int, thing: str) -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _training(study: Study, folds: bool) -> str:
    own = [run for run in study.runs if "evaluated" not in run.content]
    run = (own or study.runs)[0]
    if "imported" in run.content:
        return f"Published weights of {run.content['imported']['file']}: how they were trained is not known."
    data, trained = run.content["data"], run.content.get("evaluated", {}).get("trained")
    start = f"{run.fold} trained" if folds else "Trained"
    of = f" of {trained['dataset']}" if trained else ""
    return (
        f"{start} on {counted(data['cases']['train'], 'case')}{of} under profile {study.profile}: "
        f"{rates(run.content)}; availability table {data['availability']['hash']}, "
        f"data {trained['data'] if trained else data['hash']}."
    )


def _evaluated(runs: Sequence[Run]) -> list[str]:
    """What runs were tested on after their training was done, where that is not its own test."""
    found = {
        run.config["test"]["evaluated"]: (
            f"tested after training on {run.config['dataset']} data {run.content['data']['hash']}"
            + (f", {_missing(done['realised'])}" if "realised" in done else "")
            + f" (trained on {done['trained']['dataset']} data {done['trained']['data']})"
        )
        for run in runs
        if (done := run.content.get("evaluated"))
    }
    alone = len(found) == 1 and all("evaluated" in run.content for run in runs)
    return [
        f"{text[0].upper()}{text[1:]}." if alone else f"Rows with evaluated={about}: {text}."
        for about, text in found.items()
    ]


def _outside(runs: Sequence[Run]) -> list[str]:
    """What is shown of modalities outside a subset, where it is not nothing."""
    qualities = {run.config["test"].get("outside") for run in runs}
    return [
        f"{f'In rows with outside={quality}' if len(qualities) > 1 else 'Here'} the modalities outside a "
        f"subset are not absent in testing, but degraded by {quality}."
        for quality in sorted(qualities - {None})
    ]


def _seeds(runs: Sequence[Run], differ: str) -> list[str]:
    """How many runs a value is over, where it is over several."""
    numbers = sorted(set(Counter((run.config["profile"], run.variant, run.method) for run in runs).values()))
    if numbers == [1]:
        return []
    return [f"Mean and standard deviation over {_range(numbers)} runs of different {differ}."]


def _significance(tests: Sequence[Test]) -> list[str]:
    if not tests:
        return []
    cases = sorted({test.cases for test in tests})
    references = sorted({test.reference for test in tests})
    against = references[0] if len(references) == 1 else "the baseline of the same network"
    few = f"; with fewer than {NEEDED} cases none can be" if cases[0] < NEEDED else ""
    paired = "1 case" if cases == [1] else f"{_range(cases)} cases"
    return [
        f"*: differs from {against} with p < {LEVEL:g} (Wilcoxon signed-rank test, paired over {paired}, "
        f"seeds averaged first, Holm-corrected over the table's {len(tests)} tests{few})."
    ]


def _range(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
