# `make serve` starts the service on port 9090, `make test` runs the tests; each installs what it needs into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: serve test e2e check fuzz format clean

serve: .venv/serve
	$(BIN)/gunicorn -c gunicorn.conf.py _wsgi:app

test: .venv/test
	$(BIN)/python -m pytest

e2e: .venv/test
	$(BIN)/python -m pytest tests/e2e

check: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

# Some ten minutes: 5,000 requests to the real service, and thousands of odd labeling configs, task data and tokens.
fuzz: .venv/test
	$(BIN)/python -m tests.security.fuzz
	FUZZ=long $(BIN)/python -m pytest tests/security/test_properties.py

format: .venv/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.10 to 3.13 is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# A file per list of requirements says that it is installed; it is older than the list when the list has changed.
.venv/serve: .venv/bin/python requirements.txt $(shell find sdk -name '*.py' -not -path '*/tests/*' -o -name pyproject.toml -path 'sdk/*')
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --force-reinstall --no-deps ./sdk
	touch $@

.venv/test: .venv/serve requirements-test.txt requirements-ray.txt models/requirements-train.txt
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-test.txt
	touch $@
