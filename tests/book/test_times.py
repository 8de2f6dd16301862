"""Reading and running times on the pages."""

import re
from pathlib import Path

import pytest
import times
from docutils import nodes
from notebook_files import CHAPTERS, ROOT


def words_of(page: Path) -> str:
    """The words of a page, with one space between them."""
    return " ".join(re.sub("<[^>]*>", " ", page.read_text(encoding="utf-8")).split())


@pytest.mark.parametrize(("words", "code", "minutes"), [(900, 0, 5), (901, 0, 10), (0, 90, 10), (18_000, 75, 105)])
def test_code_is_read_more_slowly_than_prose_and_output_not_at_all(words, code, minutes):
    blocks = [nodes.literal_block(text="1 2 3\n" * 900, language="none")]
    blocks += [nodes.literal_block(text="x = 1\n" * (code - 1) + "x", language="ipython3")] if code else []
    page = nodes.document(None, None, "", nodes.paragraph(text="word " * words), *blocks)
    assert times.minutes_to_read(page) == minutes


def test_every_chapter_says_how_long_it_takes_and_the_front_page_how_long_they_take_together(site):
    record, minutes = times.read_record(ROOT), []
    for path in CHAPTERS:
        run, text = record[path.stem], words_of(site / "notebooks" / f"{path.stem}.html")
        ran = f"{times.in_words(run['seconds'])} to run on {run['environment']['cores']} CPU cores"
        minutes.append(int(re.search(rf"About (\d+) minutes to read, {ran}\.", text)[1]))
    front = words_of(site / "book" / "intro.html")
    whole, part = (f"{round(sum(minutes[:last]) / 60)} hours" for last in (10, 5))
    assert f"Chapters 1 to 10 take about {whole} with the code, chapters 1 to 5 about {part}" in front
    for_class = sum(minutes[:2])
    words = f"{for_class} minutes" if for_class < 90 else f"{round(for_class / 60)} hours"
    assert f"Chapters 1 and 2 , about {words} to read" in front
