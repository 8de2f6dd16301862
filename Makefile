# make book       build the book into _build/html
# make test       run every test, and build the book
# make notebooks  run every notebook and store its outputs
# make assignment build the assignment: student's notebook, autograder, solution
# make audit      measure the built pages against the goals for them
# make pdf        print the whole book to a PDF, which the next make book offers
# make test-all   make test, then what takes longer
# make repository URL=https://github.com/OWNER/NAME    name a fork's address everywhere
#
# All of them first make .venv from requirements.txt, once, and again when that file changes.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: book test test-all notebooks assignment audit pdf repository

book: $(READY)
	$(BIN)/jupyter-book build . --all -W -n --keep-going
	@echo "The book is built. Open _build/html/index.html in a browser."

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest
	$(MAKE) book

test-all: test
	$(BIN)/pytest -m slow tests
	$(BIN)/python notebooks/anywhere.py --fresh

notebooks: $(READY)
	$(BIN)/python notebooks/execute.py

assignment: $(READY)
	$(BIN)/python notebooks/assignment/build.py

audit: $(READY)
	$(BIN)/python -m tests.audit

pdf: $(READY)
	$(BIN)/python book/pdf.py

repository: $(READY)
	$(BIN)/python book/repository.py $(URL)

$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, but $(PYTHON) is " + sys.version.split()[0] + ": say make PYTHON=python3.12, for example")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(READY)
