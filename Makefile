# Every target makes the virtual environment first, once, and reuses it: `make demo` and `make test` work as the first command after a clone.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
BENCH  := $(VENV)/.installed-bench
# An upgrade of the system may take the interpreter away: then what was installed for it doesn't count.
$(shell test -x $(BIN)/python || rm -f $(STAMP) $(DEV) $(BENCH))
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test sim mutants fuzz escape orphans check coverage format lint types docs reference bench proto examples clean
.NOTPARALLEL:     # two pip runs in one virtual environment get in each other's way
.DELETE_ON_ERROR: # a virtual environment that was made only half is made anew
help:            ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

$(BIN)/python:
	@$(PYTHON) -c '' 2>/dev/null || { echo "$(PYTHON) isn't there or doesn't start. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sigil-actors needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)

$(STAMP): pyproject.toml | $(BIN)/python
	@echo 'Installing into $(VENV), once' >&2
	@$(PIP) --editable .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	@echo 'Installing into $(VENV) with the tools for development, once' >&2
	@$(PIP) --editable '.[dev]'
	@touch $@ $(STAMP)

$(BENCH): $(DEV)
	@echo 'Installing into $(VENV) what the benchmarks compare with, once' >&2
	@$(PIP) --editable '.[bench]'
	@touch $@

demo: $(STAMP)   ## The whole story in a minute, on embedded defaults
	@$(BIN)/sigil-actors demo $(ARGS)

test: $(DEV)     ## All tests
	$(BIN)/python -m pytest $(ARGS)

sim: $(DEV)      ## Simulate the kit and the whole runtime: make sim [SEEDS=N] [SEED=K] [JOBS=2]
	$(BIN)/python -m tests.simulations $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS))

mutants: $(DEV)  ## Break the code in known ways and see the simulations notice: make mutants [ONLY=NAME] [SEEDS=N] [JOBS=2]
	$(BIN)/python -m tests.mutants $(if $(ONLY),--only $(ONLY)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS))

fuzz: $(DEV)     ## Throw bytes at the parsers and the HTTP/2 connection: make fuzz [ONLY=NAME] [CASES=N] [SEED=K]
	$(BIN)/python -m tests.fuzz $(ONLY) $(if $(CASES),--cases $(CASES)) $(if $(SEED),--seed $(SEED))

escape: $(DEV)   ## Attack the sandbox from inside, and see each attack work without it: make escape [ONLY=NAME]
	$(BIN)/python -m tests.escape $(ONLY)

orphans: $(DEV)  ## Kill -9 the host and its helpers at random moments, and look what is left: make orphans [ROUNDS=N] [SEED=K]
	$(BIN)/python -m tests.orphans $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

coverage: $(DEV) ## All tests, with what they miss; the core has to be whole
	$(BIN)/python -m coverage run -m pytest $(ARGS)
	$(BIN)/python -m coverage report --skip-covered
	$(BIN)/python -m coverage report --include='sigil_actors/core/*' --fail-under=100

format: $(DEV)   ## Put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

lint: $(DEV)     ## Format and lint, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(DEV)    ## mypy --strict
	$(BIN)/mypy

docs: $(DEV)     ## The documentation, warnings are errors
	$(BIN)/sphinx-build -q -W --keep-going -E -b html docs docs/_build/html

reference: $(DEV) ## Write the parts of docs/reference that come from the code
	$(BIN)/python docs/generate.py

check: lint types test docs   ## Everything that a commit must pass

bench: $(BENCH)  ## Measures against the peers: make bench [ONLY=NAME] [JSON=FILE]
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json $(JSON))

proto: $(DEV)    ## Generate sigil_actors/_proto from proto/
	$(BIN)/python proto/generate.py

examples: $(DEV) ## Rebuild the .wasm files of the examples
	$(BIN)/python examples/build.py

clean:           ## Remove what the targets made
	rm -rf $(VENV) docs/_build .mypy_cache .ruff_cache .pytest_cache
