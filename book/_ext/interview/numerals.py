"""Find the numbers of a text, and compare one with what a computation gives."""

import re
from collections.abc import Iterable

# Digits that begin a word: the 50 of "ResNet-50" and the 3s of "3×3", but not the 4 of "layer4" or of "v1.4".
NUMBER = re.compile(r"(?<![\w.,])\.?\d[\w.,]*|(?<=\W[.,])\d[\w.,]*")
VALUE = re.compile(r"(?P<digits>[-−]?[\d,]*\.?\d+) ?(?P<unit>\D*)")
SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9}


def occurrences(value: str) -> re.Pattern[str]:
    """Where a number stands by itself: 50 is in "ResNet-50", but not in 250, 3.50 or 50,000."""
    return re.compile(rf"(?<!\d)(?<!\d[.,]){re.escape(value)}(?![.,]?\d)")


def uncovered_numbers(text: str, covered: Iterable[str]) -> list[str]:
    """The numbers of ``text`` that are no part of what is covered.

    >>> uncovered_numbers("A 3×3 in layer4 of ResNet-50 costs 1,024 times 16.9.", ["3×3", "50", "16.9"])
    ['1,024']
    """
    for value in sorted(covered, key=len, reverse=True):  # "3×3" before "3"
        text = occurrences(value).sub("…", text)
    return [number.rstrip(".,") for number in NUMBER.findall(text)]


def is_value(value: str) -> bool:
    """Whether `agrees` can compare it: a number as people write it, with a unit or without."""
    return VALUE.fullmatch(value) is not None


def as_written_like(value: str, result: float) -> str:
    """The result, with the decimals and the unit of ``value``.

    >>> as_written_like("25.6 million", 25_557_032), as_written_like("0.10 %", 1 / 3)
    ('25.6 million', '0.33 %')
    """
    digits, unit = VALUE.fullmatch(value).group("digits", "unit")
    words = unit.split()
    scale = SCALES.get(words[0], 1) if words else 1
    decimals = len(digits.partition(".")[2])
    number = f"{result / scale:,.{decimals}f}"
    if "," not in digits:
        number = number.replace(",", "")
    return value.replace(digits, number.replace("-", "−") if "−" in digits else number, 1)
