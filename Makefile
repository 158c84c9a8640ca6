# One command each. Every target makes .venv by itself when it is missing or out of date.
#   make run            the demo profile, end to end, ending in an HTML report
#   make run PROFILE=small DATA=/folder/with/files
#   make test           lint and tests       make lab    JupyterLab on the notebooks
#   make gpu-check      on a CUDA machine: tests marked gpu, then the GPU benchmark (uses that machine's own python3)
#   make r              R, Biostrings, seqLogo (Debian, Ubuntu) and rpy2, for motifs; rGADEM comes with environment.yml
#   make clean          removes .venv, caches, and the demo profile's runs and report
PYTHON  ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV    ?= .venv
EXTRAS   = lab,train,baselines,interpret,assays,dev
PROFILE ?= demo
BIN      = $(VENV)/bin
WORKERS ?= 2
SUDO    ?= $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
# a bare CUDA machine has torch, transformers, accelerate, numpy, pandas and pytest: only tests that need no more
GPU_TESTS = tests/training tests/models tests/pretraining/test_mlm.py tests/pretraining/test_bits.py \
	tests/pretraining/test_masking.py tests/tasks/test_classification.py tests/tasks/test_contrastive.py \
	tests/tasks/test_embedding.py tests/tasks/test_regression.py tests/evaluation/test_binning.py \
	tests/evaluation/test_binning_cells.py tests/interpretation/test_motif_insertion_gpu.py

ifdef DATA
export GENOMELM_DATA := $(DATA)
endif
.DELETE_ON_ERROR:
.PHONY: run test lab gpu-check r clean setup

run: setup
	$(BIN)/python run_all.py run --profile $(PROFILE)

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not gpu and not network" -n $(WORKERS) --dist loadfile

lab: setup
	$(BIN)/python -m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks $(LAB_OPTIONS)

gpu-check:
	PYTHONPATH=. python3 -m pytest -m gpu -p no:cacheprovider $(GPU_TESTS)
	PYTHONPATH=. python3 benchmarks/bench_pretraining.py --device cuda

# rpy2 is built without R's headers (ABI mode); its wheel is not kept, because it belongs to one R
r: setup
	@command -v apt-get >/dev/null || \
		{ echo "make r knows apt-get (Debian, Ubuntu); elsewhere: conda env create -f environment.yml"; exit 1; }
	$(SUDO) apt-get update -qq
	$(SUDO) apt-get install -y -qq --no-install-recommends r-base-core r-bioc-biostrings r-bioc-seqlogo
	RPY2_CFFI_MODE=ABI $(BIN)/python -m pip install --quiet --no-cache-dir -c constraints.txt -e ".[r]"

setup: $(VENV)/.stamp

$(VENV)/.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "genomelm needs Python 3.11 or 3.12, found: $$($(PYTHON) --version 2>&1). Install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv --help >/dev/null 2>&1 && $(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "this Python cannot make environments. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(EXTRAS)]"
	$(BIN)/python -m pip check
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache data/runs/demo data/report/demo data/interim *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
