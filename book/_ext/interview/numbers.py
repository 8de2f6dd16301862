"""The numbers of the answers: found in a text, and computed anew from the library, the records and torchvision."""

import math
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import torch
import torchvision
from torch import nn

import resnet_lib
from resnet_course import probes
from resnet_lib import arithmetic
from resnet_lib.records import Summary, load_records, results_folder, summarize

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


def parameters(module: nn.Module) -> int:
    """How many parameters a module has."""
    return sum(parameter.numel() for parameter in module.parameters())


def torchvision_count(name: str) -> int:
    """How many parameters ``torchvision.models.NAME`` has."""
    return parameters(torchvision.models.get_model(name, weights=None))


def receptive_field(depth: int) -> int:
    """Pixels along one side that a value of the last stage sees, in the ResNet of that depth.

    Of the two ways around a block the longer one counts, so shortcuts don't.

    >>> receptive_field(34), receptive_field(50)
    (899, 427)
    """
    field, step = 1, 1
    for name, layer in getattr(resnet_lib, f"resnet{depth}")().named_modules():
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)) and "downsample" not in name:
            # A convolution keeps a pair of each, a pooling one number.
            kernel_size, stride = (n if isinstance(n, int) else n[0] for n in (layer.kernel_size, layer.stride))
            field += (kernel_size - 1) * step
            step *= stride
    return field


@cache
def summary(folder: str, depth: int, shortcut: str) -> Summary:
    """The mean final errors in percent, over the seeds of the book's own runs."""
    rows = summarize(load_records(results_folder(folder)))
    (row,) = [row for row in rows if (row.depth, row.shortcut) == (depth, shortcut)]
    return row


@cache
def probe(name: str) -> list[dict[str, Any]]:
    """The rows of one of the book's recorded measurements."""
    return probes.load_measurement(results_folder("probes") / f"{name}.json")["rows"]


OWN = {
    **{"math": math, "torch": torch, "nn": nn, "parameters": parameters, "torchvision_count": torchvision_count},
    **{"receptive_field": receptive_field, "probe": probe},
    "training_error": lambda *group: summary(*group).train_error,
    "test_error": lambda *group: summary(*group).test_error,
}


def evaluate(expression: str) -> float:
    """What an expression gives that uses PyTorch, the library, its closed forms, and the names above.

    >>> evaluate("2 * conv_parameters(256, 256, 3)"), evaluate("parameters(resnet50())")
    (1179648, 25557032)
    """
    with torch.device("meta"):  # which knows shapes and holds no values
        return eval(expression, {**vars(resnet_lib), **vars(arithmetic), **OWN})


def problem_of(value: str, expression: str) -> str | None:
    """The sentence on a number that is not what its expression gives; None if it is.

    >>> problem_of("36,865", "conv_parameters(64, 64, 3)")
    'the text says 36,865, but conv_parameters(64, 64, 3) gives 36,864'
    """
    try:
        result = as_written_like(value, evaluate(expression))
    except Exception as error:  # the expression may be anything
        return f"{expression} can't be computed: {type(error).__name__}: {error}"
    return None if result == value else f"the text says {value}, but {expression} gives {result}"


def wrong_numbers(questions: Sequence[Any]) -> list[str]:
    """The line and the sentence of every check of the questions that does not hold."""
    checks = [check for question in questions for check in question.get("checks", [])]
    found = [(check.line, problem_of(check["value"], check["equals"])) for check in checks]
    return [f"line {line}: {problem}" for line, problem in found if problem]
