"""Sphinx extension: the interview's page, quiz, cheat sheet and Anki deck, all from book/interview/questions.yml.

Each of the three pages is a directive; the deck is written into book/_generated before the pages are read, so that a
page can offer it. A file that breaks a rule stops the build with all its problems.
"""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from interview import pages
from interview.deck import write_deck
from interview.questions import FILE, QuestionsError, citations_of, load

DECK = "book/_generated/resnet-interview.apkg"


def make_deck(app: Sphinx) -> None:
    """Validate the questions, and write the deck."""
    root = Path(app.srcdir)
    try:
        interview = load(root)
    except QuestionsError as error:
        raise ExtensionError(str(error)) from None
    (root / DECK).parent.mkdir(exist_ok=True)
    write_deck(interview, citations_of(root), root / DECK, changed=(root / FILE).stat().st_mtime)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", make_deck)
    pages.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
