"""What an answer's evidence can point to: the chapters' sections and the bibliography's works."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from pybtex.database import Entry, parse_file
from pybtex.richtext import Text


@dataclass(frozen=True)
class Sources:
    """What evidence can point to."""

    headings: dict[str, list[str]]  # of each chapter, by the notebook's stem
    citations: dict[str, str]  # key: the work in a few words


def read_sources(root: Path) -> Sources:
    """The chapters' headings and the bibliography's works."""
    headings = {path.stem: _headings(path) for path in sorted((root / "notebooks").glob("*.ipynb"))}
    entries = parse_file(str(root / "book" / "references.bib"), "bibtex").entries
    return Sources(headings, {key: _in_few_words(entry) for key, entry in entries.items()})


def _headings(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    markdown = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    without_code = (re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL) for text in markdown)
    return [heading for text in without_code for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)]


def _in_few_words(entry: Entry) -> str:
    """Such as "He et al. 2016: Deep Residual Learning for Image Recognition"."""
    names = [" ".join(map(str, person.rich_last_names)) for person in entry.persons["author"]]
    authors = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    when = f" {entry.fields['year']}" if "year" in entry.fields else ""  # a web page may have none
    return f"{authors}{when}: {Text.from_latex(entry.fields['title'])}"


def begins(heading: str, section: str) -> bool:
    """Whether a heading is the section's: "3.2" begins "3.2 Two blocks", but not "3.21 More".

    >>> begins("3.2 Two blocks", "3.2"), begins("3.21 More", "3.2"), begins("Exercises", "Exercises")
    (True, False, True)
    """
    return f"{heading} ".startswith(f"{section} ")
