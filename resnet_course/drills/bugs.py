"""The bug hunt: listings of broken networks, and answers to guesses.

>>> guess(1, 1)
Line 1 is as it should be.
>>> from resnet_course.drills.catalogue import CATALOGUE
>>> len(CATALOGUE) == NUMBER_OF_BUGS
True

A broken listing is the correct one with a few words changed. Its code runs by ``exec``: both halves, listing and
change, are files of this package, so what runs is as much the library's own as any other of its lines. A module for
each of them would store the same sixty lines twenty times.
"""

import ast
import difflib
import textwrap
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from resnet_course.drills.catalogue import CATALOGUE, Entry
from resnet_course.drills.sentence import Sentence
from resnet_lib._arguments import check_count

NUMBER_OF_BUGS = len(CATALOGUE)
# The numbers tell nothing of the order in the catalogue, and stay the same on every machine.
_SHUFFLED = sorted(CATALOGUE, key=lambda entry: zlib.crc32(entry.name.encode()))


@cache
def correct_source(listing: str) -> str:
    """The text of a correct listing, "resnet50" or "resnet20"."""
    return Path(__file__).with_name(f"listing_{listing}.py").read_text(encoding="utf-8")


def broken_source(entry: Entry) -> str:
    """The listing with the bug in it."""
    source = correct_source(entry.listing)
    for right, wrong in entry.edits:
        source = source.replace(right, wrong)
    return source


def run_source(source: str) -> SimpleNamespace:
    """The names that a listing defines: ``ResNet``, ``train_step``, ``predict``, …

    >>> run_source(correct_source("resnet20")).ResNet(width=4).fc
    Linear(in_features=16, out_features=10, bias=True)
    """
    names: dict = {"__name__": "listing"}
    exec(compile(source, "<listing>", "exec"), names)
    return SimpleNamespace(**names)


def entry_of(number: int) -> Entry:
    """The bug of this number, 1 to `NUMBER_OF_BUGS`.

    >>> entry_of(99)
    Traceback (most recent call last):
    ...
    ValueError: number must be from 1 to 21, got 99
    """
    check_count("number", number)
    if number > NUMBER_OF_BUGS:
        raise ValueError(f"number must be from 1 to {NUMBER_OF_BUGS}, got {number}")
    return _SHUFFLED[number - 1]


def accepted_lines(entry: Entry) -> set[int]:
    """Lines of the broken listing that are a right answer: what the bug changed, the lines on both sides of what it
    left out, and those that the catalogue names besides; of a statement of several lines, all of them.
    """
    right, wrong = correct_source(entry.listing).splitlines(), broken_source(entry).splitlines()
    lines = {number for number, line in enumerate(wrong, 1) if line.strip() in entry.also}
    for kind, _, _, first, behind in difflib.SequenceMatcher(None, right, wrong, autojunk=False).get_opcodes():
        if kind == "delete":
            lines |= {first, first + 1}
        elif kind != "equal":
            lines |= set(range(first + 1, behind + 1))
    for node in ast.walk(ast.parse("\n".join(wrong))):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.Expr, ast.Return)):
            statement = range(node.lineno, node.end_lineno + 1)
            lines |= set(statement) if lines & set(statement) else set()
    return lines


@dataclass(frozen=True, repr=False)
class Bug:
    """A broken network to look at. It shows itself with line numbers as the last expression of a cell."""

    number: int

    @property
    def source(self) -> str:
        """The code as text, without numbers, to copy and run."""
        return broken_source(entry_of(self.number))

    def __repr__(self) -> str:
        lines = [f"{i:3}  {line}".rstrip() for i, line in enumerate(self.source.splitlines(), 1)]
        return "\n".join([f"Bug {self.number}: which line is wrong?", "", *lines])


def bug(number: int) -> Bug:
    """The broken network of this number.

    Raises:
        TypeError, ValueError: a number that is not from 1 to `NUMBER_OF_BUGS`.

    >>> str(bug(3)).splitlines()[0]
    'Bug 3: which line is wrong?'
    """
    entry_of(number)
    return Bug(number)


@dataclass(frozen=True, repr=False)
class Guess:
    """The answer to a guess: whether it is right, and a text, which shows itself."""

    right: bool
    text: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return self.text


def guess(number: int, line: int) -> Guess:
    """Say which line of bug ``number`` is wrong. A right guess shows the change, the reason and the symptom.

    Raises:
        TypeError, ValueError: a number that is not from 1 to `NUMBER_OF_BUGS`.
    """
    entry = entry_of(number)
    length = len(broken_source(entry).splitlines())
    if isinstance(line, bool) or not isinstance(line, int) or not 1 <= line <= length:
        return Guess(False, f"A line is a whole number from 1 to {length}, got {line!r}.")
    if line not in accepted_lines(entry):
        return Guess(False, f"Line {line} is as it should be.")
    paragraphs = [f"Right, line {line}: {entry.name}.", _wrap(entry.explanation), _difference(entry), symptom(number)]
    return Guess(True, "\n\n".join(paragraphs))


def _difference(entry: Entry) -> str:
    """What is there, and what should be."""
    pair = broken_source(entry).splitlines(), correct_source(entry.listing).splitlines()
    changed = [line for line in difflib.ndiff(*pair) if line[0] in "-+"]
    return "\n".join(f"  {'is    ' if line[0] == '-' else 'should'}  {line[2:]}" for line in changed)


def symptom(number: int) -> Sentence:
    """What a measurement shows on the broken network and on the correct one.

    Raises:
        TypeError, ValueError: a number that is not from 1 to `NUMBER_OF_BUGS`.
    """
    return _measure(entry_of(number))


@cache
def _measure(entry: Entry) -> Sentence:
    sign = entry.symptom
    sources = broken_source(entry), correct_source(entry.listing)
    broken, correct = (sign.form.format(sign.measure(run_source(source), 0)) for source in sources)
    return Sentence(_wrap(f"Measured, {sign.label}: {broken}; in the correct network {correct}."))


def hint(number: int, level: int = 1) -> Sentence:
    """Help, a little at a time: 1 says what to ask of the network, 2 what a measurement shows, 3 in which function.

    Raises:
        TypeError, ValueError: a number that is not from 1 to `NUMBER_OF_BUGS`, or a level that is not 1, 2 or 3.

    >>> hint(3, 4)
    Traceback (most recent call last):
    ...
    ValueError: level must be 1, 2 or 3, got 4
    """
    entry = entry_of(number)
    check_count("level", level)
    if level > 3:
        raise ValueError(f"level must be 1, 2 or 3, got {level}")
    if level == 1:
        return Sentence(entry.clue)
    return symptom(number) if level == 2 else Sentence(f"It is in {_place(entry)}.")


def _place(entry: Entry) -> str:
    """The innermost function that holds an accepted line, with its class."""
    lines, source = accepted_lines(entry), broken_source(entry)
    places = []
    for node in ast.parse(source).body:
        for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(inner, ast.FunctionDef) and lines & set(range(inner.lineno, inner.end_lineno + 1)):
                places.append(inner.name if inner is node else f"{node.name}.{inner.name}")
    return " or ".join(places)


def _wrap(text: str) -> str:
    return textwrap.fill(text, width=88)
