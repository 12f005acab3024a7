#!/bin/sh
# Install torch and the wheel that `make dist` has built, in a container: install.sh cpu|cuda [PACKAGE INDEX]
set -eu
cd "$(dirname "$0")"
export PIP_NO_CACHE_DIR=1
bin=$(dirname "$(command -v python)")
make torch BIN="$bin" TORCH="$1" TORCH_INDEX="${2:-}"
for wheel in passion_bench-*.whl; do
    python -m pip install "${wheel}[tune,hub,wandb]"
done
bench --version
