"""Sphinx extension: the interview's page, quiz, cheat sheet and Anki deck, all from book/interview/questions.yml.

Each of the three pages is a directive; the deck is written into book/_generated before the pages are read, so that a
page can offer it. A file that breaks a rule stops the build with all its problems.
"""

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from interview import links, page, quiz, sheet
from interview.deck import write_deck
from interview.questions import FILE, QuestionsError, load
from interview.sources import read_sources

DECK = "book/_generated/resnet-interview.apkg"


def make_deck(app: Sphinx) -> None:
    """Validate the questions, and write the deck."""
    root = Path(app.srcdir)
    try:
        interview = load(root)
    except QuestionsError as error:
        raise ExtensionError(str(error)) from None
    deck = root / DECK
    deck.parent.mkdir(exist_ok=True)
    write_deck(interview, read_sources(root).citations, deck, changed=(root / FILE).stat().st_mtime)


def add_script_and_style(app: Sphinx, page_name: str, template: str, context: dict[str, Any], tree: nodes.Node) -> None:
    """To the interview's pages alone, and to a book of one page."""
    if page_name.startswith("book/interview/") or app.builder.name == "singlehtml":
        app.add_css_file("interview.css")
        app.add_js_file("interview.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", make_deck)
    app.connect("html-page-context", add_script_and_style)
    for part in (links, page, quiz, sheet):
        part.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
