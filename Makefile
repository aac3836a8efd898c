# Every target sets up what it needs by itself: Python 3.11 or newer and its package manager are enough.

PYTHON ?= $(shell for v in 3.13 3.12 3.11 3; do command -v python$$v >/dev/null 2>&1 && python$$v -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo python$$v && break; done)
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

# One process more than there are cores; -n 0 in ARGS (the last word counts) runs the tests in one, as pytest by itself does.
SHARED = -n auto --dist worksteal

.PHONY: demo test check check-all bench bench-full torture format clean

demo: $(READY)
	$(BIN)/python examples/stdlib_census.py

test: $(READY)
	$(BIN)/python -m pytest $(SHARED) $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-all: check test torture

bench: $(READY)
	$(BIN)/python -m benchmarks --quick $(ARGS)

bench-full: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

torture: $(READY)
	$(BIN)/python -m pytest -m torture --timeout 1800 tests $(ARGS)

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "GigQ needs Python 3.11 or newer; none was found. Name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $(READY)
