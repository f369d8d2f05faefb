SHELL := /bin/bash
PYTHON ?= python3
UV ?= uv
TESTS ?= tests

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.dev
PIP := $(BIN)/pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo serve test lint bench histories api-docs compose-check lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## watch cases live and die on real servers
	@$(BIN)/standpipe demo

serve: $(READY) ## run the servers, a worker and the HTTP API, data in .standpipe/, until Ctrl-C
	@$(BIN)/standpipe up

test: $(DEV) ## run the tests on real servers; TESTS=tests/lifecycles for a part of them
	@$(BIN)/pytest -q -n 3 --dist loadfile --no-loadscope-reorder $(TESTS)

lint: $(DEV) ## check style, purity of the rules, and types
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(DEV) ## measure side by side; takes a while
	@$(BIN)/python -m bench

histories: $(DEV) ## record golden histories, after a deliberate change; LIVES="on-time paused" for some
	@$(BIN)/python -m tests.replay.record $(LIVES)

api-docs: $(DEV) ## write docs/api.md anew, from the API's description
	@$(BIN)/python -m gateway.http.document docs/api.md

compose-check: $(DEV) ## check docker-compose.yml against the Compose specification
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

COMPILE = $(UV) pip compile pyproject.toml --upgrade --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-emit-index-url --no-emit-find-links

lock: ## renew the lock files from pyproject.toml (needs uv)
	@command -v $(UV) >/dev/null || { echo 'make lock needs uv: install it, or say make lock UV=path'; exit 1; }
	@$(COMPILE) --group build -o requirements.lock
	@$(COMPILE) --group build --group dev --group bench --constraint requirements.lock \
		-o requirements-dev.lock

clean: ## remove what can be made again; .standpipe/ with its data stays
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo '$(PYTHON) is not Python 3.11 or newer: say make PYTHON=python3.12, or where it is'; \
		exit 1; }
	@echo 'Installing into $(VENV), once:'
	@$(PYTHON) -m venv --clear $(VENV)
	$(call install,requirements.lock)
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $(READY)

$(DEV): $(READY) requirements-dev.lock
	@echo 'Installing what tests, checks and benchmarks need, once:'
	$(call install,requirements-dev.lock)
	@touch $(DEV)

define install
@set -o pipefail; $(PIP) install --require-hashes -r $(1) 2>&1 \
	| tee $(VENV)/install.log \
	| awk '/^Collecting/ { printf "."; fflush() } END { print "" }' \
	|| { tail -n 5 $(VENV)/install.log; exit 1; }
endef
