# The whole workflow. `make run` and `make test` do everything on a fresh machine.

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-soak check bench format clean

PYTHON := .venv/bin/python
# Whole files go to one of three processes, in their order: long ones come before many short ones.
# Half of the time tests wait for something, so three keep two processors busy.
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder

help:  ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: .venv/run  ## Start cloud, gateway, two simulated devices and the example; Ctrl-C ends all
	@exec .venv/bin/hecate up

test: .venv/test check  ## Check, then run all quick tests (about 9 minutes)
	$(PYTHON) -m pytest -m "not slow" -q $(PARALLEL)

# Of the slow tests so much; HECATE_TEST_SEED=N repeats the share of another run (tests/share.py).
SHARE ?= 0.3
SLOW := -n 2 --dist load --maxschedchunk 1

test-slow: .venv/test  ## A share of fuzzing, attacks, kills, power cuts and soak (about 15 minutes)
	HYPOTHESIS_PROFILE=slow HECATE_TEST_SHARE=$(SHARE) $(PYTHON) -m pytest tests/properties -q $(PARALLEL) --timeout 1200
	HECATE_TEST_SHARE=$(SHARE) $(PYTHON) -m pytest -m slow -q $(SLOW) --durations 10

test-soak: .venv/test  ## All of them, with long fuzzing, into docs/soak.md (an hour)
	$(PYTHON) scripts/soak.py --into docs/soak.md

check: .venv/test  ## Format, lint, types, imports, sizes, device syntax
	$(PYTHON) -m ruff format --check --quiet .
	$(PYTHON) -m ruff check --quiet .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	$(PYTHON) scripts/check_sizes.py
	$(PYTHON) scripts/check_names.py
	$(PYTHON) scripts/check_device.py

bench: .venv/test  ## Measure against the rivals on this machine, into docs/benchmarks*.md (45 minutes)
	$(PYTHON) -m benchmarks --out docs/benchmarks.md
	$(PYTHON) -m benchmarks.interference --into docs/benchmarks-details.md
	$(PYTHON) -m benchmarks.services --out docs/benchmarks-services.md
	$(PYTHON) -m benchmarks.cluster --out docs/benchmarks-cluster.md
	$(PYTHON) -m benchmarks.devices --out docs/benchmarks-devices.md

format: .venv/test  ## Format the code and mend what a tool can mend
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

clean:  ## Remove what was installed and built here (not the state of gateways)
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/run: pyproject.toml scripts/bootstrap
	@scripts/bootstrap run

.venv/test: pyproject.toml scripts/bootstrap
	@scripts/bootstrap test
