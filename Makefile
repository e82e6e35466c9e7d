# Two commands are enough: `make serve` and `make test`. Both do all of their set-up, in .venv; later runs reuse it.
# `make help` lists the rest. PYTHON, TORCH and the ports are explained in requirements/install and docs/settings.md.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
JOBS := 2
SERVE := requirements/install serve
DEV := requirements/install dev
export PYTHON TORCH

.PHONY: help
help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: serve
serve:  ## gateway, worker and store on this machine (MODEL=panda-small, SPEECH=whisper-base, ARGS="--port 8001")
	@$(SERVE)
	@$(if $(SPEECH),requirements/install speech)
	@exec $(BIN)/pandagpt serve $(if $(MODEL),--model $(MODEL)) $(if $(SPEECH),--speech $(SPEECH)) $(ARGS)

.PHONY: test
test:  ## all tests (ARGS="tests/engine -k sampling", JOBS=4, GOLDEN=FOLDER of other golden vectors)
	@$(DEV)
	@OMP_NUM_THREADS=1 exec $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: lint
lint:  ## style and formatting
	@$(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: types
types:  ## static types, strict
	@$(DEV)
	@$(BIN)/mypy

.PHONY: contracts
contracts:  ## which room may import which
	@$(DEV)
	@$(BIN)/lint-imports

.PHONY: openapi
openapi:  ## write openapi.yaml, docs/settings.md and docs/media.md from the code
	@$(DEV)
	@$(BIN)/python -m service.gateway.openapi.document openapi.yaml
	@$(BIN)/python -m service.settings.page > docs/settings.md.tmp && mv docs/settings.md.tmp docs/settings.md
	@$(BIN)/python -m pandagpt_core.media.page > docs/media.md.tmp && mv docs/media.md.tmp docs/media.md

.PHONY: docs
docs:  ## a site of all pages in build/guide/site, which a gateway serves at /docs/guide/
	@$(DEV)
	@$(BIN)/python docs/site/stage.py build/guide
	@$(BIN)/zensical build --strict --config-file build/guide/mkdocs.yml

.PHONY: check
check: lint types contracts  ## before a commit, in minutes: lint, types, contracts, all tests but those in tests/whole.py
	@OMP_NUM_THREADS=1 exec $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not whole" $(ARGS)

.PHONY: demo
demo:  ## start everything, ask about each sample, stop
	@$(SERVE)
	@exec $(BIN)/pandagpt demo $(ARGS)

.PHONY: bench
bench:  ## every benchmark in turn; each prints a table and lines of JSON (ARGS="--quick")
	@$(DEV)
	@exec $(BIN)/python -m benchmarks $(ARGS)

.PHONY: soak
soak:  ## thousands of requests while workers, gateways and the store are killed; a report (ARGS="--requests 5000")
	@$(DEV)
	@OMP_NUM_THREADS=1 exec $(BIN)/python -m tests.chaos.soak $(ARGS)

.PHONY: mini
mini:  ## train models/panda-mini anew (hours on a CPU; ARGS="--device cuda", or --quick to try every stage)
	@$(DEV)
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements/mini.txt
	@exec $(BIN)/python -m recipes.panda_mini.build $(ARGS)

.PHONY: locate
locate:  ## train models/panda-locate anew (hours on a CPU; ARGS=--quick to try every stage)
	@$(DEV)
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements/mini.txt
	@exec $(BIN)/python -m recipes.panda_locate.build $(ARGS)

.PHONY: bind
bind:  ## train models/panda-mini-bind anew (an hour on a CPU; ARGS=--tune: both phases, --quick: to try every stage)
	@$(DEV)
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements/mini.txt
	@exec $(BIN)/python -m recipes.panda_mini_bind.build $(ARGS)

.PHONY: figures
figures:  ## measure models/panda-mini as `make mini` does, fill its card and README (ARGS=reserved: the test set, once)
	@$(DEV)
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements/mini.txt
	@exec $(BIN)/python -m recipes.panda_mini.figures models/panda-mini $(or $(ARGS),validation) --fill README.md

.PHONY: lock
lock:  ## take newer versions into requirements/lock.txt
	@$(DEV)
	@requirements/relock

.PHONY: sbom
sbom:  ## the bill of materials (CycloneDX) of the locked packages: sbom.json
	@$(DEV)
	@$(BIN)/python requirements/sbom.py > sbom.json.tmp && mv sbom.json.tmp sbom.json

.PHONY: clean
clean:  ## remove the environment, the embedded store's data and all caches
	rm -rf .venv .state .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
