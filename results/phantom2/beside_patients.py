"""Intensities of the phantom's tissues beside those of real patients: quantiles alone, no voxel of a patient.

    .venv/bin/python results/phantom2/beside_patients.py DATA

DATA holds `TCGA-FG-6692` and `glioma-2013`, see README.md. Writes `intensities.csv` and
`figures/beside-patients.png` beside this file. Intensities are z-scored over the brain, as a store has them.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import nibabel
import numpy as np
from numpy.typing import NDArray

from datasets.phantom.patient import CONTRASTS, patient

matplotlib.use("agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
SHAPE, CASES, SEED = (76, 92, 76), 24, 2
QUANTILES = (5, 25, 50, 75, 95)
TISSUES = {"no tumour": (0,), "necrosis or\nnon-enhancing": (1, 3), "oedema": (2,), "enhancing": (4,)}
"""Values of the label files: 3 is the non-enhancing core in BraTS 2013."""
FEWEST = 50
"""Voxels that a tissue of a case needs to be counted."""

Case = tuple[dict[str, NDArray[np.floating]], NDArray[np.integer], NDArray[np.bool_]]


def read(path: Path) -> np.ndarray:
    """Return the voxels of a NIfTI file."""
    return np.asanyarray(nibabel.load(path).dataobj)


def patients(data: Path) -> Iterator[tuple[str, Case]]:
    """Yield the name, the volumes by contrast, the labels and the brain of each real patient."""
    folder = data / "TCGA-FG-6692"
    volumes = {c: read(folder / f"TCGA-FG-6692_{c}.nii.gz") for c in CONTRASTS}
    brain = np.any([volume != 0 for volume in volumes.values()], axis=0)
    yield "TCGA-FG-6692", (volumes, read(folder / "TCGA-FG-6692_seg.nii.gz").astype(int), brain)
    for folder in sorted((data / "glioma-2013").iterdir()):
        volumes = {
            "flair": read(folder / "Flair_subtrMeanDivStd.nii.gz"),
            "t1ce": read(folder / "T1c_subtrMeanDivStd.nii.gz"),
        }
        brain = read(folder / "brainmask.nii.gz") > 0
        yield folder.name, (volumes, read(folder / "OTMultiClass.nii.gz").astype(int), brain)


def phantoms() -> Iterator[tuple[str, Case]]:
    """Yield the same of the phantom's cases."""
    for k in range(1, CASES + 1):
        volumes, labels = patient(SHAPE, SEED, f"Phantom2_{k:03d}")
        yield f"Phantom2_{k:03d}", (volumes, labels.astype(int), volumes["flair"] > 0)


def rows_of(name: str, case: Case) -> Iterator[dict[str, str | float]]:
    """Yield a row of `intensities.csv` for each contrast and tissue of a case."""
    volumes, labels, brain = case
    for contrast, volume in volumes.items():
        inside = volume[brain].astype(float)
        z = (inside - inside.mean()) / inside.std()
        for tissue, values in TISSUES.items():
            chosen = z[np.isin(labels[brain], values)]
            if chosen.size >= FEWEST:
                cuts = np.percentile(chosen, QUANTILES)
                quantiles = {f"q{q}": round(float(cut), 3) for q, cut in zip(QUANTILES, cuts, strict=True)}
                words = {"case": name, "contrast": contrast, "tissue": tissue.replace("\n", " ")}
                numbers = {"mean": round(chosen.mean(), 3), "deviation": round(chosen.std(), 3)}
                yield {**words, "voxels": chosen.size, **numbers, **quantiles}


def draw(rows: list[dict[str, str | float]], out: Path) -> None:
    """Draw a box for each case, contrast and tissue: the phantom's grey, the patients' blue."""
    figure, panels = plt.subplots(2, 2, figsize=(11, 7), sharex=True, layout="constrained")
    for panel, contrast in zip(panels.flat, CONTRASTS, strict=True):
        for at, tissue in enumerate(TISSUES):
            here = [r for r in rows if r["contrast"] == contrast and r["tissue"] == tissue.replace("\n", " ")]
            synthetic = [r for r in here if str(r["case"]).startswith("Phantom2")]
            real = [r for r in here if r not in synthetic]
            for group, start, width, colour in (
                (synthetic, -0.40, 0.50, "#888888"),
                (real, 0.14, 0.28, "#0b5fa5"),
            ):
                step = width / max(1, len(group))
                for k, row in enumerate(sorted(group, key=lambda r: float(r["q50"]))):
                    x = at + start + (k + 0.5) * step
                    panel.plot([x, x], [row["q5"], row["q95"]], color=colour, lw=0.8)
                    panel.plot(
                        [x, x],
                        [row["q25"], row["q75"]],
                        color=colour,
                        lw=min(8.0, max(2.0, 60 * step)),
                        solid_capstyle="butt",
                    )
                    panel.plot(x, row["q50"], "_", color="white", ms=3)
        title = {"t1ce": "T1ce"}.get(contrast, contrast.upper())
        panel.set_title(title, loc="left", fontweight="bold")
        panel.axhline(0, color="black", lw=0.4)
        panel.set_ylabel("z-score over the brain")
        panel.set_xticks(range(len(TISSUES)), TISSUES)
    figure.suptitle(
        f"Grey: {CASES} cases of phantom2. Blue: real gliomas (five in FLAIR and T1ce, one in T1 and T2).\n"
        "Thick: the middle half of a tissue's voxels in a case, thin: 5 to 95 %, white: the median.",
        x=0.01,
        ha="left",
        fontsize=10,
    )
    out.parent.mkdir(exist_ok=True)
    figure.savefig(out, dpi=110)


def main() -> None:
    """Write the table and the picture."""
    if len(sys.argv) != 2 or not Path(sys.argv[1], "glioma-2013").is_dir():
        sys.exit("expected the folder that holds TCGA-FG-6692 and glioma-2013: beside_patients.py DATA")
    cases = [*phantoms(), *patients(Path(sys.argv[1]))]
    rows = [row for name, case in cases for row in rows_of(name, case)]
    with (HERE / "intensities.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, HERE / "figures" / "beside-patients.png")


if __name__ == "__main__":
    main()
