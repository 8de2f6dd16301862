"""The book on paper: a page for each chapter, bookmarks, and nothing that stays hidden."""

import re
from collections.abc import Callable

import pdf
import pytest
from notebook_files import ROOT

STYLE = ROOT / "book" / "_static" / "print.css"
CHAPTERS = '<span id="document-{0}"></span><section><h1>{0}</h1>{1}</section>'
PAGE = rb"/Type\s*/Page\b"
EMPTY = '<section id="chapters"><h2 style="height: 30cm">Chapters</h2><span id="document-here"></span></section>'
TALL = '<div style="height: 30cm">More than a page.</div>'


@pytest.fixture
def print_chapters(browser, tmp_path) -> Callable[..., bytes]:
    """Print a front page and some chapters."""

    def printed(*chapters: str) -> bytes:
        sections = "".join(CHAPTERS.format(number, text) for number, text in enumerate(chapters))
        page, target = tmp_path / "book.html", tmp_path / "book.pdf"
        head = f"<title>A book</title><style>{STYLE.read_text(encoding='utf-8')}</style>"
        page.write_text(f'<html lang="en">{head}<h1>The front</h1>{sections}</html>', encoding="utf-8")
        pdf.print_page(page, target, browser)
        return target.read_bytes()

    return printed


def test_every_chapter_begins_on_a_page_of_its_own_and_has_a_bookmark(print_chapters):
    content = print_chapters("First.", "Second.")
    assert len(re.findall(PAGE, content)) == 3
    assert re.findall(rb"/Title \((.*?)\)", content) == [b"A book", b"The front", b"0", b"1"]


@pytest.mark.parametrize(
    ("html", "pages"),
    [
        (f"<details><summary>Solution</summary>{TALL}</details>", 3),
        (f"<noscript>{TALL}</noscript>", 3),
        (f'<p class="pdf-link" style="height: 30cm">The book</p>{EMPTY}', 2),  # nor a heading without its list
    ],
)
def test_what_a_screen_folds_is_on_paper_and_what_leads_nowhere_there_is_not(print_chapters, html, pages):
    assert len(re.findall(PAGE, print_chapters(html))) == pages


@pytest.mark.parametrize(("named", "missing"), [("", "chromium, "), ("no-such-program", "no-such-program")])
def test_without_a_browser_one_sentence_says_what_is_missing(monkeypatch, named, missing):
    monkeypatch.setenv("CHROME_PATH", named)
    monkeypatch.setattr(pdf.shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match=f"There is no Chromium .*{missing}.*CHROME_PATH"):
        pdf.find_browser()
