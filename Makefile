# `make repro` and `make test` need nothing but Python 3.11 or 3.12, git and make.
PYTHON ?= python3
PROFILE ?= laptop
BIN := .venv/bin
# Stages are run by DVC as `python ...`; this is the python they get.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help repro test figures bench lint clean-cache

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

repro: .venv/installed  ## run the pipeline of PROFILE and say where its report is
	@python stages/repro.py $(PROFILE)
	@echo "report: reports/$(PROFILE)/index.html"

test: .venv/installed lint  ## lint, types and all tests, a smoke pipeline included
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: .venv/installed
	ruff check .
	ruff format --check .
	lint-imports
	PYRIGHT_PYTHON_USE_BUNDLED_PYRIGHT=1 pyright

figures: .venv/installed  ## claims, figures, tables and report of every profile, from its rows alone
	@for params in reports/*/params.yaml; do \
	  for stage in claims figures report; do \
	    echo "$$stage of $$params"; python stages/$$stage.py --params $$params || exit 1; \
	  done; \
	done

bench: .venv/installed  ## speed ratios, measured side by side on a quiet machine
	python -m benchmarks

clean-cache:  ## forget every item of the store: all is computed again, nothing else is lost
	@test ! -d .cache || du -sh .cache
	rm -rf .cache

.venv/installed: requirements.lock pyproject.toml
	@echo "making .venv and installing the pinned requirements (about 6 GB, a few minutes)"
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@
