"""The interview's pages as a reader meets them: built, read without a script, and used by mouse and keyboard."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from book_sample import ROOT, make_book
from interview import links
from interview.questions import FILE, load
from interview.sources import read_sources

PAGES = ("index", "quiz", "cheat_sheet")
CONFIGURATION = f"""
import sys
sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
extensions = ["myst_nb", "sphinxcontrib.bibtex", "interview"]
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
bibtex_bibfiles = ["book/references.bib"]
exclude_patterns = ["_build", "book/_generated"]
html_theme = "sphinx_book_theme"
html_static_path = [{str(ROOT / "book" / "_static")!r}]
html_css_files = ["book.css"]
mathjax_path = "https://not.asked.invalid/mathjax.js"
"""
CONTENTS = """# A book

```{toctree}
:glob:

book/interview/*
notebooks/*
book/bibliography
```
"""


def build(root: Path) -> Path:
    """Build the book in ``root``, with the real pages and the real style; a warning is an error."""
    (root / "conf.py").write_text(CONFIGURATION, encoding="utf-8")
    (root / "index.md").write_text(CONTENTS, encoding="utf-8")
    for name in ("bibliography.md", *(f"interview/{page}.md" for page in PAGES)):
        shutil.copy(ROOT / "book" / name, root / "book" / name)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(root), str(root / "_build")]
    made = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert made.returncode == 0, made.stderr
    return root / "_build" / "book" / "interview"


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    """The folder of the sample's pages."""
    return build(make_book(tmp_path_factory.mktemp("sample")))


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """The folder of the real questions' pages, in a book whose chapters are mere headings."""
    root = tmp_path_factory.mktemp("real")
    for folder in ("book/interview", "notebooks"):
        (root / folder).mkdir(parents=True)
    for name in (FILE, "book/references.bib"):
        shutil.copy(ROOT / name, root / name)
    for chapter, headings in read_sources(ROOT).headings.items():
        source = "\n\n".join(f"{'##' if place else '#'} {heading}" for place, heading in enumerate(headings))
        notebook = {
            "cells": [{"cell_type": "markdown", "metadata": {}, "source": source}],
            **{"metadata": {}, "nbformat": 4, "nbformat_minor": 4},
        }
        (root / "notebooks" / f"{chapter}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    return build(root)


# --- Without a browser


class Anchors(HTMLParser):
    """What a page links to, and what can be linked to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if values.get("id"):
            self.ids.append(values["id"])


@cache
def ids_of(page: Path) -> set[str]:
    return set(Anchors(page).ids)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file_and_an_anchor_that_is_there(real, name):
    page = real / f"{name}.html"
    anchors = Anchors(page)
    assert len(anchors.ids) == len(set(anchors.ids))
    for link in {link for link in anchors.links if "://" not in link}:
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.is_file(), link
        assert not anchor or target.suffix != ".html" or anchor in ids_of(target), link


def test_every_question_has_its_anchor_and_the_deck_can_be_downloaded(real):
    anchors = Anchors(real / "index.html")
    assert {question.id for question in load(ROOT).questions} <= set(anchors.ids)
    assert [link for link in anchors.links if link.endswith("resnet-interview.apkg")]


def test_an_answer_holds_its_links_code_and_mathematics(sample):
    page = (sample / "index.html").read_text(encoding="utf-8")
    assert 'href="../../notebooks/03_bottleneck.html#two-blocks">3.2 Two blocks</a>: by hand and in code' in page
    assert '<span class="math notranslate nohighlight">' in page and "highlight-python" in page
    assert re.search(r'<h3>How many weights does a <code.*?Bottleneck.*?href="#bottleneck-against-basic"', page)


def test_the_search_of_the_book_finds_every_question(sample):
    index = (sample.parent.parent / "searchindex.js").read_text(encoding="utf-8")
    assert re.search(r'"What is degradation\?": \[\[\d+, "what-is-degradation"\]\]', index)


def test_the_cheat_sheet_holds_the_values_of_the_checks(sample):
    page = (sample / "cheat_sheet.html").read_text(encoding="utf-8")
    texts = re.findall(r"<p>(.*?)</p></t[hd]>", re.sub(r"</?a.*?>", "", page))
    assert texts == [
        "Weights at 256 channels",
        "two convolutions",
        "1,179,648",
        "ResNet-50",
        "25.6\N{NO-BREAK SPACE}million",
    ]


def test_script_and_style_are_small_and_on_these_pages_alone(sample):
    static = ROOT / "book" / "_static"
    assert sum((static / name).stat().st_size for name in ("interview.js", "interview.css")) < 20_000
    assert "interview.js" in (sample / "quiz.html").read_text(encoding="utf-8")
    assert "interview.js" not in (sample.parent / "bibliography.html").read_text(encoding="utf-8")


def test_a_link_to_a_section_that_no_page_has_is_a_warning_with_its_line(caplog):
    app = SimpleNamespace(env=SimpleNamespace(tocs={}))
    paragraph = links.nodes.paragraph("", "", links.link_to("notebooks/03_bottleneck", "3.2", line=7))
    links.resolve_links(app, paragraph, "book/interview/index")
    assert caplog.messages == [
        "book/interview/questions.yml, line 7: the book has no notebooks/03_bottleneck, section 3.2"
    ]
    assert paragraph.astext() == "notebooks/03_bottleneck, 3.2"


def test_a_broken_file_stops_the_build_with_its_line(tmp_path):
    with pytest.raises(AssertionError, match=r"questions\.yml, line \d+: there is no level hard"):
        build(make_book(tmp_path, ("level: deep", "level: hard")))


# --- In a browser


@pytest.fixture
def open_page(browser, sample) -> Iterator:
    """Open one of the sample's pages, without a network, and fail on an error of the script."""
    contexts, errors = [], []

    def open_it(address: str, folder: Path = sample, **options):
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{folder.as_uri()}/{address}")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert errors == []


def shown(page) -> list[str]:
    """The questions in sight."""
    return page.eval_on_selector_all("details.interview-question:not([hidden])", "all => all.map(one => one.id)")


def is_open(page, name: str) -> bool:
    return page.evaluate(f"document.getElementById({name!r}).open")


def test_search_finds_words_of_question_and_answer_and_tells_how_many(open_page):
    page = open_page("index.html")
    status = page.locator(".interview-tools [role=status]")
    assert status.inner_text() == "3 questions"
    page.get_by_role("searchbox", name="Search", exact=True).press_sequentially("TRAINING rises")
    assert shown(page) == ["is-it-overfitting"]
    assert status.inner_text() == "1 of 3 questions"
    assert not page.locator("#topic-bottleneck").is_visible()
    page.get_by_role("button", name="Clear").click()
    assert len(shown(page)) == 3


def test_topic_and_level_filter_and_the_address_keeps_them(open_page):
    page = open_page("index.html")
    page.get_by_label("Topic").select_option("Why depth failed")
    assert shown(page) == ["what-is-degradation", "is-it-overfitting"]
    page.get_by_label("Level").select_option("deep")
    assert shown(page) == ["is-it-overfitting"]
    address = page.url.rpartition("/")[2]
    assert address == "index.html?topic=depth&level=deep"
    again = open_page(address)
    assert shown(again) == ["is-it-overfitting"]
    assert again.get_by_label("Topic").input_value() == "depth"


def test_an_address_opens_its_question_even_if_a_filter_would_hide_it(open_page):
    page = open_page("index.html?topic=bottleneck#is-it-overfitting")
    assert is_open(page, "is-it-overfitting") and not is_open(page, "what-is-degradation")
    assert len(shown(page)) == 3


def test_answers_open_and_close_one_by_one_and_all_at_once(open_page):
    page = open_page("index.html?level=deep")
    page.get_by_role("button", name="Open all").click()
    assert is_open(page, "is-it-overfitting") and not is_open(page, "what-is-degradation")  # it is hidden
    page.get_by_role("button", name="Close all").click()
    assert not is_open(page, "is-it-overfitting")
    page.locator("#is-it-overfitting summary").focus()
    page.keyboard.press("Enter")
    assert is_open(page, "is-it-overfitting")


def test_without_a_script_both_pages_are_complete_lists(open_page):
    page = open_page("index.html", java_script_enabled=False)
    assert page.locator("details.interview-question").count() == 3 and page.locator(".interview-tools").count() == 0
    page.locator("#what-is-degradation summary").click()
    assert page.get_by_text("It is not overfitting.").is_visible()
    quiz = open_page("quiz.html", java_script_enabled=False)
    assert quiz.locator("details.interview-quiz").count() == 2 and quiz.locator(".interview-game").count() == 0
    quiz.locator("summary", has_text="What is degradation?").click()
    assert quiz.get_by_text("More layers, more training error").is_visible()
    assert quiz.get_by_text("Time is a cost.").is_visible()


RIGHT = {
    "How many weights does a Bottleneck save beside two 3×3 convolutions?": "About 17 times",
    "What is degradation?": "More layers, more training error",
}


def test_the_quiz_by_mouse_tells_why_and_repeats_what_was_missed(open_page):
    page = open_page("quiz.html")
    card, feedback = page.locator(".interview-card"), page.locator(".interview-feedback")
    first = card.locator("legend").inner_text()
    card.get_by_text(RIGHT[first], exact=True).click()
    card.get_by_role("button", name="Check").click()
    assert feedback.inner_text().startswith("Right. ")
    assert "Question 1 of 2 · 1 right" in card.inner_text()
    card.get_by_role("button", name="Next question").click()
    second = card.locator("legend").inner_text()
    assert second != first
    wrong, why = {
        "What is degradation?": ("More layers, more time", "Time is a cost."),
    }.get(second, ("About 4 times", "Both sides shrink."))
    card.get_by_text(wrong, exact=True).click()
    card.get_by_role("button", name="Check").click()
    assert feedback.inner_text().startswith(f"No. {why}")
    assert f"Right would be: {RIGHT[second]}" in feedback.inner_text()
    assert card.locator("label.right").inner_text().startswith(RIGHT[second])
    card.get_by_role("button", name="See the score").click()
    assert "You had 1 of 2 right." in card.inner_text()
    card.get_by_role("button", name="Again the ones I missed").click()
    assert card.locator("legend").inner_text() == second
    assert "Question 1 of 1 · 0 right" in card.inner_text()


def test_the_quiz_by_keyboard_alone(open_page):
    page = open_page("quiz.html")
    page.get_by_label("Topic").focus()
    for _ in range(2):
        question = page.locator("legend").inner_text()
        if page.evaluate("document.activeElement.type") != "radio":
            page.keyboard.press("Tab")
        page.keyboard.press("Space")
        while page.locator(".interview-card label:has(:checked)").inner_text() != RIGHT[question]:
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")  # check
        assert page.locator(".interview-feedback").inner_text().startswith("Right. ")
        page.keyboard.press("Enter")  # go on
    assert page.evaluate("document.activeElement.innerText") == "You had 2 of 2 right."
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # all again
    assert "Question 1 of 2 · 0 right" in page.locator(".interview-card").inner_text()


def test_the_quiz_waits_for_a_choice_and_keeps_to_its_topic(open_page):
    page = open_page("quiz.html")
    page.get_by_role("button", name="Check").click()
    assert page.locator(".interview-feedback").inner_text() == ""
    page.get_by_label("Topic").select_option("Why depth failed (1)")
    assert page.locator("legend").inner_text() == "What is degradation?"
    assert "Question 1 of 1" in page.locator(".interview-card").inner_text()


def test_the_right_choice_does_not_keep_its_place(open_page):
    page = open_page("quiz.html")
    page.get_by_label("Topic").select_option("Why depth failed (1)")
    orders = page.evaluate("""() => Array.from({ length: 60 }, () => {
        document.querySelector(".interview-game select").dispatchEvent(new Event("change"));
        return [...document.querySelectorAll(".interview-card label")].map(label => label.innerText);
    })""")
    assert {options.index("More layers, more training error") for options in orders} == {0, 1, 2}


def test_a_round_has_ten_questions_and_the_next_one_others(open_page, real):
    page = open_page("quiz.html", folder=real)
    answer_ten = """() => Array.from({ length: 10 }, () => {
        const card = document.querySelector(".interview-card");
        const question = card.querySelector("legend").innerText;
        card.querySelector("input").click();
        card.querySelector("[type=submit]").click();
        card.querySelector("[type=submit]").click();
        return question;
    })"""
    first = page.evaluate(answer_ten)
    page.get_by_role("button", name="Next round").click()
    assert len({*first, *page.evaluate(answer_ten)}) == 20


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_a_narrow_screen(open_page, real, name):
    page = open_page(f"{name}.html", folder=real, viewport={"width": 360, "height": 740})
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("width", [360, 1000])
def test_the_questions_do_not_jump_when_the_search_comes(open_page, real, width):
    page = open_page("index.html", folder=real, viewport={"width": width, "height": 740})
    shifts = """new Promise((done) => {
      const sum = (list) => done(list.getEntries().reduce((sum, entry) => sum + entry.value, 0));
      new PerformanceObserver(sum).observe({ type: "layout-shift", buffered: true });
      setTimeout(() => done(0), 500);
    })"""
    assert page.evaluate(shifts) < 0.01


def test_the_cheat_sheet_is_one_page_of_paper(open_page, real):
    pdf = open_page("cheat_sheet.html", folder=real).pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
