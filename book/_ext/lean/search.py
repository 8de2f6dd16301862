"""A search that finds numbers, puts chapters first and forgives a slip of the finger.

Sphinx takes "1,179,648" apart and then drops every word of digits alone. Here such a number is one word, which begins
with a letter, both where the index is made and where a reader's words are read (``search.js``).
"""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

SCRIPT = Path(__file__).with_name("search.js")
WORD = re.compile(r"\d+(?:,\d{3})*(?!\w)|\w+")


class SearchWithNumbers(SearchEnglish):
    """English, and numbers.

    >>> SearchWithNumbers({}).split("1,179,648 weights in layer4")
    ['n1179648', 'weights', 'in', 'layer4']
    """

    js_splitter_code = SCRIPT.read_text(encoding="utf-8")

    def split(self, text: str) -> list[str]:
        return [f"n{word.replace(',', '')}" if word[0].isdigit() else word for word in WORD.findall(text)]


def setup(app: Sphinx) -> None:
    app.add_search_language(SearchWithNumbers)
