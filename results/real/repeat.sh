#!/usr/bin/env bash
# Trains, tests and reports again what README.md shows: bash results/real/repeat.sh DATA
# DATA holds glioma-2013 (deepmedic's four examples) and ms-ljubljana (open_ms_data's patients in MNI space).
set -euo pipefail
data=$(realpath "${1:?the folder of the data: bash results/real/repeat.sh DATA}")
cd "$(dirname "$0")/../.."
bench=.venv/bin/bench
$bench data prepare "$data/glioma-2013" --dataset results/real/gliomas.yaml --resample 3 --out data/gliomas
$bench data prepare "$data/ms-ljubljana" --dataset ljubljana --out data/ljubljana
for study in leave-one-glioma-out leave-one-ms-patient-out; do
    $bench run --grid results/real/$study.yaml
    $bench report --grid results/real/$study.yaml --out report/$study --overwrite
done
