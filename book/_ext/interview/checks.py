"""Compute the numbers of the answers anew, from the library, the records and torchvision."""

import inspect
import math
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import torch
import torchvision
from torch import nn

import resnet_lib
from interview.numerals import as_written_like
from interview.questions import FILE, Check, Interview
from resnet_course import probes
from resnet_lib import arithmetic
from resnet_lib.records import Summary, load_records, results_folder, summarize

NETWORKS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "plain18",
    "plain34",
    "cifar_resnet",
    "ResNet",
)
BLOCKS = ("BasicBlock", "Bottleneck", "Residual", "ZeroPadShortcut", "conv1x1", "conv3x3", "resnet_block")


def parameters(module: nn.Module) -> int:
    """How many parameters a module has.

    >>> parameters(nn.Linear(512, 1000))
    513000
    """
    return sum(parameter.numel() for parameter in module.parameters())


def torchvision_count(name: str) -> int:
    """How many parameters ``torchvision.models.NAME`` has.

    >>> torchvision_count("resnet50")
    25557032
    """
    with torch.device("meta"):
        return parameters(torchvision.models.get_model(name, weights=None))


def receptive_field(depth: int) -> int:
    """Pixels along one side that a value of the last stage sees, in the ResNet of that depth.

    Of the two ways around a block the longer one counts, so shortcuts don't.

    >>> receptive_field(34), receptive_field(50)
    (899, 427)
    """
    network = _without_memory(getattr(resnet_lib, f"resnet{depth}"))()
    field, step = 1, 1
    for name, layer in network.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)) and "downsample" not in name:
            # A convolution keeps a pair of each, a pooling one number.
            kernel_size, stride = (n if isinstance(n, int) else n[0] for n in (layer.kernel_size, layer.stride))
            field += (kernel_size - 1) * step
            step *= stride
    return field


def training_error(folder: str, depth: int, shortcut: str) -> float:
    """The mean final training error in percent, over the seeds of the book's own runs.

    >>> training_error("digits", 56, "none") > training_error("digits", 56, "A")
    True
    """
    return _summary(folder, depth, shortcut).train_error


def test_error(folder: str, depth: int, shortcut: str) -> float:
    """The mean final test error in percent, over the seeds of the book's own runs."""
    return _summary(folder, depth, shortcut).test_error


@cache
def _summary(folder: str, depth: int, shortcut: str) -> Summary:
    rows = summarize(load_records(results_folder(folder)))
    fitting = [row for row in rows if (row.depth, row.shortcut) == (depth, shortcut)]
    if len(fitting) != 1:
        raise ValueError(f"{folder} holds {len(fitting)} groups of runs with depth {depth} and shortcut {shortcut!r}")
    return fitting[0]


@cache
def probe(name: str) -> list[dict[str, Any]]:
    """The rows of one of the book's recorded measurements."""
    return probes.load_measurement(results_folder("probes") / f"{name}.json")["rows"]


def _without_memory(make: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Build on the meta device, which knows shapes and holds no values."""

    @wraps(make)
    def make_on_meta(*args: Any, **kwargs: Any) -> nn.Module:
        with torch.device("meta"):
            return make(*args, **kwargs)

    return make_on_meta


def _names() -> dict[str, Any]:
    """What a check may use."""
    own = [parameters, torchvision_count, receptive_field, training_error, test_error, probe]
    closed_forms = [
        function
        for name, function in vars(arithmetic).items()
        if inspect.getmodule(function) is arithmetic and not name.startswith("_")
    ]
    return (
        {"math": math, "torch": torch, "nn": nn}
        | {function.__name__: function for function in own + closed_forms}
        | {name: getattr(resnet_lib, name) for name in BLOCKS}
        | {name: _without_memory(getattr(resnet_lib, name)) for name in NETWORKS}
    )


def evaluate(expression: str) -> float:
    """What an expression of the file gives.

    >>> evaluate("2 * conv_parameters(256, 256, 3)")
    1179648
    """
    return eval(expression, _names())


def problem_of(check: Check) -> str | None:
    """The sentence on a check that does not hold; None if it holds.

    >>> problem_of(Check("36,865", "conv_parameters(64, 64, 3)", line=7))
    'book/interview/questions.yml, line 7: the text says 36,865, but conv_parameters(64, 64, 3) gives 36,864'
    """
    where = f"{FILE}, line {check.line}"
    try:
        result = as_written_like(check.value, evaluate(check.equals))
    except Exception as error:  # the expression may be anything
        return f"{where}: {check.equals} can't be computed: {type(error).__name__}: {error}"
    if result == check.value:
        return None
    return f"{where}: the text says {check.value}, but {check.equals} gives {result}"


def problems_of(interview: Interview) -> list[str]:
    """The sentences on all checks that do not hold."""
    problems = [problem_of(check) for question in interview.questions for check in question.checks]
    return [problem for problem in problems if problem]
