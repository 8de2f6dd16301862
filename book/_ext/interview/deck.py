"""The Anki deck: a card for each question. An import of a newer deck updates the cards instead of doubling them."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import genanki
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

from interview.questions import Entry, Interview

# Anki knows a deck, a kind of note and a note by these; they must never change.
DECK_ID = 1_512_033_850
MODEL_ID = 1_603_050_270
NAMESPACE = "resnet-book interview"
TAGS = ("topic", "level", "own")

STYLE = """
.card { font: 18px/1.5 system-ui, sans-serif; max-width: 42em; margin: 1em auto; padding: 0 1em; text-align: left; }
.question { font-weight: 600; }
.short { border-left: 3px solid #2f74c0; padding-left: 0.8em; }
.evidence { font-size: 80%; opacity: 0.75; }
pre { font-size: 80%; overflow-x: auto; }
table { border-collapse: collapse; }
td, th { border: 1px solid #8888; padding: 0.2em 0.5em; }
"""
FRONT = '<div class="question">{{Question}}</div>'
BACK = (
    '{{FrontSide}}<hr id="answer"><div class="short">{{Short}}</div><div>{{Full}}</div>'
    '<div class="evidence">{{Evidence}}</div>'
)
MODEL = genanki.Model(
    MODEL_ID,
    "ResNet interview",
    fields=[{"name": name} for name in ("Question", "Short", "Full", "Evidence")],
    templates=[{"name": "Answer", "qfmt": FRONT, "afmt": BACK}],
    css=STYLE,
)


def write_deck(interview: Interview, citations: dict[str, str], path: Path, changed: float) -> None:
    """Write the deck, byte for byte the same for the same questions.

    Args:
        interview: the questions.
        citations: the works that their evidence cites, by key.
        path: the file, *.apkg.
        changed: when the questions were changed, in seconds since 1970. Anki updates a card only from a newer one.
    """
    deck, package = genanki.Deck(DECK_ID, "ResNet interview"), io.BytesIO()
    for question in interview.questions:
        evidence = " · ".join(_evidence(item, citations) for item in question["evidence"])
        texts = (question["question"], question["short"], question["full"], evidence)
        guid = genanki.guid_for(NAMESPACE, question["id"])
        tags = [f"{key}::{question[key]}" for key in TAGS if key in question]
        deck.add_note(genanki.Note(MODEL, [*map(to_card, texts)], sort_field=question["id"], guid=guid, tags=tags))
    genanki.Package(deck).write_to_file(package, timestamp=changed)
    # A zip archive dates its members; these all get the earliest date there is.
    with zipfile.ZipFile(package) as dated, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as undated:
        for name in dated.namelist():
            undated.writestr(zipfile.ZipInfo(name), dated.read(name), zipfile.ZIP_DEFLATED)


def _evidence(item: Entry, citations: dict[str, str]) -> str:
    if "run" in item:
        return f"Run by a test: {item['run']}"
    if "citation" in item:
        return citations[item["citation"]] + (f", {item['where']}" if "where" in item else "")
    number = item["chapter"].partition("_")[0].lstrip("0")
    return f"Chapter {number}, {item['section']}" + (f": {item['shows']}" if "shows" in item else "")


def to_card(markdown: str) -> str:
    """Markdown as the HTML of a card, with mathematics as Anki's MathJax wants it.

    Links to the book's own pages lose their target, which a card can't reach.

    >>> to_card("One weight: $3^2 < 10$ in [chapter 3](../../notebooks/03_bottleneck.ipynb).")
    '<p>One weight: \\\\(3^2 &lt; 10\\\\) in chapter 3.</p>'
    """
    reader = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)
    reader.add_render_rule("math_inline", lambda _, tokens, at, *rest: rf"\({_escaped(tokens[at])}\)")
    reader.add_render_rule("math_block", lambda _, tokens, at, *rest: rf"<p>\[{_escaped(tokens[at])}\]</p>")
    tokens = reader.parse(markdown)
    for token in tokens:
        token.children = [*_without_dead_links(token.children or ())]
    return reader.renderer.render(tokens, reader.options, {}).strip()


def _escaped(token: Token) -> str:
    return escapeHtml(token.content.strip())


def _without_dead_links(tokens: Sequence[Token]) -> Iterator[Token]:
    """Links don't nest, so each closing belongs to the last opening."""
    alive = True
    for token in tokens:
        if token.type == "link_open":
            alive = "://" in str(token.attrs["href"])
        if alive or token.type not in ("link_open", "link_close"):
            yield token
