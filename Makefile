# make run · make demo · make test · make check · make e2e · make torture · make bench · make lock · make oidc · make apprise · make audit · make vendor
# On a fresh machine only Python 3.11 or newer (with venv) and make are needed.

SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$p" && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header --no-annotate --quiet
PYTEST_ARGS ?= --numprocesses=2
UPGRADE ?=

ifdef PORT
export DBACKUP_PORT := $(PORT)
endif
ifdef HOST
export DBACKUP_HOST := $(HOST)
endif

.PHONY: run demo install dev check test e2e slow torture bench lock oidc apprise audit vendor clean
.DEFAULT_GOAL := run

ifeq ($(DBACKUP_DEMO),1)
run: demo
else
run: install ## the server on 127.0.0.1:8000; PORT=8123 takes another port
	@exec $(BIN)/dbackup serve
endif

demo: dev ## the same with made-up data and stand-ins for every service, in instance-demo/
	@exec $(BIN)/python -m tools.demo

install: $(VENV)/.installed
dev: $(VENV)/.installed-dev

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "DBackup needs Python 3.11, 3.12 or 3.13. Install one, or name it: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Making the virtual environment $(VENV) …"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python has no venv. On Debian: apt install python3-venv" >&2; exit 1; }

# --no-index: the installation itself downloads nothing that is not in the lock
$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing what requirements.lock names …"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-build-isolation --no-deps --no-index --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "Installing what requirements-dev.lock names …"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

check: dev ## everything that needs no running program
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/djlint templates --lint --check
	$(BIN)/python tools/check_migrations.py

test: dev ## the tests that this machine can run; it ends by naming what was left out
	$(BIN)/pytest $(PYTEST_ARGS)

e2e: dev ## only the tests in Chromium
	$(BIN)/pytest -m e2e tests/e2e

slow: dev ## judge 100,000 generated messages; takes some minutes
	DBACKUP_TEST_SLOW=1 $(BIN)/pytest $(PYTEST_ARGS) -m slow

torture: dev ## kill the server 200 times, at points and random instants, and print what became of it
	$(BIN)/python -m tests.torture --points 200

bench: dev ## measure; the goals are printed beside the figures
	$(BIN)/python -m tools.bench

lock: dev ## after a change of dependencies in pyproject.toml; UPGRADE=--upgrade takes newer versions
	$(LOCK) --group install $(UPGRADE) --output-file requirements.lock
	$(LOCK) --extra oidc --group install $(UPGRADE) --constraint requirements.lock --output-file requirements-oidc.lock
	$(LOCK) --extra apprise --group install $(UPGRADE) --constraint requirements.lock --output-file requirements-apprise.lock
	$(LOCK) --extra oidc --extra apprise --group dev $(UPGRADE) --constraint requirements.lock --output-file requirements-dev.lock

oidc: install ## what sign-in through an OpenID provider needs
	@$(PIP) install --require-hashes -r requirements-oidc.lock

apprise: install ## what the channel type Apprise needs
	@$(PIP) install --require-hashes -r requirements-apprise.lock

audit: dev ## known vulnerabilities of what is locked; needs the network
	$(BIN)/python -m tools.audit

vendor: install ## htmx into static/vendor/, for closed networks
	$(BIN)/python -m tools.vendor_htmx

clean: ## the virtual environment and caches; never the instance
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
