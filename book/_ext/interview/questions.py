"""The interview questions: read from the one file that page, quiz, deck and cheat sheet are made of, and validated.

``questions.schema.json`` beside the file says what an entry must and may hold; the rules here say what must agree.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import jsonschema
import pybtex.database
import yaml
from pybtex.richtext import Text

from interview.numbers import occurrences, uncovered_numbers, wrong_sums

FILE = "book/interview/questions.yml"
SCHEMA = "book/interview/questions.schema.json"
LONGEST_SHORT = 60  # words, which fit in thirty seconds
Problem = tuple[int, str]  # the line where it stands, and the sentence


class Entry(dict[str, Any]):
    """A mapping of the file, which knows its line and those of its keys."""

    line: int
    lines: dict[str, int]


class Reader(yaml.BaseLoader):
    """Reads every scalar as text, as it stands, so that 3.10 stays "3.10", and every mapping as an `Entry`."""

    def entry(self, node: yaml.MappingNode) -> Entry:
        entry, lines = Entry(self.construct_mapping(node, deep=True)), {}
        for key, _ in node.value:
            if key.value in lines:
                raise yaml.MarkedYAMLError(problem=f"{key.value} stands here twice", problem_mark=key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        entry.line, entry.lines = node.start_mark.line + 1, lines
        return entry


Reader.add_constructor("tag:yaml.org,2002:map", Reader.entry)


class Interview(NamedTuple):
    """The whole file."""

    topics: Entry  # id: title, in the order of the page
    sizes: list[str]  # numbers that name parts of a network
    questions: list[Entry]

    def on(self, topic: str) -> list[Entry]:
        """The questions of one topic, in the file's order."""
        return [question for question in self.questions if question["topic"] == topic]


class QuestionsError(ValueError):
    """All that is wrong with the file, one sentence a line."""


@cache
def load(root: Path) -> Interview:
    """Read the questions of the book that lies in ``root``.

    Raises:
        QuestionsError: the file breaks a rule; every problem is named, with its line.
    """
    try:
        content = yaml.load((root / FILE).read_text(encoding="utf-8"), Reader)
        problems = list(_problems_of_shape(content))
    except yaml.MarkedYAMLError as error:
        problems = [(error.problem_mark.line + 1, error.problem)]
    if not problems:
        interview = Interview(**content)
        problems = list(_problems(interview, headings_of(root), citations_of(root)))
    if problems:
        raise QuestionsError("\n".join(f"{FILE}, line {line}: {sentence}" for line, sentence in sorted(problems)))
    return interview


def _problems_of_shape(content: Any) -> Iterator[Problem]:
    schema = json.loads(Path(__file__).parents[3].joinpath(SCHEMA).read_text(encoding="utf-8"))
    for error in jsonschema.Draft202012Validator(schema).iter_errors(content):
        line, place = 1, content
        for step in error.absolute_path:
            line = place.lines[step] if isinstance(place, Entry) else line
            place = place[step]
            line = place.line if isinstance(place, Entry) else line
        what = [str(step) for step in error.absolute_path if isinstance(step, str)][-1:]
        rule = error.schema.get("description")
        yield line, ": ".join([*what, shorten(error.message, 120), *([rule] if rule else [])])


def headings_of(root: Path) -> dict[str, list[str]]:
    """The headings of each chapter, by its notebook's stem."""
    headings = {}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        markdown = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        without_code = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
        headings[path.stem] = re.findall(r"^#+ (.+)$", without_code, flags=re.MULTILINE)
    return headings


def citations_of(root: Path) -> dict[str, str]:
    """Each work of the bibliography, such as "He et al. 2016: Deep Residual Learning for Image Recognition"."""
    citations = {}
    for key, entry in pybtex.database.parse_file(str(root / "book" / "references.bib"), "bibtex").entries.items():
        names = [" ".join(map(str, person.rich_last_names)) for person in entry.persons["author"]]
        authors = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
        when = f" {entry.fields['year']}" if "year" in entry.fields else ""  # a web page may have none
        citations[key] = f"{authors}{when}: {Text.from_latex(entry.fields['title'])}"
    return citations


def _problems(interview: Interview, headings: dict[str, list[str]], citations: dict[str, str]) -> Iterator[Problem]:
    """Where entries of the right shape do not agree with each other or with the book."""
    first: dict[str, int] = {}
    for question in interview.questions:
        lines, name, topic = question.lines, question["id"], question["topic"]
        if first.setdefault(name, lines["id"]) != lines["id"]:
            yield lines["id"], f"the id {name} is taken by the question in line {first[name]}"
        if topic not in interview.topics:
            yield lines["topic"], f"there is no topic {topic}; there are {', '.join(interview.topics)}"
        if (words := len(question["short"].split())) > LONGEST_SHORT:
            yield lines["short"], f"short has {words} words, at most {LONGEST_SHORT} fit in thirty seconds"
        if question.get("choice") in [wrong["answer"] for wrong in question["wrong"]]:
            yield lines["choice"], "choice is one of the wrong answers too"
        for evidence in question["evidence"]:
            work, chapter, section = (evidence.get(key) for key in ("citation", "chapter", "section"))
            if work and work not in citations:
                yield evidence.line, f"book/references.bib has no {work}"
            if chapter and sum(section in heading for heading in headings.get(chapter, ())) != 1:
                yield evidence.line, f"notebooks/{chapter}.ipynb has not one section {section}"
        yield from _problems_of_numbers(question, interview.sizes)


def _problems_of_numbers(question: Entry, sizes: list[str]) -> Iterator[Problem]:
    """Every figure of both answers is checked, cited or given, and each of these does stand there. Sums come out."""
    checks, lines = question.get("checks", []), question.lines
    said = [(value, lines[key], key) for key in ("cited", "given") for value in question.get(key, [])]
    covered = [*sizes, *(check["value"] for check in checks), *(value for value, _, _ in said)]
    for key in ("short", "full"):
        for number in uncovered_numbers(question[key], covered):
            yield lines[key], f"{key} says {number}, which is neither in checks, cited nor given"
        for sum_ in wrong_sums(question[key]):
            yield lines[key], f"{key} says {sum_}"
    both = "\n".join(question.get(key, "") for key in ("short", "full", "choice"))
    for value, line, key in said:
        if not occurrences(value).search(both):
            yield line, f"{key} holds {value}, which no answer says"
    for check in checks:
        if "sheet" not in question and not occurrences(check["value"]).search(both):
            yield check.line, f"value is {check['value']}, which no answer says"
