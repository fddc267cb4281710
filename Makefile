PYTHON ?= python3
BIN := .venv/bin
BENCH ?= --write

.PHONY: demo test cover bench check docs clean

# One stamp: a venv with the pinned packages. pip is enough, nothing else has to be on the machine.
.venv/.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: .venv/.stamp ## one event's story on the embedded database
	$(BIN)/payctl demo

test: .venv/.stamp ## all tests, on SQLite and on a real PostgreSQL that the tests start themselves
	$(BIN)/python -m pytest

cover: .venv/.stamp ## the same tests, and which lines they run; takes twice the time
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

bench: .venv/.stamp ## performance against its references; BENCH='--only startup' for a part
	$(BIN)/python -m tests.benchmarks $(BENCH)

check: .venv/.stamp ## style, types, import contracts, generated documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m payctl.cli.reference --check

docs: .venv/.stamp ## write the generated documents anew
	$(BIN)/python -m payctl.cli.reference --write

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
