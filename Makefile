# `make demo` plays the shipped world; `make test` runs the tests. Both make their own virtual environment.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
# Extras whose lowest versions `make test-minimums` installs.
MINIMUM_EXTRAS := rl train atari serve remote ray import
# For a build of PyTorch other than the package index's own (say, the CPU one): the index to take it from.
TORCH_INDEX ?=

# Compiled modules are kept: some two hundred processes of the tests import them.
export PYTHONDONTWRITEBYTECODE =

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Versions to install. Tools that check the code and are no claim of ours (test runner, linters) stay as they are.
PINS ?= constraints.txt
TORCH = $(shell grep '^torch==' $(PINS))

.PHONY: demo test test-slow fuzz kills test-minimums test-minerl extras docs lint format types clean

demo: $(VENV)/.installed
	$(BIN)/worldsim play

# Every test but the slow ones, in less than five minutes on two cores.
test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m 'not slow and not alone'

test-slow: $(VENV)/.installed-test
	@# Tests of the real game and of clusters want the machine for themselves: they come one by one after the others.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m 'slow and not alone'; side_by_side=$$?; \
	    OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m alone; alone=$$?; exit $$((side_by_side || alone))

# Thousands of damaged inputs for everything that reads (`make test` takes a few), and kill -9 at random moments.
fuzz: $(VENV)/.installed-test
	FUZZ=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist load tests/fuzz

kills: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.kills

# The lowest versions that pyproject.toml claims, in an environment of their own.
test-minimums:
	$(MAKE) VENV=$(VENV)-minimums PINS=build/minimums.txt test test-slow

# The MineRL source with the real package's classes; MINERL=FOLDER takes a checkout of MineRL 1.0.
test-minerl: $(VENV)/.installed-test
	.ci/minerl $(BIN)/python build/minerl

extras: $(VENV)/.installed-test
	$(BIN)/python .ci/extras.py

# The site, in build/site: strict, so a link or an anchor that leads nowhere is an error.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	$(BIN)/python -m docs.tools.check build/site

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(VENV)/.installed-test
	$(BIN)/pyright

clean:
	rm -rf $(VENV) $(VENV)-minimums build dist *.egg-info

build/minimums.txt: pyproject.toml .ci/minimums.py
	mkdir -p build
	$(PYTHON) .ci/minimums.py $(MINIMUM_EXTRAS) > $@

$(VENV)/.torch: $(PINS)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	    { echo 'worldsim needs Python 3.11, 3.12 or 3.13; choose one: make PYTHON=python3.12 ...' >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# PyTorch first and pinned: a range in another package would let pip choose another, much larger build.
	$(PIP) install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) '$(TORCH)'
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) install -q -c $(PINS) -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.torch pyproject.toml
	$(PIP) install -q -c $(PINS) -e '.[test]'
	touch $@
	touch $(VENV)/.installed

$(VENV)/.installed-docs: $(VENV)/.torch pyproject.toml
	$(PIP) install -q -c $(PINS) -e '.[docs]'
	touch $@
	touch $(VENV)/.installed
