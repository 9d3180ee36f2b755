# Everything here works in a fresh clone with Python >= 3.11 and make: the environment is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOMS := landscape schedulers optim penalties tda viz integrations cli testing
EXTRAS := lightning,transformers,accelerate,tensorboard,interactive,study
TYPED := -m lrscape -m lrscape.__main__ $(foreach room,$(ROOMS),-p lrscape.$(room))

.PHONY: demo test test-all test-oldest check format types docs bench clean

demo: $(VENV)/.installed
	$(BIN)/lrscape demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 -m "not slow"

# Also what `make test` skips because the framework is not there.
test-all: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	$(BIN)/python -m pytest -n 2

# The oldest torch that the package declares, with the contract suite on it.
test-oldest:
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet "torch==2.10.*" -e ".[test]"
	.venv-oldest/bin/python -m pytest -n 2 tests/schedulers tests/landscape tests/optim

check: $(VENV)/.installed types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/python -m pytest -q tests/test_arrows.py

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Type checkers need the package under its name; see CONTRIBUTING.
types: .types/lrscape
.types/lrscape:
	mkdir -p .types
	ln -s .. .types/lrscape

docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html

bench: $(VENV)/.installed
	$(BIN)/python -m lrscape.benchmarks

clean:
	rm -rf $(VENV) .venv-oldest .types docs/_build docs/auto_examples docs/auto_tutorials

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,dev]"
	touch $@
