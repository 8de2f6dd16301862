"""What the drills say, a question with its answer, and what is said of a reader's own."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

Answer = Any  # a number, or a tuple of whole ones


class Sentence(str):
    """A string whose ``repr`` has no quotes, so that it reads well as the last expression of a cell.

    >>> Sentence("Right: 4 channels.")
    Right: 4 channels.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def is_whole(value: object, low: int, high: float) -> bool:
    """Is it a whole number within these bounds? NumPy's are; True, which is 1 to Python, is not.

    >>> is_whole(3, 1, 5), is_whole(3.0, 1, 5), is_whole(True, 1, 5)
    (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool) and low <= value <= high


@dataclass(frozen=True, repr=False)
class Question:
    """Shows itself as its text; `check` looks at an answer, and ``solution`` is the way to it, step by step.

    >>> slips = [(18, "those are ants")]
    >>> ask = Question("How many legs do 3 spiders have?", 24, "legs", ["3 · 8 = 24"], slips)
    >>> ask
    How many legs do 3 spiders have?
    >>> ask.check(18)
    18 is not right: those are ants.
    >>> ask.check(24)
    Right: 24 legs.
    """

    text: str
    answer: Answer
    unit: str
    steps: Sequence[str]
    slips: Sequence[tuple[Answer, str]]  # wrong answers that a known mistake gives, and the mistake
    tolerance: float = 0.0  # relative
    kind: str = ""

    @property
    def solution(self) -> Sentence:
        return Sentence("\n".join(self.steps))

    def __repr__(self) -> str:
        return textwrap.fill(self.text, width=88)

    def check(self, value: Answer) -> Sentence:
        """One sentence on an answer: right, the mistake behind it if it is a known one, or too large or too small."""
        several = isinstance(self.answer, tuple)
        if several and not (isinstance(value, (tuple, list)) and len(value) == len(self.answer)):
            return Sentence(f"The answer is {len(self.answer)} numbers, {self.unit}, got {value!r}.")
        if not several and (isinstance(value, bool) or not isinstance(value, Real)):
            return Sentence(f"The answer is a number, got {type(value).__name__}.")
        value = tuple(value) if several else value
        if self._agree(value, self.answer):  # first, since a slip may happen to hit the right number
            unit = f"{self.unit} = {self.answer}" if several else f"{write_number(self.answer)} {self.unit}"
            return Sentence(f"Right: {unit}.")
        wrong = f"{write_number(value)} is not right"
        mistakes = [mistake for slip, mistake in self.slips if self._agree(value, slip)]
        if mistakes:
            return Sentence(f"{wrong}: {', or '.join(mistakes)}.")
        if several:
            parts = zip(self.unit.strip("()").split(", "), value, self.answer, strict=True)
            return Sentence(f"{wrong}: look at {' and '.join(name for name, got, right in parts if got != right)}.")
        return Sentence(f"{write_number(value)} is too {'large' if value > self.answer else 'small'}.")

    def _agree(self, value: Answer, right: Answer) -> bool:
        return value == right if isinstance(right, tuple) else abs(value - right) <= self.tolerance * abs(right)


def write_number(value: Answer) -> str:
    """A number with thousands marked, and enough digits of a fraction to be within 1 %; several as they are.

    >>> write_number(25557032), write_number(16.941), write_number(0.015625)
    ('25,557,032', '16.94', '0.0156')
    """
    if isinstance(value, tuple):
        return str(value)
    return f"{value:,}" if isinstance(value, Integral) else f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}"
