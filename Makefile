# make book       build the book into _build/html
# make test       check style and types, build the book, run every test and every notebook
# make check      for the person who edits: style, types, the library's tests, the chapters changed since the last commit
# make test-all   make test, then what takes longer
# make notebooks  run every notebook and store its outputs
# make assignment build the assignment: student's notebook, autograder, solution
# make audit      measure the built pages against the goals for them
# make pdf        print the whole book to a PDF, which the next make book offers
# make repository URL=https://github.com/OWNER/NAME    name a fork's address everywhere
#
# All of them first make .venv, once, and again when requirements.txt says something else.
# TORCH=cpu takes PyTorch without its GPU libraries, from PyTorch's own index.

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
# One thread for each test, and as many tests at a time as there are workers; a file stays in one of them.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

ifeq ($(TORCH),cpu)
export PIP_EXTRA_INDEX_URL := https://download.pytorch.org/whl/cpu $(PIP_EXTRA_INDEX_URL)
else ifneq ($(TORCH),)
$(error TORCH is cpu, or left out for what the package index gives, not $(TORCH))
endif
export URL

.NOTPARALLEL:

.PHONY: book test check test-all notebooks assignment audit pdf repository style environment environment-book

book: environment-book
	$(BIN)/jupyter-book build . --all -W -n --keep-going
	@echo "The book is built. Open _build/html/index.html in a browser."

test: style book
	$(PYTEST) --cov --cov-report=

check: style
	$(PYTEST) resnet_lib tests/lib $$(git diff --name-only --diff-filter=d HEAD -- 'notebooks/*.ipynb')

test-all: test
	$(PYTEST) -m slow tests
	$(BIN)/python notebooks/anywhere.py --fresh

style: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python book/style.py
	$(BIN)/python book/comparisons.py

notebooks: environment-book
	$(BIN)/python notebooks/execute.py

assignment: environment
	$(BIN)/python notebooks/assignment/build.py

audit: environment book
	$(BIN)/python -m tests.audit

pdf: environment
	$(BIN)/python book/pdf.py

repository: environment-book
	@$(BIN)/python book/repository.py "$$URL"

environment:
	@$(PYTHON) book/environment.py all

environment-book:
	@$(PYTHON) book/environment.py book
