# make run    makes .venv, installs the shim there and runs it         ARGS='--mode block'
# make test   the tests                                                ARGS='-k config -x'
# make lint   ruff, mypy --strict
# make fuzz   every reader of foreign bytes, fuzzed                    SECONDS=600 ARGS='--keep session'
# make bench  the benchmarks                                           ARGS=
# make bench-docs  the same, with all figures put into docs/benchmarks.md
# make load   20,000 tunnels, 5,000 half handshakes, 100,000 in a row  ARGS='--tunnels 3000'
# make soak   ten minutes of random ends, looked at for what is left  ARGS='--seconds 3600'
# make survey every client of the catalogue that is installed, into docs/survey
# make lock   pins the dependencies again, by hash: needs uv             ARGS=--upgrade
# make audit  what is installed against the locks
# make sbom   the bill of materials, CycloneDX, into build/sbom.cdx.json
# make docs   writes the generated pages of docs/ again
# make clean  removes what the others made
# PYTHON=...  an interpreter of your choice, 3.11 or newer

.DELETE_ON_ERROR:
.PHONY: run test lint fuzz bench bench-docs load soak survey lock audit sbom docs clean

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTHON ?=
ARGS ?=
SECONDS := 600

run: .venv/.installed
	@$(BIN)/shim run $(ARGS)

test: .venv/.installed-dev
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: .venv/.installed-fuzz
	@cd tests && ../$(BIN)/python -m fuzz.campaign --seconds $(SECONDS) $(ARGS)

# Without a header, which would hold the command line, and without a registry's address.
LOCK = uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 $(ARGS)
WANTED = import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); print(*p$(1), sep="\n")
# stem comes as source alone, and is built by it.
BUILDER = setuptools>=77

lock: .venv/bin/python
	$(LOCK) --extra dev -o requirements/dev.lock pyproject.toml
	$(LOCK) -c requirements/dev.lock -o requirements/base.lock pyproject.toml
	{ $(BIN)/python -c '$(call WANTED,["build-system"]["requires"])'; echo '$(BUILDER)'; } | \
	  $(LOCK) -c requirements/dev.lock -o requirements/build.lock -
	$(BIN)/python -c '$(call WANTED,["project"]["optional-dependencies"]["fuzz"])' | \
	  $(LOCK) -c requirements/dev.lock -o requirements/fuzz.lock -

audit: .venv/.installed-dev
	$(BIN)/python -m supply.verify

sbom: .venv/.installed-dev
	@mkdir -p build
	$(BIN)/python -m supply.sbom > build/sbom.cdx.json

bench: .venv/.installed-dev
	$(BIN)/python bench/run.py $(ARGS)

bench-docs: .venv/.installed-dev
	$(BIN)/python bench/run.py --publish $(ARGS)
	$(BIN)/python bench/workers.py --publish
	$(BIN)/python bench/dns.py --rounds 3 --seconds 1 --publish

load: .venv/.installed-dev
	@cd tests && ../$(BIN)/python -m load tunnels half row $(ARGS)

soak: .venv/.installed-dev
	@cd tests && ../$(BIN)/python -m load soak $(ARGS)

# It tells what has changed since the last one, and goes on where one was broken off.
survey: .venv/.installed
	@$(BIN)/shim survey --fetch --resume docs/survey/new.json $(if $(wildcard docs/survey/survey.json),\
	  --since docs/survey/survey.json) >/dev/null; case $$? in 0|1|3) ;; *) exit 2;; esac
	@mv docs/survey/new.json docs/survey/survey.json
	$(BIN)/python docs/generate_survey.py

docs: .venv/.installed-dev
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/generate_advice.py
	$(BIN)/python docs/generate_survey.py
	$(BIN)/python -m supply.licences

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz build dist bench/build bench/out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What is installed follows the locks, hash by hash; the code itself is used where it lies.
LOCKED = $(PIP) install --require-hashes
ITSELF = $(PIP) install --no-deps --no-build-isolation --editable .

.venv/.installed: pyproject.toml requirements/base.lock requirements/build.lock | .venv/bin/python
	$(LOCKED) -r requirements/base.lock -r requirements/build.lock
	$(ITSELF)
	@touch $@

.venv/.installed-dev: pyproject.toml requirements/dev.lock requirements/build.lock | .venv/bin/python
	$(LOCKED) -r requirements/build.lock
	$(LOCKED) --no-build-isolation -r requirements/dev.lock
	$(ITSELF)
	@touch .venv/.installed $@

.venv/.installed-fuzz: .venv/.installed-dev requirements/fuzz.lock
	@$(LOCKED) --only-binary :all: -r requirements/fuzz.lock || \
	  { echo 'make: atheris cannot be installed here; it has wheels for few systems' >&2; exit 1; }
	@touch $@

.venv/bin/python:
	@set -e; \
	for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "making .venv with $$("$$python" --version)"; \
	    rm -rf .venv; \
	    exec "$$python" -m venv .venv; \
	  fi; \
	done; \
	echo 'make: needs Python 3.11 or newer with venv (on Debian: apt install python3 python3-venv),' >&2; \
	echo 'make: or the path of one: make PYTHON=/path/to/python3' >&2; \
	exit 1
