"""A question with its answer, and what is said of a reader's own."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from resnet_course.drills.sentence import Sentence

Answer = int | float | tuple[int, ...]


@dataclass(frozen=True, repr=False)
class Question:
    """Shows itself as its text; `check` looks at an answer, and ``solution`` is the way to it, step by step.

    >>> slips = ((18, "those are ants"),)
    >>> ask = Question("example", "How many legs do 3 spiders have?", 24, "legs", "3 · 8 = 24", {}, slips)
    >>> ask
    How many legs do 3 spiders have?
    >>> ask.check(18)
    18 is not right: those are ants.
    >>> ask.check(24)
    Right: 24 legs.
    """

    kind: str
    text: str
    answer: Answer
    unit: str
    solution: Sentence
    given: Mapping[str, int | str]  # the numbers that were drawn
    slips: tuple[tuple[Answer, str], ...] = ()  # wrong answers that a known mistake gives, and the mistake
    tolerance: float = 0.0  # relative

    def __repr__(self) -> str:
        return textwrap.fill(self.text, width=88)

    def check(self, value: Answer) -> Sentence:
        """One sentence on an answer: right, the mistake behind it if it is a known one, or too large or too small."""
        if isinstance(self.answer, tuple):
            if not isinstance(value, (tuple, list)) or len(value) != len(self.answer):
                return Sentence(f"The answer is {len(self.answer)} numbers, {self.unit}, got {value!r}.")
            value = tuple(value)
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            return Sentence(f"The answer is a number, got {type(value).__name__}.")
        if self._agree(value, self.answer):  # first, since a slip may happen to hit the right number
            return Sentence(f"Right: {self.write(self.answer)}.")
        mistakes = [mistake for slip, mistake in self.slips if self._agree(value, slip)]
        if mistakes:
            return Sentence(f"{write_number(value)} is not right: {', or '.join(mistakes)}.")
        if isinstance(self.answer, tuple):
            names = self.unit.strip("()").split(", ")
            wrong = [name for name, got, right in zip(names, value, self.answer, strict=True) if got != right]
            return Sentence(f"{write_number(value)} is not right: look at {' and '.join(wrong)}.")
        return Sentence(f"{write_number(value)} is too {'large' if value > self.answer else 'small'}.")

    def _agree(self, value: Answer, right: Answer) -> bool:
        if isinstance(right, tuple):
            return value == right
        return abs(value - right) <= self.tolerance * abs(right)

    def write(self, value: Answer) -> str:
        """An answer with its unit.

        >>> Question("example", "?", 9536, "parameters", "", {}).write(9536)
        '9,536 parameters'
        """
        return (
            f"{self.unit} = {write_number(value)}" if isinstance(value, tuple) else f"{write_number(value)} {self.unit}"
        )


def write_number(value: Answer) -> str:
    """A number with thousands marked, and enough digits of a fraction to be within 1 %.

    >>> write_number(25557032), write_number(16.941), write_number(0.015625)
    ('25,557,032', '16.94', '0.0156')
    """
    if isinstance(value, tuple):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}"
