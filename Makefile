# Each target sets up .venv by itself. Another interpreter: make test PYTHON=python3.12
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN = $(abspath $(VENV))/bin
PYTEST = $(BIN)/python -m pytest -n auto --dist loadfile

.PHONY: demo quick test lint rules types contracts check-tree bench docs wheel-test clean

demo: $(VENV)/.installed-base
	$(BIN)/auformer demo

# The inner loop, two to three minutes on two cores
quick: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow and not browser and not wheel and not kill"

test: lint
	$(PYTEST)

lint: rules types contracts

rules: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: check-tree
	cd build/check && $(BIN)/python -m mypy --config-file ../../setup.cfg --cache-dir ../../.mypy_cache

contracts: check-tree
	cd build/check && $(BIN)/lint-imports --no-logo --no-cache ../../setup.cfg

# mypy and import-linter know modules by their place: a copy in which data_prep lies where it is installed
check-tree: $(VENV)/.installed-dev
	rm -rf build/check && mkdir -p build/check
	cp -Rp auformer build/check/ && cp -Rp data_prep build/check/auformer/

bench: $(VENV)/.installed-dev
	$(BIN)/python -m experiments.speed.bench

# Executes the notebooks, needs no network, and ends at the first warning: build/docs/index.html
docs: $(VENV)/.installed-dev
	$(BIN)/python -m sphinx -W --keep-going -b html docs build/docs

wheel-test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/test_wheel.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "auformer needs Python 3.10 to 3.13; name one: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip

$(VENV)/.installed-base: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e .
	touch $@

$(VENV)/.installed-dev: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e ".[dev]"
	touch $@ $(VENV)/.installed-base
