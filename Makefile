# Two commands do everything on a fresh machine with Python and make: `make demo` and `make test`.

PYTHON ?= python3
# TORCH: which build of torch to install, cuda or cpu; by default cuda where a GPU answers.
TORCH ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
# TORCH_INDEX: package index to take torch from, where pip's own does not offer the wanted build.
TORCH_INDEX ?=
BIN := .venv/bin
comma := ,
TORCH_VERSION := 2.13.0
PIP := $(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
INSTALL_TORCH_cpu := $(PIP) "torch==$(TORCH_VERSION)+cpu" || { \
	echo "no CPU build of torch offered to pip: taking its default build (TORCH_INDEX=URL names another index)"; \
	$(PIP) "torch>=2.8,<2.14,!=2.9.*"; }
# PyPI's build without a local version is the CUDA one; === keeps an offered CPU build out.
INSTALL_TORCH_cuda := $(PIP) "$(if $(TORCH_INDEX),torch>=2.8$(comma)<2.14$(comma)!=2.9.*,torch===$(TORCH_VERSION))"

# One thread for each of the two test processes; and glibc keeps freed memory, which halves the time of a step.
PYTEST := OMP_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=2000000000 MALLOC_TRIM_THRESHOLD_=8000000000 $(BIN)/pytest -q -n 2

.DEFAULT_GOAL := help
.PHONY: help setup torch demo test test-long docs dist format clean

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: .venv/installed  ## Create .venv with everything in it

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("passion-bench needs Python 3.11 or newer, found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	@$(MAKE) --no-print-directory torch
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

torch:  # Install torch where BIN is
	$(or $(INSTALL_TORCH_$(TORCH)),$(error TORCH is '$(TORCH)': choose cpu or cuda))

demo: setup  ## Run the demo grid on synthetic data and make its report
	$(BIN)/bench run --grid demo
	$(BIN)/bench report --grid demo --out report/demo --formats png --overwrite

test: setup  ## Check style, types and architecture, and run the fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -m "not long"

test-long: setup  ## Run the tests that take minutes
	$(BIN)/python -m pip install --quiet --editable '.[kernels]' || echo "no Triton could be installed: its kernels are not tested"
	$(PYTEST) -m long

docs: setup  ## Build the pages as a site that needs no network: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file website/mkdocs.yml

dist: setup  ## Build the sdist and the wheel into dist/
	rm -rf build dist
	$(BIN)/python -m build

format: setup  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove the environment and caches; keeps data and runs
	rm -rf .venv build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
