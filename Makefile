# make book       build the book into _build/html
# make test       run every test, and build the book
# make notebooks  run every notebook and store its outputs
# make repository URL=https://github.com/OWNER/NAME    name a fork's address everywhere
#
# All of them first make .venv from requirements.txt, once, and again when that file changes.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: book test notebooks repository

book: $(READY)
	$(BIN)/jupyter-book build . --all -W -n --keep-going
	@echo "The book is built. Open _build/html/index.html in a browser."

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest
	$(MAKE) book

notebooks: $(READY)
	$(BIN)/python notebooks/execute.py

repository: $(READY)
	$(BIN)/python book/repository.py $(URL)

$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, but $(PYTHON) is " + sys.version.split()[0] + ": say make PYTHON=python3.12, for example")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(READY)
