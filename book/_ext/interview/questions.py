"""The interview questions: read from the one file that page, quiz, deck and cheat sheet are made of, and validated."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from interview.marked import Entry, Problems, read_entries
from interview.numerals import is_value, occurrences, uncovered_numbers
from interview.sources import Sources, begins, read_sources

FILE = "book/interview/questions.yml"
LEVELS = ("warm-up", "standard", "deep")
LONGEST_SHORT = 60  # words, which fit in thirty seconds
TEXT, TEXTS, ENTRIES = "a text", "a list of texts", "a list of entries"


@dataclass(frozen=True)
class Wrong:
    """An answer that candidates give, and why it fails."""

    answer: str
    why: str


@dataclass(frozen=True)
class Section:
    """A section of a chapter, which shows the answer."""

    chapter: str  # the notebook's stem
    section: str  # how its heading begins
    shows: str
    line: int


@dataclass(frozen=True)
class Citation:
    """A work of the bibliography."""

    citation: str  # its key
    where: str
    line: int


@dataclass(frozen=True)
class Check:
    """A number as it stands in the text, and the expression that gives it."""

    value: str
    equals: str
    line: int
    label: str = ""  # what the number is, on the cheat sheet


@dataclass(frozen=True)
class Question:
    """One question with all that is said on it."""

    id: str
    topic: str
    level: str
    question: str
    short: str
    full: str
    wrong: tuple[Wrong, ...]
    evidence: tuple[Section | Citation, ...]
    choice: str  # the quiz's right option; empty where the question is not in the quiz
    checks: tuple[Check, ...]
    sheet: str  # what its figures on the cheat sheet are about; empty where it has none there
    line: int


@dataclass(frozen=True)
class Interview:
    """The whole file."""

    topics: dict[str, str]  # id: title, in the order of the page
    questions: tuple[Question, ...]

    def on(self, topic: str) -> list[Question]:
        """The questions of one topic, in the file's order."""
        return [question for question in self.questions if question.topic == topic]


# What an entry must hold, and what it may hold.
SHAPES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "the file": ({"topics": "", "questions": ENTRIES}, {}),
    "a question": (
        {
            **{"id": TEXT, "topic": TEXT, "level": TEXT, "question": TEXT, "short": TEXT, "full": TEXT},
            **{"wrong": ENTRIES, "evidence": ENTRIES},
        },
        {"choice": TEXT, "checks": ENTRIES, "cited": TEXTS, "given": TEXTS, "sheet": TEXT},
    ),
    "a wrong answer": ({"answer": TEXT, "why": TEXT}, {}),
    "a check": ({"value": TEXT, "equals": TEXT}, {"label": TEXT}),
    "a chapter's evidence": ({"chapter": TEXT, "section": TEXT}, {"shows": TEXT}),
    "a citation": ({"citation": TEXT}, {"where": TEXT}),
}


class QuestionsError(ValueError):
    """All that is wrong with the file, one sentence a line."""


def load(root: Path) -> Interview:
    """Read the questions of the book that lies in ``root``.

    Raises:
        QuestionsError: the file breaks a rule; every problem is named, with its line.
    """
    problems = Problems(FILE)
    content = read_entries((root / FILE).read_text(encoding="utf-8"), problems)
    interview = None
    if content is not None and _has_shape("the file", content, problems):
        interview = _read_interview(content, read_sources(root), problems)
    if problems:
        raise QuestionsError("\n".join(problems))
    return interview


def _has_shape(what: str, entry: object, problems: Problems, line: int = 1) -> bool:
    """Whether an entry holds what it must and nothing else; if not, the problems have it."""
    must, may = SHAPES[what]
    if not isinstance(entry, Entry):
        problems.add(line, f"{what} must be lines of the form key: value, got {entry!r}")
        return False
    wrong = [(entry.line, f"{what} lacks {key}") for key in must if key not in entry.values]
    for key, value in entry.values.items():
        kind = {**must, **may}.get(key)
        if kind is None:
            wrong.append((entry.lines[key], f"{what} has no {key}; it may hold {', '.join([*must, *may])}"))
        elif kind == TEXT and not (isinstance(value, str) and value):
            wrong.append((entry.lines[key], f"{key} must be {TEXT}, got {_kind(value)}"))
        elif kind == TEXT and re.search(r"^\s*%", value, flags=re.MULTILINE):
            wrong.append((entry.lines[key], f"a line of {key} begins with %, which makes it a comment"))
        elif kind in (TEXTS, ENTRIES) and not (isinstance(value, list) and value):
            wrong.append((entry.lines[key], f"{key} must be {kind}, got {_kind(value)}"))
        elif kind == TEXTS and not all(isinstance(item, str) and item for item in value):
            wrong.append((entry.lines[key], f"{key} must be {TEXTS}, and one of its items is none"))
    for at, sentence in wrong:
        problems.add(at, sentence)
    return not wrong


