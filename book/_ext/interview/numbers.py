"""The numbers of an answer: which ones there are, and whether the sums that it writes out are right."""

import re
from collections.abc import Iterable

# Digits that begin a word: the 50 of "50 layers" and the 3s of "3×3", but not the 4 of "layer4" or of "v1.4".
NUMBER = re.compile(r"(?<![\w.,])\.?\d[\w.,]*|(?<=\W[.,])\d[\w.,]*")
# What holds digits and states no figure: code, formulas, links, list marks, names such as ResNet-50, places in a text.
NAME = re.compile(
    r"```.*?```|`[^`]*`|\$[^$]*\$|\[[^]]*\]\([^)]*\)|^\d\. |\b[A-Za-z]\w*-\d[\w-]*(?:/\d+)?"
    r"|\b(?:[Cc]hapter|[Ss]ection|[Tt]able|[Ff]igure|[Ee]quation|[Ee]xercise|[Ff]ootnote|[Ss]tage|[Ss]tep|[Tt]heorem)s?"
    r"\s\d[\d.]*(?:(?:,| and| to| or)\s\d[\d.]*)*",
    flags=re.MULTILINE | re.DOTALL,
)
SIDE = r"[\d(√⌊](?:,(?=\d)|[\d.()·+−/²³√⌊⌋ ])*"
SUM = re.compile(rf"(?<![·+−/] )(?<![\w·+−/).,]){SIDE}(?:[=≈] ?{SIDE})+(?!\w)")
VALUE = re.compile(r"(?P<digits>[-−]?[\d,]*\.?\d+) ?(?P<unit>\D*)")
SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9}


def occurrences(value: str) -> re.Pattern[str]:
    """Where a number stands by itself: 50 is in "ResNet-50", but not in 250, 3.50 or 50,000."""
    return re.compile(rf"(?<!\d)(?<!\d[.,]){re.escape(value)}(?![.,]?\d)")


def uncovered_numbers(text: str, covered: Iterable[str]) -> list[str]:
    """The figures that ``text`` states and that are no part of what is covered; a lone digit is none.

    >>> uncovered_numbers("Of 2 convs in ResNet-50 a 3×3 costs 1,024 times 16.9, or 9 · 4 = 36.", ["3×3", "16.9"])
    ['1,024']
    """
    text = SUM.sub("…", NAME.sub("…", text))
    for value in sorted(covered, key=len, reverse=True):  # "3×3" before "3"
        text = occurrences(value).sub("…", text)
    found = [(match[0].rstrip(".,"), text[match.end() :]) for match in NUMBER.finditer(text)]
    return [number for number, rest in found if len(number) > 1 or re.match(r" ?%", rest)]


def wrong_sums(text: str) -> list[str]:
    """A sentence on each sum in ``text`` that does not come out.

    >>> wrong_sums("3·3·64·64 = 36,864; 9·(3·32 + 32²) = 10,080 = 10,081; 18/17 ≈ 1.06")
    ['9·(3·32 + 32²) = 10,080 = 10,081: the last is 10,080']
    """
    wrong = []
    for match in SUM.finditer(NAME.sub("…", text)):
        first, *others = [side.strip(" .,") for side in re.split("[=≈]", match[0])]
        for name, operation in {",": "", "·": "*", "−": "-", "²": "**2", "³": "**3", "⌊": "int(", "⌋": ")"}.items():
            first = first.replace(name, operation)
        try:
            result = eval(re.sub(r"√(\d+|\([^)]*\))", r"\1**.5", first))
        except SyntaxError:
            wrong.append(f"{match[0].strip(' .,')} can't be computed")
            continue
        for side in others:
            if VALUE.fullmatch(side) and side != (right := as_written_like(side, result)):
                wrong.append(f"{match[0].strip(' .,')}: the last is {right}")
    return wrong


def as_written_like(value: str, result: float) -> str:
    """The result, with the decimals and the unit of ``value``.

    >>> as_written_like("25.6 million", 25_557_032), as_written_like("0.10 %", 1 / 3)
    ('25.6 million', '0.33 %')
    """
    digits, unit = VALUE.fullmatch(value).group("digits", "unit")
    scale = SCALES.get(unit.partition(" ")[0], 1)
    number = f"{result / scale:,.{len(digits.partition('.')[2])}f}"
    if "," not in digits:
        number = number.replace(",", "")
    return value.replace(digits, number.replace("-", "−") if "−" in digits else number, 1)
