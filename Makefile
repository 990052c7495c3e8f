# A fresh machine needs make, bash, and Python >= 3.11 with its venv module.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# the first one that is new enough; PYTHON=… picks another
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-by-make
DEMO := .demo
FRAMEWORKS := .frameworks

.PHONY: help setup check test test-frameworks demo bench bench-ship bench-gpu bench-instrument docs docs-site kibana services services-stop clean

help: ## list these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' Makefile | while IFS='|' read -r target says; do \
		printf '  make %-16s %s\n' "$$target" "$$says"; done

setup: $(STAMP) ## make .venv and install pinchpoint into it

$(STAMP): setup.cfg pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'pinchpoint needs Python 3.11 or later, found none; name one: make setup PYTHON=/path/to/python3' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'Python cannot make environments here: its venv module or ensurepip is missing (on Debian and Ubuntu: apt install python3-venv)' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'
	@touch $@

check: $(STAMP) ## lint, types, import rules, generated pages up to date
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg
	$(BIN)/python docs/build.py --check
	$(BIN)/python -m kibana.build --check

test: $(STAMP) ## all tests; what cannot run here is skipped and says why
	$(BIN)/python -m pytest

test-frameworks: $(STAMP) $(FRAMEWORKS)/.installed-by-make ## test on the real PyTorch, JAX, Trainer, Lightning and Keras
	PINCHPOINT_FRAMEWORKS=1 $(BIN)/python -m pytest tests/frameworks --timeout 300

$(FRAMEWORKS)/.installed-by-make: tests/frameworks/requirements.txt
	@test -x $(FRAMEWORKS)/bin/python || $(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

demo: $(STAMP) ## train slowly on purpose and let pinchpoint say why
	$(BIN)/pinchpoint watch --store $(DEMO)/lake -- $(BIN)/python examples/train.py --slow tiny-files --ranks 1 --steps 200

bench: $(STAMP) ## measure speed, memory and overhead, and print them
	$(BIN)/python benchmarks/run.py

bench-ship: $(STAMP) ## measure the shipping agent beside rsyslog and syslog-ng, then under kills and faults
	$(BIN)/python -m benchmarks.ship_speed
	$(BIN)/python -m benchmarks.ship_faults

bench-gpu: $(STAMP) ## measure what reading eight GPUs costs, and what a hanging driver does
	$(BIN)/python -m benchmarks.gpu_speed

bench-instrument: $(FRAMEWORKS)/.installed-by-make ## measure what hooks cost a PyTorch loop
	$(FRAMEWORKS)/bin/python benchmarks/instrument.py

docs: $(STAMP) ## write docs/reference anew from the code
	$(BIN)/python docs/build.py

docs-site: $(STAMP) ## make the documentation as a site in build/site
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock '.[docs]'
	$(BIN)/mkdocs build

kibana: $(STAMP) ## write the dashboards anew from the code
	$(BIN)/python -m kibana.build

services: ## start the servers that tests talk to; REQUIRE=1 fails where one cannot be had
	@PYTHONPATH=tests $(PYTHON) -m services start $(if $(REQUIRE),--require)

services-stop: ## end them
	@PYTHONPATH=tests $(PYTHON) -m services stop

clean: services-stop ## remove what these targets made, .venv included
	rm -rf $(VENV) $(DEMO) $(FRAMEWORKS) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