def _kind(value: object) -> str:
    return "nothing" if not value else {str: "a text", list: "a list", Entry: "lines of key: value"}[type(value)]


def _read_interview(content: Entry, sources: Sources, problems: Problems) -> Interview:
    topics = content.values["topics"]
    titles = topics.values if isinstance(topics, Entry) else {}
    if not titles or not all(isinstance(title, str) and title for title in titles.values()):
        problems.add(content.lines["topics"], "topics must be lines of the form id: title")
    questions, first = [], {}
    for entry in content.values["questions"]:
        if not _has_shape("a question", entry, problems, content.lines["questions"]):
            continue
        name, line = entry.values["id"], entry.lines["id"]
        if name in first:
            problems.add(line, f"the id {name} is taken by the question in line {first[name]}")
        first.setdefault(name, line)
        questions.append(_read_question(entry, titles, sources, problems))
    return Interview(titles, tuple(questions))


def _read_question(entry: Entry, topics: Iterable[str], sources: Sources, problems: Problems) -> Question:
    values, lines = entry.values, entry.lines
    wrong = [item for item in values["wrong"] if _has_shape("a wrong answer", item, problems, lines["wrong"])]
    checks = [item for item in values.get("checks", []) if _has_shape("a check", item, problems, lines["checks"])]
    evidence = [_read_evidence(item, sources, problems, lines["evidence"]) for item in values["evidence"]]
    question = Question(
        **{key: values[key] for key in ("id", "topic", "level", "question", "short", "full")},
        wrong=tuple(Wrong(**item.values) for item in wrong),
        evidence=tuple(item for item in evidence if item),
        choice=values.get("choice", ""),
        checks=tuple(Check(**item.values, line=item.lines["value"]) for item in checks),
        sheet=values.get("sheet", ""),
        line=entry.line,
    )
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", question.id):
        problems.add(lines["id"], f"an id has small letters, digits and hyphens, got {question.id!r}")
    for key, choices in (("topic", topics), ("level", LEVELS)):
        if values[key] not in choices:
            problems.add(lines[key], f"there is no {key} {values[key]}; there are {', '.join(choices)}")
    words = len(question.short.split())
    if words > LONGEST_SHORT:
        problems.add(lines["short"], f"short has {words} words, at most {LONGEST_SHORT} fit in thirty seconds")
    if not 1 <= len(values["wrong"]) <= 4:
        problems.add(lines["wrong"], f"wrong has {len(values['wrong'])} answers, 1 to 4 would do")
    if question.choice and len(values["wrong"]) < 2:
        problems.add(lines["choice"], "choice needs two wrong answers beside it, got one")
    if question.choice in [item.answer for item in question.wrong]:
        problems.add(lines["choice"], "choice is one of the wrong answers too")
    if question.sheet and not question.checks:
        problems.add(lines["sheet"], "sheet needs checks, whose values are its figures")
    _check_numbers(question, entry, problems)
    return question


def _read_evidence(entry: object, sources: Sources, problems: Problems, line: int) -> Section | Citation | None:
    is_citation = isinstance(entry, Entry) and "citation" in entry.values
    if not _has_shape("a citation" if is_citation else "a chapter's evidence", entry, problems, line):
        return None
    values = entry.values
    if is_citation:
        if values["citation"] not in sources.citations:
            problems.add(entry.lines["citation"], f"book/references.bib has no {values['citation']}")
        return Citation(values["citation"], values.get("where", ""), entry.line)
    chapter, section = values["chapter"], values["section"]
    if chapter not in sources.headings:
        problems.add(entry.lines["chapter"], f"there is no notebooks/{chapter}.ipynb")
    elif not any(begins(heading, section) for heading in sources.headings[chapter]):
        problems.add(entry.lines["section"], f"notebooks/{chapter}.ipynb has no section {section}")
    return Section(chapter, section, values.get("shows", ""), entry.line)


def _check_numbers(question: Question, entry: Entry, problems: Problems) -> None:
    """Every number of the short answer is checked, cited or given, and all of these do stand in the text."""
    covered = {key: entry.values.get(key, []) for key in ("cited", "given")}
    values = [check.value for check in question.checks]
    for number in uncovered_numbers(question.short, [*values, *covered["cited"], *covered["given"]]):
        problems.add(entry.lines["short"], f"short says {number}, which is neither in checks, cited nor given")
    for key, values in covered.items():
        for value in values:
            if not occurrences(value).search(question.short):
                problems.add(entry.lines[key], f"{key} holds {value}, which short does not say")
    texts = " ".join([question.short, question.full, question.choice, question.sheet])
    for check in question.checks:
        if not is_value(check.value):
            problems.add(check.line, f"value must be one number, with a unit or without, got {check.value!r}")
        elif not question.sheet and not occurrences(check.value).search(texts):
            problems.add(check.line, f"value is {check.value}, which no answer says")
