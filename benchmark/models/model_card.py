"""The card of a published model: ``model_card(content, Path("cases.csv"), "cc-by-4.0")``, Markdown.

`content` is that of a model folder's `config.json`. Every figure in the card stands in the run's records;
what they do not say is said to be unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmark.evaluation.metrics import METRICS
from benchmark.report.data.names import method_titles, modality_title, network_title
from benchmark.report.data.scores import metric_title
from benchmark.run_folder.model_folder import PRINTS
from benchmark.run_folder.sessions import commits, hardware, precisions
from datasets.preparation.likeness import Likeness
from datasets.vocabulary import Description, parse_subset, subset_name, table_subsets

ALL = "All of these modalities, and no others"
ANY = "Any non-empty subset of the modalities does"
LEARNT_FROM = (
    f"`{PRINTS}` holds hashes of the volumes that trained and validated the network, without names, so that "
    "`bench evaluate` leaves these patients out. Whoever has one of the volumes can tell that it was used."
)
RARE = 0.5
"""A modality that this share of the training cases lacks is named among the limits."""


def model_card(content: Mapping[str, Any], cases: Path, licence: str) -> str:
    """Return the card of a model.

    Args:
        content: of `config.json`.
        cases: the run's `cases.csv`; where there is none, the card says that the model was not tested.
        licence: an identifier that model hubs know.
    """
    description = Description.from_dict(content["dataset"])
    means = _means(cases, description) if cases.exists() else None
    head = {
        "license": licence,
        "library_name": "passion-bench",
        "pipeline_tag": "image-segmentation",
        "tags": ["medical", "segmentation", "missing-modalities", content["config"]["backbone"]["name"]],
        "metrics": ["dice"],
    }
    title = _title(content)
    only = content["config"]["train"].get("subset")
    shown = parse_subset(only, description.modalities) if only else description.modalities
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {title} on {description.name}",
        f"Segments {', '.join(description.classes[1:])} from {'' if only else 'any subset of '}"
        f"{', '.join(map(modality_title, shown))}. Made with passion-bench; "
        f"configuration {content['hash']}.",
        f"## Use\n\n```sh\nbench predict THIS_FOLDER --image {shown[0]}=FILE.nii.gz --out "
        f"segmentation.nii.gz\n```\n\n{ALL if only else ANY}: `--image` once for each.",
        f"## Input and output\n\n{_input(content, description)}",
        f"## Training\n\n{_training(content)}",
        f"## Scores\n\n{_scores(content, description, means)}",
        f"## Hashes\n\n{_hashes(content)}",
        f"## Licence\n\n{_licence(licence)}",
        f"## Intended use and limits\n\n{_limits(content, description, means)}",
    ]
    return "\n\n".join(parts) + "\n"


def _title(content: Mapping[str, Any]) -> str:
    config = content["config"]
    if "imported" in content:
        return f"{network_title(config['backbone']['name'])}, published weights"
    return method_titles([config])[0]


def _input(content: Mapping[str, Any], description: Description) -> str:
    lines = ["- Intensities as the scanner made them, 0 outside the head; `bench` crops and normalises."]
    if "images" in content:
        like = Likeness.from_dict(content["images"])
        edges = " x ".join(
            f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in like.spacing
        )
        lines.append(
            f"- Training images: voxels of {edges} mm, axes towards {like.orientation or 'different sides'} "
            "(images that lie otherwise are turned)"
            + (f", {like.tissue[0]:g} to {like.tissue[1]:g} mL of tissue." if like.tissue else ".")
        )
    labels = ", ".join(
        f"{value} {description.classes[index]}" for value, index in description.file_labels.items()
    )
    regions = ", ".join(
        f"{region.name} ({' + '.join(description.classes[c] for c in region.classes)}"
        + (f", emptied below {region.min_voxels} voxels)" if region.min_voxels else ")")
        for region in description.regions
    )
    return "\n".join([*lines, f"- Labels in the output: {labels}.", f"- Regions: {regions}."])


def _training(content: Mapping[str, Any]) -> str:
    if "imported" in content:
        imported = content["imported"]
        return (
            f"Weights imported from `{imported['file']}` (SHA-256 {imported['sha256']}). How they were "
            "trained is not known to passion-bench: see those who published them."
        )
    config, data, environments = content["config"], content["data"], content["environments"]
    stored = content["weights"].get("stored")
    availability = data["availability"]
    options = ", ".join(f"{k} {v}" for k, v in config["objective"].items() if k != "name")
    rows = [
        ("Dataset", f"{config['dataset']}: {data['cases']['train']} training cases, split {data['split']}"),
        ("Who lacked what", f"profile {availability['profile']}"),
        ("Network", f"{config['backbone']['name']}, {content['weights']['parameters']} parameters"),
        ("Objective", f"{config['objective']['name']}" + (f" ({options})" if options else "")),
        ("Optimisation", ", ".join(f"{k} {v}" for k, v in config["train"].items())),
        ("Seed, precision", f"{config['seed']}, {precisions(environments)}"),
        *([("Stored as", f"{stored}: {content['weights']['change']}")] if stored else []),
        ("Code", f"commit {commits(environments)}, torch {environments[0].get('torch', 'unknown')}"),
        ("Hardware", hardware(environments)),
    ]
    rates = [(modality_title(m), f"{100 * rate:.1f} %") for m, rate in availability["realised"].items()]
    return (
        _table(("", ""), rows)
        + "\n\nShare of the training cases that lacked each modality:\n\n"
        + _table([m for m, _ in rates], [[rate for _, rate in rates]])
    )


def _means(cases: Path, description: Description) -> pd.DataFrame:
    """Mean over the cases: a row a subset, in the order of the tables, columns (metric, region)."""
    rows = pd.read_csv(cases, dtype={"case": str})
    wide = rows.groupby(["subset", "metric", "region"])["value"].mean().unstack(["metric", "region"])
    order = [subset_name(s, description.modalities) for s in table_subsets(description)]
    columns = [(m, r.name) for m in METRICS for r in description.regions if (m, r.name) in wide.columns]
    return wide.reindex(order)[columns]


def _scores(content: Mapping[str, Any], description: Description, means: pd.DataFrame | None) -> str:
    if means is None:
        return "Not tested with passion-bench."
    test = content["data"]["cases"]["test"]
    scored: list[tuple[str, str]] = [(str(column[0]), str(column[1])) for column in means.columns]
    columns = [f"{metric_title(metric)} {region}" for metric, region in scored]
    body = [[str(name), *_numbers(scored, row)] for name, row in means.iterrows()]
    body.append(["**average**", *_numbers(scored, means.mean(skipna=False))])
    outside = content["config"]["test"].get("outside")
    shown = f" Modalities outside a subset were not absent but degraded by {outside}." if outside else ""
    return (
        f"Mean over {test} test case{'s' * (test != 1)} for every subset.{shown} "
        f"{content['metrics']['text']}\n\n" + _table(["Subset", *columns], body)
    )


def _numbers(columns: Iterable[tuple[str, str]], row: pd.Series) -> list[str]:
    return [
        "-" if pd.isna(value) else f"{value if METRICS[metric].unit else 100 * value:.2f}"
        for (metric, _), value in zip(columns, row, strict=True)
    ]


def _hashes(content: Mapping[str, Any]) -> str:
    rows = [("weights (SHA-256)", content["weights"]["sha256"]), ("configuration", content["hash"])]
    if data := content.get("data"):
        rows += [("data", data["hash"]), ("availability table", data["availability"]["hash"])]
    table = _table(("What", "Hash"), rows)
    return f"{table}\n\n{LEARNT_FROM}" if "learnt_from_sha256" in content["weights"] else table


def _licence(licence: str) -> str:
    named = (
        "None was named when the model was exported: ask its authors before you use it."
        if licence == "unknown"
        else f"Weights: {licence}."
    )
    return f"{named} The terms of the training data bind too. The code of passion-bench is Apache-2.0."


def _limits(content: Mapping[str, Any], description: Description, means: pd.DataFrame | None) -> str:
    lines = [
        "- For research on segmentation with missing modalities. Not a medical device: no clinical "
        "decision may rest on it.",
        f"- Known is only how it does on {description.name}; other scanners, protocols, diseases and ages "
        "may give wrong segmentations without a sign of it.",
        "- Every head gets a segmentation of some kind, also one without a lesion, or of another organ.",
    ]
    realised = content.get("data", {}).get("availability", {}).get("realised", {})
    unseen = [modality_title(m) for m, rate in realised.items() if rate >= 1]
    rare = [f"{modality_title(m)} ({100 * r:.0f} % missing)" for m, r in realised.items() if RARE <= r < 1]
    if unseen:
        lines.append(f"- Never seen in training, and refused: {', '.join(unseen)}.")
    if rare:
        lines.append(f"- Seldom seen in training: {', '.join(rare)}.")
    if content.get("config", {}).get("split") == "same":
        lines.append("- Trained and tested on the same cases: the scores say nothing about new patients.")
    if means is not None and "dice" in means:
        dice = pd.DataFrame(means["dice"]).mean(axis=1).dropna()
        lines.append(
            f"- Weakest subset in its test: {dice.idxmin()} (mean Dice {100 * dice.min():.1f} %), "
            f"best: {dice.idxmax()} ({100 * dice.max():.1f} %)."
        )
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
