"""Reading and running times on the pages: the records' own, and a reader's pace."""

import re

import pytest
import times
from docutils import nodes
from notebook_files import CHAPTERS, ROOT

RECORD = times.read_record(ROOT)


def words_of(page: str) -> str:
    """The words of a page, with one space between them."""
    return " ".join(re.sub("<[^>]*>", " ", page).split())


@pytest.fixture(scope="module")
def chapters(site) -> dict[str, str]:
    return {path.stem: words_of((site / "notebooks" / f"{path.stem}.html").read_text("utf-8")) for path in CHAPTERS}


def page_of(words: int, code: int, output: int) -> nodes.document:
    """A page of so many words, lines of code and lines of output."""
    blocks = [nodes.literal_block(text="x = 1\n" * (code - 1) + "x", language="ipython3")] if code else []
    blocks += [nodes.literal_block(text="1 2 3\n" * output, language="none")]
    return nodes.document(None, None, "", nodes.paragraph(text="word " * words), *blocks)


@pytest.mark.parametrize(
    ("page", "minutes"),
    [((900, 0, 0), 5), ((901, 0, 0), 10), ((900, 75, 900), 10), ((18_000, 75, 0), 105), ((1, 0, 0), 5)],
)
def test_code_is_read_more_slowly_than_prose_and_output_not_at_all(page, minutes):
    assert times.minutes_to_read(page_of(*page)) == minutes


def test_every_chapter_says_how_long_it_takes_to_read_and_ran_on_which_machine(chapters):
    assert chapters.keys() == RECORD.keys()
    for name, text in chapters.items():
        run = RECORD[name]
        seconds, cores = times.in_words(run["seconds"]), run["environment"]["cores"]
        assert re.search(rf"About \d+ minutes to read, {seconds} to run on {cores} CPU cores\.", text), name


def test_the_sums_on_the_front_page_are_those_of_the_chapters(chapters, site):
    minutes = [int(re.search(r"About (\d+) minutes to read", text)[1]) for text in chapters.values()]
    front = words_of((site / "book" / "intro.html").read_text("utf-8"))
    whole, part = (f"{round(sum(minutes[:last]) / 60)} hours" for last in (10, 5))
    assert f"Chapters 1 to 10 take about {whole} with the code, chapters 1 to 5 about {part} ." in front.replace(
        ".", " ."
    )
    for_class = sum(minutes[:2])
    words = f"{for_class} minutes" if for_class < 90 else f"{round(for_class / 60)} hours"
    assert f"Chapters 1 and 2 , about {words} to read" in front
