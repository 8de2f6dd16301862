"""The book on paper: a page for each chapter, bookmarks, and nothing that stays hidden."""

import re
from pathlib import Path

import pdf
import pytest
from audit.tools import CannotMeasureError, find_browser

STYLE = Path(__file__).parents[2] / "book" / "_static" / "print.css"
CHAPTERS = '<span id="document-{0}"></span><section><h1>{0}</h1>{1}</section>'
TALL = '<div style="height: 30cm">More than a page.</div>'


def print_chapters(folder: Path, *chapters: str) -> bytes:
    """The PDF of a front page and some chapters."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    try:
        browser = find_browser()
    except CannotMeasureError as problem:
        pytest.skip(str(problem))
    sections = "".join(CHAPTERS.format(number, text) for number, text in enumerate(chapters))
    page, target = folder / "book.html", folder / "book.pdf"
    page.write_text(
        f'<html lang="en"><title>A book</title><style>{STYLE.read_text(encoding="utf-8")}</style>'
        f"<h1>The front</h1>{sections}</html>",
        encoding="utf-8",
    )
    pdf.print_page(page, target, browser)
    assert {path.name for path in folder.iterdir()} == {"book.html", "book.pdf"}
    return target.read_bytes()


def pages(content: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", content))


def test_every_chapter_begins_on_a_page_of_its_own_and_has_a_bookmark(tmp_path):
    content = print_chapters(tmp_path, "First.", "Second.")
    assert pages(content) == 3
    titles = re.findall(rb"/Title \((.*?)\)", content)
    assert titles == [b"A book", b"The front", b"0", b"1"]


@pytest.mark.parametrize(
    "hidden", [f"<details><summary>Solution</summary>{TALL}</details>", f"<noscript>{TALL}</noscript>"]
)
def test_what_a_screen_folds_or_shows_without_scripts_alone_is_on_paper(tmp_path, hidden):
    assert pages(print_chapters(tmp_path, hidden)) > 2


def test_the_link_to_the_pdf_and_the_heading_of_a_list_without_chapters_are_not(tmp_path):
    link = '<p class="pdf-link" style="height: 30cm">The book</p>'
    heading = '<section id="chapters"><h2 style="height: 30cm">Chapters</h2>{}</section>'
    here = '<div><span id="document-here"></span></div>'
    assert pages(print_chapters(tmp_path, link + heading.format(here))) == 2
    assert pages(print_chapters(tmp_path, heading.format("<ul><li>A link</li></ul>"))) > 2


def test_without_a_browser_one_sentence_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(pdf.shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match=r"the PDF needs a Chromium: none of chromium, .* is on the path"):
        pdf.find_browser()
