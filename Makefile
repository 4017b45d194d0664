# `make` alone tells what there is. Needed: Python 3.10 or newer, and make. Everything else is installed into .venv.

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# Test with the Pythons that are there; never fetch one.
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1
# A pytest run that a developer's own settings steer is a different run.
unexport PYTEST_ADDOPTS PYTHONPATH PYTHONHOME VIRTUAL_ENV

SOURCES := src tests examples tools conformance benchmarks fuzz
# The compiled kernel lies among the sources, and is built anew when one of these changes.
KERNEL := setup.py src/trio_websocket/_kernel/_cy.pyx $(wildcard src/trio_websocket/_kernel/_cy_*.pxi)

.PHONY: help demo test install lint format types docs tests covered-alone package node conformance sanitize fuzz bench bench-kernel changelog pins clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-21s %s\n", $$1, $$2 }'

demo: $(VENV)/.package ## install the library and see it at work: a server, a client, a heartbeat, a network that drops
	@$(BIN)/python examples/demo.py

test: lint types docs tests covered-alone package ## all checks: lint, types, docs, tests, covered-alone, package
	@echo "make test: everything passed"

install: $(VENV)/.tools ## the library and all tools, at their pinned versions, into .venv

lint: $(VENV)/.tools ## style, format, layers, sizes, docstrings, spelling, change notes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python tools/check_source.py
	$(BIN)/codespell
	$(BIN)/towncrier build --draft --version next >/dev/null

format: $(VENV)/.tools ## let ruff put the files into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.tools ## mypy --strict over all files; the public names completely typed
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/basedpyright --ignoreexternal --verifytypes trio_websocket

docs: $(VENV)/.tools ## the documentation, into docs/_build/html; warnings are errors
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --builder html docs docs/_build/html

tests: $(VENV)/.tools node ## the test suite, with coverage
	$(BIN)/python -m pytest --numprocesses=auto --cov --cov-report=term

covered-alone: $(VENV)/.tools ## each module of protocol/ and _kernel/: all branches covered by its own test file
	$(BIN)/python tools/covered_alone.py

package: $(VENV)/.tools ## build the sdist and the wheels; run the tests over them on each Python there is
	$(BIN)/python tools/test_wheel.py

# Node's `ws`, for the interop tests. Without npm those tests are left out, and pytest says so (where CI is set: fails).
node: tests/interop/node_modules/.package-lock.json

tests/interop/node_modules/.package-lock.json: tests/interop/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix tests/interop --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "npm is not there: the tests with Node's ws will be left out"; fi

conformance: $(VENV)/.package ## the Autobahn suite against our client and our server; CONFORMANCE=--fast; needs a Python 2.7 and a C compiler
	$(BIN)/python conformance/run.py $(CONFORMANCE)

sanitize: $(VENV)/.tools ## the tests over a kernel under AddressSanitizer and UBSan, and a search for leaks; needs a C compiler
	$(BIN)/python tools/sanitize.py
	$(BIN)/python tools/leaks.py

FUZZ_SECONDS ?= 30
fuzz: $(VENV)/.package ## hostile input, made by a fuzzer (atheris), for FUZZ_SECONDS=30 each; FUZZ="session" for one target
	@$(BIN)/python fuzz/run_targets.py --seconds $(FUZZ_SECONDS) $(FUZZ)

bench: $(VENV)/.package node ## this library beside others on this machine, in some 12 minutes; BENCH="--quick" for less
	@$(BIN)/python benchmarks/compare.py $(BENCH)

bench-kernel: $(VENV)/.package ## what the kernels' operations cost by size; KERNEL_BENCH="--instructions" counts under valgrind
	@$(BIN)/python benchmarks/kernel_cost.py $(KERNEL_BENCH)

changelog: $(VENV)/.tools ## how the change notes will read in the next release
	@$(BIN)/towncrier build --draft --version "$$($(BIN)/python -c 'import trio_websocket as t; print(t.__version__)')"

pins: $(VENV)/.tools ## look for newer tools and write their versions into requirements/
	$(BIN)/python tools/write_pins.py

clean: ## remove everything that make has made
	rm -rf $(VENV) .bench .fuzz .sanitize .wheel-tests .wstest build dist docs/_build conformance/reports tests/interop/node_modules
	rm -f src/trio_websocket/_kernel/_cy.c src/trio_websocket/_kernel/_cy.*.so
	rm -rf .coverage .coverage.* htmlcov .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache src/*.egg-info

$(BIN)/python:
	@python=$$(tools/find-python) && echo "Making $(VENV) with $$python" && "$$python" -m venv $(VENV)

# The library alone, with what it depends on: enough for the demo.
$(VENV)/.package: pyproject.toml $(KERNEL) | $(BIN)/python
	@if test -e $(VENV)/.tools; then $(MAKE) --no-print-directory $(VENV)/.tools; \
	else echo "Installing trio-websocket into $(VENV)"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .; fi
	@touch $@

$(VENV)/.tools: pyproject.toml $(KERNEL) requirements/dev.txt requirements/uv.txt | $(BIN)/python
	@echo "Installing trio-websocket and the development tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements/uv.txt
	@$(UV) pip install --quiet --python $(BIN)/python --requirement requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.package
