# Every target sets up .venv first when it is missing or out of date (recipes/setup.sh).
# All paths are relative: a checkout may lie in a folder with spaces.

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-pythons check docs bench audit licences lock clean

BIN := .venv/bin
# A file of tests on each core, one thread each: they are small.
PYTEST := env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

# Checks JavaScript by its inferred types; npm keeps it in its cache, nothing is installed.
TSC := npm exec --yes --prefer-offline --fetch-retries=0 --package=typescript@5.9.3 -- tsc

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1#\2/p' Makefile | \
		while IFS='#' read -r name what; do printf '%-18s %s\n' "$$name" "$$what"; done

setup:  ## install into .venv (PYTHON=... chooses the interpreter)
	@recipes/setup.sh

demo: setup  ## train and translate a small generated corpus (recipes/quickstart.sh)
	@recipes/quickstart.sh

test: setup  ## the quick tests
	$(PYTEST) -m "not slow"

test-slow: setup  ## the tests that train, spawn processes or run whole recipes
	$(PYTEST) -m slow

test-pythons:  ## the quick tests with each Python and torch that is promised (recipes/pythons.sh)
	@recipes/pythons.sh

check: setup  ## lint, format, types, and whether what is said of results follows from them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/nmt-moe claims check
	$(BIN)/python docs/figures.py
	$(BIN)/shellcheck recipes/*.sh recipes/*.sbatch recipes/claims/*.sh benchmarks/*.sh .ci/run
	@if $(TSC) --version > /dev/null 2>&1; then echo "tsc: the scripts of the pages"; $(TSC) --project .; \
		else echo "npm and the network are needed to check the scripts of the pages: left out"; fi

docs: setup  ## build the documentation into build/site; fails on dead links and stale tables
	$(BIN)/python docs/generate.py --check
	@[ -x .venv/docs/bin/mkdocs ] || { $(BIN)/python -m venv .venv/docs && \
		.venv/docs/bin/pip install -q 'pip>=25.1' && .venv/docs/bin/pip install -q --group docs; }
	.venv/docs/bin/mkdocs build --strict

bench: setup  ## the speed of layers, training and search against others (into benchmarks/results)
	$(BIN)/python benchmarks/all.py

audit: setup  ## whether vulnerabilities of the dependencies are known (asks PyPI)
	@recipes/dependencies.sh audit

licences: setup  ## whether the licences of the dependencies are allowed (requirements/licences.toml)
	@recipes/dependencies.sh licences

lock: setup  ## choose the dependencies that pyproject.toml needs, with hashes (requirements/)
	@recipes/dependencies.sh lock

clean:  ## remove .venv, caches and builds; data/ stays
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find nmt_moe tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
