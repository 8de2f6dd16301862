"""The figures of the answers are computed anew, from library, records and torchvision, and their code is run."""

import math
import re
from functools import cache

import pytest
import torch
import torch.nn.functional as F
import torchvision
from interview import numbers, questions
from notebook_files import ROOT
from torch import nn

import resnet_lib
from resnet_lib import arithmetic
from resnet_lib.arithmetic import bottleneck_cost, stages_cost
from resnet_lib.records import load_records, results_folder, summarize

QUESTIONS = {question["id"]: question for question in questions.load(ROOT).questions}
pytestmark = pytest.mark.usefixtures("one_thread")


# --- Expressions


def parameters(module: nn.Module) -> int:
    """How many parameters a module has."""
    return sum(parameter.numel() for parameter in module.parameters())


def torchvision_count(name: str) -> int:
    """How many parameters ``torchvision.models.NAME`` has."""
    return parameters(torchvision.models.get_model(name, weights=None))


def published(weights: str, key: str = "acc@1") -> float:
    """What torchvision's documentation says of a set of weights: accuracy in percent, box_map, _ops in billions, ..."""
    meta = torchvision.models.get_weight(weights).meta
    return {**meta, **next(iter(meta["_metrics"].values()))}[key]


@cache
def receptive_field(depth: int) -> int:
    """Pixels along one side that a value of the last stage sees, by the longest path through the ResNet."""
    field, step = 1, 1
    for name, layer in getattr(resnet_lib, f"resnet{depth}")().named_modules():
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)) and "downsample" not in name:
            # A convolution keeps a pair of each, a pooling one number.
            kernel_size, stride = (n if isinstance(n, int) else n[0] for n in (layer.kernel_size, layer.stride))
            field += (kernel_size - 1) * step
            step *= stride
    return field


def conv_values(network: nn.Module) -> int:
    """How many values the convolutions put out for one image of 224×224."""
    layers = arithmetic.layer_table(network.to("meta"), (3, 224, 224)).layers
    return sum(math.prod(layer.output_shape) for layer in layers if layer.kind == "Conv2d")


def stage_cost(stage: int) -> arithmetic.Cost:
    """Parameters and multiply-adds of one stage of ResNet-50."""
    counts = [3, 4, 6, 3]
    first, before = (stages_cost(bottleneck_cost, 4, 64, counts[:end], 56) for end in (stage, stage - 1))
    return first + -1 * before


@cache
def training_error(folder: str, depth: int, shortcut: str) -> float:
    """The mean final training error in percent, over the seeds of the book's own runs."""
    rows = summarize(load_records(results_folder(folder)))
    (row,) = [row for row in rows if (row.depth, row.shortcut) == (depth, shortcut)]
    return row.train_error


def problem_of(value: str, expression: str) -> str | None:
    """The sentence on a number that is not what its expression gives; None if it is."""
    with torch.device("meta"):  # which knows shapes and holds no values
        result = eval(expression, {**vars(resnet_lib), **vars(arithmetic), **globals()})
    right = numbers.as_written_like(value, result)
    return None if right == value else f"the text says {value}, but {expression} gives {right}"


@pytest.mark.parametrize("name", [name for name, question in QUESTIONS.items() if "checks" in question])
def test_every_figure_is_what_its_expression_gives(name):
    problems = [(check.line, problem_of(check["value"], check["equals"])) for check in QUESTIONS[name]["checks"]]
    assert [(line, problem) for line, problem in problems if problem] == []


@pytest.mark.parametrize(("value", "expression"), [("16", "18 / 1.07"), ("4.0 billion", "resnet_cost(50).macs")])
def test_a_figure_that_is_another_is_told(value, expression):
    assert f"the text says {value}, but " in problem_of(value, expression)


@pytest.mark.parametrize(
    ("text", "uncovered"),
    [
        ("1,437 images, 16.94 times, 120 and 2.20 and 20,000", ["1,437", "16.94", "120", "2.20", "20,000"]),
        ("layer4, conv2_x, v1.5, [at 12](x), `at 12`, $12^3$, table 12 and sections 1.4 and 2.5", []),
        ("in 2015. Then .5 % of 5 %, and 3·4 = 12, 12 + 12 = 24.", ["2015", ".5", "5"]),
    ],
)
def test_a_figure_is_covered_as_it_stands_or_not_at_all(text, uncovered):
    assert numbers.uncovered_numbers(text, ["20", "3×3"]) == uncovered


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("197² = 38,809, n + 1 = 3 and 6n = 7", []),
        ("16,384 + 36,864 = 9·64·64 + 64·256 = 53,249", ["53,248"]),
        ("⌊(56 + 2 − 3)/2⌋ + 1 = 29, and √(2/576) = 0.060", ["28", "0.059"]),
        ("2 3 = 6", ["computed"]),
    ],
)
def test_a_sum_is_computed_where_it_stands(text, ends):
    assert [sentence.split()[-1] for sentence in numbers.wrong_sums(text)] == ends


# --- Runs: the code that is an answer's evidence

RUNS = {name: item for name, question in QUESTIONS.items() for item in question["evidence"] if "run" in item}


def definitions(markdown: str) -> list[str]:
    """The functions and classes of an answer; fragments, which need more around them, are left out."""
    code = re.findall(r"^```python\n(.*?)^```", markdown, flags=re.MULTILINE | re.DOTALL)
    return [block for block in code if re.match("def|class|@", block) and "super().train" not in block]


@pytest.mark.parametrize("name", RUNS)
def test_the_code_that_is_evidence_runs_through(name):
    torch.manual_seed(0)
    space = {"torch": torch, "nn": nn, "F": F, "torchvision": torchvision}
    for block in [*definitions(QUESTIONS[name]["full"]), RUNS[name]["code"]]:
        exec(block, space)
    assert "assert" in RUNS[name]["code"]
