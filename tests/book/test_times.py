"""Reading and running times on the pages, in a small book of three chapters."""

import json
import re
from importlib.metadata import version

import pytest
from sphinx.application import Sphinx

PARAGRAPH = "word " * 900  # five minutes
CODE = ".. code-block:: python\n\n" + "   x = 1\n" * 75  # five minutes, too
OUTPUT = ".. code-block:: none\n\n" + "   1 2 3\n" * 75  # no time at all
ENVIRONMENT = {"device_name": "A processor", "cores": 4, "system": "Linux", "python": "3.12", "torch": "2.9"}
RECORD = {"01_first": 24, "02_second": 100}
PAGES = {
    "conf": "extensions, html_theme = ['times'], 'basic'",
    "index": (
        "Title\n=====\n\nBoth take :hours:`1-2`, the first :hours:`1`.\n\n.. run-times::\n\n.. versions::\n\n"
        ".. toctree::\n   :glob:\n\n   notebooks/*\n   book/*\n"
    ),
    "notebooks/01_first": f"First\n=====\n\n{PARAGRAPH}\n",
    "notebooks/02_second": f"Second\n======\n\n{PARAGRAPH * 20}\n\n{CODE}\n{OUTPUT}\n",
    "notebooks/03_third": "Third\n=====\n\nIt never ran.\n",
    "book/page": f"Page\n====\n\n{PARAGRAPH}\n",
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> dict[str, str]:
    """The words of each page, with one space between them."""
    root = tmp_path_factory.mktemp("book")
    for name, text in PAGES.items():
        path = root / f"{name}{'.py' if name == 'conf' else '.rst'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    runs = {name: {"seconds": s, "environment": {**ENVIRONMENT, "date": "2026-01-02"}} for name, s in RECORD.items()}
    record = root / "book" / "results" / "run_times.json"
    record.parent.mkdir()
    record.write_text(json.dumps(runs), encoding="utf-8")
    out = root / "out"
    app = Sphinx(root, root, out, root / "trees", "html", status=None, warningiserror=True)
    app.build()
    pages = {name: (out / f"{name}.html").read_text(encoding="utf-8") for name in PAGES if name != "conf"}
    return {name: " ".join(re.sub("<[^>]*>", " ", page).split()) for name, page in pages.items()}


def test_a_chapter_says_how_long_it_takes_to_read_and_ran_on_which_machine(texts):
    assert "About 10 minutes to read, 24 seconds to run on 4 CPU cores." in texts["notebooks/01_first"]


def test_code_is_read_more_slowly_than_prose_and_output_not_at_all(texts):
    assert "About 110 minutes to read, 100 seconds to run" in texts["notebooks/02_second"]


@pytest.mark.parametrize("page", ["notebooks/03_third", "book/page"])
def test_a_page_that_never_ran_says_nothing(texts, page):
    assert "to read" not in texts[page]


def test_a_sum_of_chapters_is_in_minutes_then_in_hours(texts):
    assert "Both take 2 hours, the first 10 minutes." in texts["index"]


def test_the_status_has_every_run_and_the_versions_of_this_build(texts):
    status = texts["index"]
    for chapter, seconds in RECORD.items():
        run = f"{chapter} {seconds} s A processor, 4 cores, Linux Python 3.12, torch 2.9 2026\u201101\u201102"
        assert run in status
    for package in ("torch", "sphinx"):
        assert f"{package} {version(package)}" in status
