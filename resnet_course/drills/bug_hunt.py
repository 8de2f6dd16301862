"""The bug hunt: listings of broken networks, and answers to guesses.

A broken listing is the correct one with a few words changed. Its code runs by ``exec``: both halves, listing and
change, are files of this package, and a module for each bug would store the same sixty lines twenty times.
"""

import ast
import difflib
import textwrap
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import SimpleNamespace

import torch

from resnet_course.drills.answers import Sentence, is_whole
from resnet_course.drills.bug_list import BUGS, Entry

NUMBER_OF_BUGS = len(BUGS)
# The numbers tell nothing of the order in the list, and stay the same on every machine.
_SHUFFLED = sorted(BUGS, key=lambda entry: zlib.crc32(entry.name.encode()))


@cache
def correct_source(listing: str) -> str:
    """The text of a correct listing, "resnet50", "resnet20" or "finetuning".

    >>> correct_source("resnet20").splitlines()[0]
    '\"""ResNet-20 with option A for 32×32 pixels: network, training, prediction.\"""'
    """
    if listing not in ("resnet50", "resnet20", "finetuning"):
        raise ValueError(f"listing must be one of 'resnet50', 'resnet20', 'finetuning', got {listing!r}")
    return Path(__file__).with_name(f"listing_{listing}.txt").read_text(encoding="utf-8")


def broken_source(entry: Entry) -> str:
    """The listing with the bug in it."""
    source = correct_source(entry.listing)
    for right, wrong in entry.edits.items():
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
    """The bug of this number."""
    if not is_whole(number, 1, NUMBER_OF_BUGS):
        raise ValueError(f"number must be a whole number from 1 to {NUMBER_OF_BUGS}, got {number!r}")
    return _SHUFFLED[number - 1]


def accepted_lines(entry: Entry) -> set[int]:
    """Lines of the broken listing that are a right answer: what the bug changed, the lines on both sides of what it
    left out, and the one that the list names besides; of a statement of several lines, all of them.
    """
    right, wrong = correct_source(entry.listing).splitlines(), broken_source(entry).splitlines()
    lines = {number for number, line in enumerate(wrong, 1) if line.strip() == entry.also != ""}
    for kind, _, _, first, behind in difflib.SequenceMatcher(None, right, wrong, autojunk=False).get_opcodes():
        if kind == "delete":
            lines |= {first, first + 1}
        elif kind != "equal":
            lines |= set(range(first + 1, behind + 1))
    for node in ast.walk(ast.parse("\n".join(wrong))):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.Expr, ast.Return)):
            statement = set(range(node.lineno, node.end_lineno + 1))
            lines |= statement if lines & statement else set()
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
    """The broken network of this number, from 1 to `NUMBER_OF_BUGS`; any other is a ValueError, here and below.

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

    >>> guess(1, 1)
    Line 1 is as it should be.
    """
    entry = entry_of(number)
    correct, broken = correct_source(entry.listing).splitlines(), broken_source(entry).splitlines()
    if not is_whole(line, 1, len(broken)):
        return Guess(False, f"A line is a whole number from 1 to {len(broken)}, got {line!r}.")
    if line not in accepted_lines(entry):
        return Guess(False, f"Line {line} is as it should be.")
    changed = [line for line in difflib.ndiff(broken, correct) if line[0] in "-+"]
    difference = [f"  {'is    ' if line[0] == '-' else 'should'}  {line[2:]}" for line in changed]
    paragraphs = [f"Right, line {line}: {entry.name}.", _wrap(entry.explanation), "\n".join(difference)]
    return Guess(True, "\n\n".join([*paragraphs, symptom(number)]))


@lru_cache(maxsize=None, typed=True)  # typed, since True is 1 to an untyped cache
def symptom(number: int) -> Sentence:
    """What a measurement shows on the broken network and on the correct one."""
    entry, values = entry_of(number), []
    for source in (broken_source(entry), correct_source(entry.listing)):
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            values.append(entry.evidence(run_source(source)))
    return _wrap(f"Measured, {entry.evidence.__doc__}: {values[0]}; in the correct network {values[1]}.")


def hint(number: int, level: int = 1) -> Sentence:
    """Help, a little at a time: 1 says what to ask of the network, 2 what a measurement shows, 3 in which function."""
    if not is_whole(level, 1, 3):
        raise ValueError(f"level must be 1, 2 or 3, got {level!r}")
    entry = entry_of(number)
    if level == 1:
        return Sentence(entry.clue)
    return symptom(number) if level == 2 else Sentence(f"It is in {_place(entry)}.")


def _place(entry: Entry) -> str:
    """The innermost function that holds an accepted line, with its class."""
    lines, places = accepted_lines(entry), []
    for node in ast.parse(broken_source(entry)).body:
        for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(inner, ast.FunctionDef) and lines & set(range(inner.lineno, inner.end_lineno + 1)):
                places.append(f"{node.name}.{inner.name}" if isinstance(node, ast.ClassDef) else inner.name)
    return " or ".join(places)


def _wrap(text: str) -> Sentence:
    return Sentence(textwrap.fill(text, width=88))
