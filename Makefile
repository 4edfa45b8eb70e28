# Entry points. `make demo` and `make test` need only a clone of the repository and Python 3.11 or newer.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
LOWEST := .venv-lowest
IGCL_JOBS ?= $(shell nproc 2>/dev/null || echo 2)
export MPLBACKEND := Agg

.PHONY: help install demo compare page test test-lowest soak lint types bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv with all dependencies, at tested versions

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --group dev --editable .
	touch $(STAMP)

demo: $(STAMP) ## pretrain, probe and compare on synthetic radiographs: results and plots in runs/demo
	$(BIN)/igcl demo --out runs/demo $(if $(SEED),--seed $(SEED))

compare: $(STAMP) ## IGCL, ConVIRT, SimCLR, supervised and random at the same budget on synthetic radiographs
	$(BIN)/igcl compare --out runs/compare $(if $(SEED),--seed $(SEED))

page: $(STAMP) ## a small evaluation, and its page in headless Chromium with axe-core, where both are installed
	$(BIN)/igcl evaluate --fast --out runs/page --train igcl:0,igcl:1 --baselines random --protocol linear,few_shot,retrieval
	$(BIN)/python docs/check_page.py runs/page/report.html $(if $(AXE),--axe $(AXE))

# The types are checked beside the tests, whose processes have one thread each: they share the cores.
test: $(STAMP) lint ## lint, types, and all tests except the soak tests
	@$(BIN)/mypy & types=$$!; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(IGCL_JOBS) --dist loadfile --no-loadscope-reorder; tests=$$?; \
	wait $$types && exit $$tests

test-lowest: $(LOWEST)/installed ## all tests except the soak tests, at the lowest version of each direct dependency
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n $(IGCL_JOBS) --dist loadfile --no-loadscope-reorder

$(LOWEST)/installed: $(STAMP) pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	sed -nE 's/.*"([a-z0-9-]+)(\[[a-z]+\])?>=([0-9.]+)".*/\1==\3.*/p' pyproject.toml > $(LOWEST)/floors.txt
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --constraint $(LOWEST)/floors.txt \
		--group dev --editable .
	touch $@

soak: $(STAMP) ## the long soak tests
	$(BIN)/python -m pytest -m soak

lint: $(STAMP) ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## mypy, strict on src
	$(BIN)/mypy

bench: $(STAMP) ## measure the table of speeds again, side by side: benchmarks/results, docs/performance.md
	$(BIN)/python benchmarks/table.py --all

clean: ## remove the environment, caches and runs
	rm -rf .venv $(LOWEST) .mypy_cache .pytest_cache .ruff_cache runs
