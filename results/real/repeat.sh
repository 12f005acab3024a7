#!/usr/bin/env bash
# Trains, tests, predicts and reports again what README.md shows: bash results/real/repeat.sh DATA
# DATA holds glioma-2013 (deepmedic's four examples), TCGA-FG-6692 and ms-ljubljana (open_ms_data's patients in MNI space).
set -euo pipefail
data=$(realpath "${1:?the folder of the data: bash results/real/repeat.sh DATA}")
cd "$(dirname "$0")/../.."
real=results/real
bench=.venv/bin/bench
$bench data prepare "$data/glioma-2013" --dataset $real/gliomas.yaml --resample 3 --out data/gliomas
$bench data prepare "$data/TCGA-FG-6692" --dataset $real/tcga.yaml --resample 3 --out data/tcga
$bench data prepare "$data/ms-ljubljana" --dataset ljubljana --out data/ljubljana

# The trainings and their tables.
for grid in leave-one-glioma-out one-glioma leave-one-ms-patient-out; do
    $bench run --grid $real/$grid.yaml --no-track
done
$bench weights export runs/one-glioma/*-* --out data/one-glioma --license cc-by-3.0 --overwrite
$bench run --grid $real/fine-tune.yaml --no-track

# Patients of others: the four networks of the gliomas together on TCGA's patient, and what that has to do with the truth.
gliomas=(runs/leave-one-glioma-out/gliomas-DynUNet-baseline-*)
others=("${gliomas[@]:1}")
together=("${gliomas[0]}" "${others[@]/#/--ensemble=}")
$bench predict "${together[@]}" --study "$data/TCGA-FG-6692" --dataset $real/tcga.yaml --out report/real/tcga \
    --agreement --picture --overwrite
$bench evaluate "${together[@]}" --dataset data/tcga
# One of them on patients with another disease, and TCGA's network on the gliomas.
for patient in "$data"/ms-ljubljana/patient*; do
    end=N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz
    $bench predict "${together[@]}" --image flair="$patient/FLAIR_$end" --image t1ce="$patient/T1POST_$end" \
        --out "report/real/$(basename "$patient").nii.gz" --picture --overwrite
done
$bench predict data/one-glioma --study "$data/glioma-2013" --dataset $real/gliomas.yaml --out report/real/gliomas \
    --picture --overwrite

for grid in leave-one-glioma-out leave-one-ms-patient-out fine-tune; do
    $bench report --grid $real/$grid.yaml --out report/$grid --overwrite
done
