"""What stands under tables: what they show, and once for all of a section the conditions of their numbers.

caption(study, " for every subset of modalities, mean over {tested}")
conditions([study], study.runs)
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmark.report.data.effects import LEAST
from benchmark.report.data.names import is_dedicated, modality_title
from benchmark.report.data.runs import Run, Study
from benchmark.report.data.scores import Scores, training

NETWORKS_ONLY = "the patients of these trained networks"
"""What intervals are over where a method, or what it is compared with, was trained once."""


def caption(study: Study, lead: str) -> str:
    """Return the caption of a table; it goes on from the title.

    `lead` is what it shows; it begins with a space or a colon, as it goes on from ``on phantom``;
    ``{tested}`` in it stands for the test cases.
    """
    tested = counted(study.runs[0].content["data"]["cases"]["test"], "test case")
    several = len({run.fold for run in study.runs}) > 1
    return f"on {study.dataset}{lead.format(tested='the test cases of each split' if several else tested)}."


def conditions(every: Sequence[Scores], others: Sequence[Study] = ()) -> str:
    """Return, in sentences, how the numbers of `every` came about, all of one dataset.

    `others` are further studies of which rows stand beside theirs.
    """
    studies = list({study.name: study for study in (*(scores.study for scores in every), *others)}.values())
    runs = [run for study in studies for run in study.runs]
    several = len({run.fold for run in runs}) > 1
    sentences = [_training(study, several) for study in studies]
    sentences += _evaluated(runs)
    sentences += _outside(runs)
    if any(is_dedicated(run.config) for run in runs):
        sentences.append("Dedicated: a network for each subset, trained on the cases that have it.")
    if fewest := [scores.fewest for scores in every if scores.fewest]:
        sentences.append(
            f"Not every test case has every modality: a subset has {counted(min(fewest), 'case')} or more."
        )
    sentences += _repeated(runs)
    sentences += [
        f"{region.name} is emptied when fewer than {region.min_voxels} of its voxels are predicted."
        for region in studies[0].description.regions
        if region.min_voxels
    ]
    sentences += dict.fromkeys(study.runs[0].metric_text for study in studies)
    sentences.append(f"Code at commit {', '.join(sorted({r.commit for s in studies for r in s.every_run}))}.")
    return " ".join(sentences)


def intervals(runs: Sequence[Run]) -> str:
    """Return what the 95 % intervals of the methods of `runs` are over."""
    repeats = {(run.method, training(run).repeat) for run in runs}
    trainings = Counter(method for method, *_ in repeats).values()
    if max(trainings) == 1:
        return NETWORKS_ONLY
    once = f"; where a method, or what it is compared with, was trained once, over {NETWORKS_ONLY}"
    return "trainings and patients" + once * (min(trainings) == 1)


def of_whole(scores: Scores) -> str:
    """Say of how many patients gains are, where some lack a value; means are of all."""
    whole = scores.whole
    return f" of the {counted(whole, 'patient')} with every value" if whole < len(scores.patients) else ""


def tested(trainings: int) -> str:
    """Return why so many trainings a side have no p; empty where they have one."""
    return "" if trainings >= LEAST else "too few for a test"


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
    if not realised:
        return "missing rates unknown"
    parts = ", ".join(f"{modality_title(m)} {100 * rate:.1f} %" for m, rate in realised.items())
    return f"realised missing rates {parts}" if any(realised.values()) else "no modality missing"


def counted(number: int, thing: str) -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _training(study: Study, folds: bool) -> str:
    trainings = [run for run in study.runs if "evaluated" not in run.content] or study.runs
    run = trainings[0]
    if "imported" in run.content:
        files = dict.fromkeys(other.content.get("imported", {}).get("file", "") for other in trainings)
        return f"Published weights of {', '.join(filter(None, files))}: how they were trained is not known."
    data, trained = run.content["data"], run.content.get("evaluated", {}).get("trained")
    start = f"{run.fold} trained" if folds else "Trained"
    of = f" of {trained['dataset']}" if trained else ""
    first, *more = dict.fromkeys(
        str(other.content["data"]["availability"]["hash"]) for other in trainings if other.fold == run.fold
    )
    tables = f"tables {first} (with these rates), {', '.join(more)}" if more else f"table {first}"
    return (
        f"{start} on {counted(data['cases']['train'], 'case')}{of} under profile {study.profile}: "
        f"{rates(run.content)}; availability {tables}, data {trained['data'] if trained else data['hash']}."
    )


def _evaluated(runs: Sequence[Run]) -> list[str]:
    """What runs were tested on after their training was done, where that is not its own test."""
    found = {
        run.config["test"]["evaluated"]: (
            f"tested after training on {run.config['dataset']} data {run.content['data']['hash']}"
            + (f", {_missing(done['realised'])}" if "realised" in done else "")
            + f" (trained on {done['trained']['dataset']} data {done['trained']['data']})"
            + (f", the mean with {', '.join(done['ensemble'])}" if "ensemble" in done else "")
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


def _repeated(runs: Sequence[Run]) -> list[str]:
    """How many trainings a value is over, where it is over several, and in what these differ."""
    numbers = sorted(set(Counter((run.config["profile"], run.variant, run.method) for run in runs).values()))
    if numbers == [1]:
        return []
    varied = {
        "seed": {run.config["seed"] for run in runs},
        "availability table": {run.config["table_seed"] for run in runs},
        "split": {run.fold for run in runs},
    }
    differ = [name for name, values in varied.items() if len(values) > 1] or ["seed"]
    text = f"Mean and standard deviation over {_range(numbers)} trainings of different {' or '.join(differ)}"
    if len({(run.config["profile"], run.variant, run.method, training(run).repeat) for run in runs}) < len(
        runs
    ):
        text += "; in all that compares methods the tables of a seed are averaged and count as one training"
    return [f"{text}."]


def _range(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
