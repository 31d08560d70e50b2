# `make serve` starts the service on port 9090, `make test` runs the tests; each installs what it needs into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: serve quick test e2e check audit fuzz bench docs lock version format clean

serve: .venv/serve
	$(BIN)/gunicorn -c gunicorn.conf.py _wsgi:app

# For the daily loop: what needs no other process, and no more than a moment.
quick: .venv/test
	$(BIN)/python -m pytest --quiet -m unit

test: .venv/test
	$(BIN)/python -m pytest

e2e: .venv/test
	$(BIN)/python -m pytest tests/e2e

check: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory audit

# Known holes in what the image has. A question for a hole that is known shows whether the service answers at all.
ADVISORIES := https://api.osv.dev/v1/query
ASK := import urllib.request as r; q = b'{"version": "2.4.1", "package": {"name": "jinja2", "ecosystem": "PyPI"}}'; \
	b"vulns" in r.urlopen(r.Request("$(ADVISORIES)", q), timeout=3).read() or exit(1)
audit: .venv/test
	@if $(BIN)/python -c '$(subst ','\'',$(ASK))' 2>/dev/null; \
		then $(BIN)/pip-audit --requirement requirements.lock --disable-pip --no-deps --vulnerability-service osv; \
		else echo "pip-audit: skipped, since $(ADVISORIES) doesn't answer"; fi

# Some ten minutes: 5,000 requests to the real service, and thousands of odd labeling configs, task data and tokens.
fuzz: .venv/test
	$(BIN)/python -m tests.security.fuzz
	FUZZ=long $(BIN)/python -m pytest tests/security/test_properties.py

# What the image installs, with the hash of every file: the newest versions that requirements.txt allows.
LOCK := $(BIN)/uv pip compile --upgrade --universal --python-version 3.10 --generate-hashes --no-annotate \
	--custom-compile-command "make lock" --quiet
lock: .venv/test
	grep -v '^\./sdk' requirements.txt | $(LOCK) - sdk/pyproject.toml --output-file requirements.lock
	grep -o 'hatchling>=[^"]*' sdk/pyproject.toml | $(LOCK) - --output-file requirements-build.lock

# For tags of the image.
version:
	@sed -n 's/^__version__ = "\(.*\)"/\1/p' yolo_backend/__init__.py

# Some twenty minutes: the tables of docs/performance.md.
bench: .venv/test
	PYTHONPATH=. $(BIN)/python benchmarks/speed.py
	PYTHONPATH=.:models $(BIN)/python benchmarks/tiles.py
	PYTHONPATH=. $(BIN)/python benchmarks/handshakes.py

# The parts of docs/ that are written from the code.
docs: .venv/test
	$(BIN)/python -m yolo_backend settings > docs/settings.md
	PYTHONPATH=. $(BIN)/python tests/controls/test_docs.py
	PYTHONPATH=. $(BIN)/python tests/test_architecture.py

format: .venv/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.10 to 3.13 is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# A file per list of requirements says that it is installed; it is older than the list when the list has changed.
.venv/serve: .venv/bin/python requirements.txt $(shell find sdk -name '*.py' -not -path '*/tests/*' -o -name pyproject.toml -path 'sdk/*')
	$(if $(TORCH_INDEX_URL),$(BIN)/python -m pip install --disable-pip-version-check --index-url $(TORCH_INDEX_URL) \
		$(shell grep -oE '^torch(vision)?==[^ ]+' requirements.lock))
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --force-reinstall --no-deps ./sdk
	touch $@

.venv/test: .venv/serve requirements-test.txt requirements-ray.txt models/requirements-train.txt
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-test.txt
	touch $@
