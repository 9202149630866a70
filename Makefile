# `make repro` and `make test` need nothing but Python 3.11 or newer, git and make.
PYTHON ?= python3
PROFILE ?= laptop
BIN := .venv/bin
# DVC runs stages as `python ...`, which is that of .venv by this path.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# User input is passed to the shell through the environment, so that it is never run as a command.
override PROFILE := $(value PROFILE)
override ROOM := $(value ROOM)
override TORCH := $(value TORCH)
export PROFILE ROOM TORCH
# Reports contain characters beyond those of some locales.
export PYTHONUTF8 := 1
# Every stage and every process of the tests imports the project: compiled once, not each time.
unexport PYTHONDONTWRITEBYTECODE

INTERFACE := basins.checkpoints.interface basins.checkpoints.options basins.checkpoints.found
.PHONY: help installed profile repro encoder check test figures site api bench lint clean-cache

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

repro: profile installed  ## run the pipeline of PROFILE; print a summary and the report's path
	@python stages/repro.py "$$PROFILE"
	@echo "report: reports/$$PROFILE/index.html"

encoder: installed  ## fetch the text encoder pretrained on real text (83 MB, Apache-2.0)
	@python stages/encoder.py

check: installed  ## lint; check types and test what differs from main, or one ROOM (a package): 90 seconds
	@python -m tests.changed "$$ROOM"

test: installed lint  ## lint, type checks and all tests, including a smoke pipeline
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: installed
	ruff check .
	ruff format --check .
	lint-imports
	PYRIGHT_PYTHON_USE_BUNDLED_PYRIGHT=1 pyright

figures: installed  ## claims, figures, tables and report of every profile, from rows alone
	@python stages/redraw.py

site: figures  ## all reports as one site that works offline: site/index.html
	@python stages/site.py

api: installed  ## reference of the Python interface, from docstrings: build/api (needs pdoc)
	@python -c 'import pdoc' 2>/dev/null || { echo "error: pdoc is not installed; .venv/bin/pip install -e '.[api]'" >&2; exit 1; }
	@python -m pdoc --docformat google --output-directory build/api $(INTERFACE)
	@echo "reference: build/api/index.html"

bench: installed  ## speed ratios, measured side by side on a quiet machine
	python -m benchmarks

clean-cache:  ## delete the store: all items are computed again, nothing else is lost
	@test ! -d .cache || du -sh .cache
	rm -rf .cache

profile:
	@case "$$PROFILE" in ''|*[!A-Za-z0-9_-]*) \
	  printf 'error: PROFILE=%s: a profile is named by letters, digits, - and _\n' "$$PROFILE" >&2; exit 2;; \
	esac

installed:
	@$(PYTHON) .ci/install.py "$$TORCH"
