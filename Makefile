# One verb per audience; `make` alone lists them. Everything lives in .venv and _build.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help book test lint bench clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-7s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

book: $(STAMP) ## execute the notebooks and build the book: _build/html/index.html
	@$(BIN)/rgkit book

# Two files of tests at a time; the book is built once for all of them.
test: $(STAMP) ## all tests, those in a browser included where Chromium is installed
	@$(BIN)/pytest -q -n 2 --dist loadfile

lint: $(STAMP) ## ruff, mypy, notebooks committed without outputs, and the size of the house
	@$(BIN)/ruff check -q
	@$(BIN)/ruff format --check -q
	@$(BIN)/mypy
	@$(BIN)/rgkit check
	@$(BIN)/pytest -q tests/test_house.py

# On a machine with nothing else to do: about 15 minutes on two cores.
bench: $(STAMP) ## measure the speed of everything here, for the book's bench page
	@$(BIN)/rgkit bench

clean: ## remove what was built; the environment and the records stay
	@rm -rf _build .pytest_cache .mypy_cache .ruff_cache

# The environment is made again when the ranges or the pins change.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    found=$$($(PYTHON) --version 2>/dev/null || echo "not there"); \
	    echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$found." \
	         "Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "'$(PYTHON)' ($$($(PYTHON) --version)) has no venv module;" \
	         "on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing into $(VENV): about 2 GB, and 2.6 GB more where pip takes the CUDA build of" \
	      "torch (README.md says how to have the small one); minutes the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
