"""Feedback while learning: what is right and what is wrong in a block or network of one's own, one line a property.

>>> from resnet_lib.blocks import Residual
>>> check_residual(Residual).ok
True

A check returns a `Report`, which shows itself as the last expression of a cell; elsewhere, print it. No check raises,
prints, changes a model or moves the random state: whatever the learner's code does becomes a line.
"""

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from resnet_course.checks.blocks import (
    IDENTITY_PROPERTIES,
    JOIN_PROPERTIES,
    LAYER_PROPERTIES,
    NOTES,
    PROJECTION_NORM,
    PROJECTION_NORM_NOTE,
)
from resnet_course.checks.by_hand import check_output_sizes, check_parameter_count
from resnet_course.checks.cifar_form import check_cifar_form
from resnet_course.checks.folding import check_fold_batchnorm
from resnet_course.checks.network import BLOCK_COUNTS, HEAD_PROPERTIES, read_network
from resnet_course.checks.paths import Block, Plan, basic_plan, bottleneck_plan, main_path
from resnet_course.checks.report import Line, Note, Property, Report, judge, take_notes, undisturbed
from resnet_course.checks.runs import NO_DROPOUT, OWN_PROPERTIES, RUN_PROPERTIES, describe_shape
from resnet_course.checks.stage import DOWNSAMPLE, STAGE_PROPERTIES, ProbeBlock, ProbeBottleneck, run_stage
from resnet_course.checks.trace import Run, make_run
from resnet_lib._arguments import check_choice, check_count

__all__ = [
    "Report",
    "check_basic_block",
    "check_bottleneck",
    "check_cifar_form",
    "check_fold_batchnorm",
    "check_make_layer",
    "check_output_sizes",
    "check_parameter_count",
    "check_residual",
    "check_resnet",
]


def check_residual(cls: Callable[..., nn.Module]) -> Report:
    """Check a block of two 3×3 convolutions, called as ``cls(input_channels, num_channels, use_1x1conv, strides)``.

    The arguments are passed in this order, or the last two by name if their names contain "1x1" and "stride". As in
    `resnet_lib.blocks.Residual`, the convolutions may have biases, and the shortcut needs no BatchNorm.

    Source: He et al. 2016, equations 1 and 2.

    >>> check_residual(3)
    check_residual: 1 of 1 properties wrong
      wrong  argument: it takes a class, got an object of type int
    """
    cases = [(6, 6, False, 1), (6, 10, True, 2), (6, 10, True, 1), (6, 6, True, 2), (6, 6, True, 1)]
    plans = [basic_plan(before, after, stride, projects) for before, after, projects, stride in cases]
    return _check_block("check_residual", cls, cases, plans, LAYER_PROPERTIES, [PROJECTION_NORM_NOTE])


def check_basic_block(cls: Callable[..., nn.Module]) -> Report:
    """Check a basic block, called as ``cls(in_channels, channels, stride)``.

    The arguments are passed in this order, or the stride by name if a name contains "stride". A class with an argument
    whose name contains "downsample", as torchvision's, is handed a 1×1 convolution and a BatchNorm where the shape
    changes. The shortcut may also be the paper's option A.

    Source: He et al. 2016, figure 5, left.

    >>> from resnet_lib.blocks import BasicBlock
    >>> check_basic_block(BasicBlock).ok
    True
    """
    cases = [(6, 6, 1), (6, 10, 2), (6, 10, 1), (6, 6, 2)]
    return _check_paper_block("check_basic_block", cls, cases, basic_plan, expansion=1)


def check_bottleneck(cls: Callable[..., nn.Module]) -> Report:
    """Check a bottleneck, called as ``cls(in_channels, channels, stride)``; 4·channels must come out.

    Arguments and shortcut as in `check_basic_block`. The stride may sit on the 3×3 convolution or, as in the paper, on
    the first 1×1 convolution.

    Source: He et al. 2016, figure 5, right.

    >>> from resnet_lib.blocks import Bottleneck
    >>> check_bottleneck(Bottleneck).ok
    True
    """
    cases = [(24, 6, 1), (24, 12, 2), (6, 6, 1), (24, 6, 2)]
    return _check_paper_block("check_bottleneck", cls, cases, bottleneck_plan, expansion=4)


def check_make_layer(fn: Callable[..., Any]) -> Report:
    """Check a function that makes a stage, called as ``fn(block, in_channels, channels, num_blocks, stride)``.

    ``block`` is a class with ``expansion`` 1 or 4, to be called as ``block(in_channels, channels, stride)``, with
    further arguments if need be. The function returns an `nn.Sequential` or a list of blocks.

    Source: He et al. 2016, table 1.

    >>> from resnet_lib.networks import make_layer
    >>> check_make_layer(make_layer).ok
    True
    """
    if isinstance(fn, nn.Module) or not callable(fn):
        return _refuse("check_make_layer", f"it takes a function, got {_describe(fn)}")
    cases = [
        (ProbeBlock, (8, 8, 3, 1)),
        (ProbeBlock, (8, 16, 2, 2)),
        (ProbeBottleneck, (8, 8, 3, 1)),
        (ProbeBottleneck, (32, 16, 4, 2)),
        (ProbeBottleneck, (32, 16, 1, 2)),
    ]
    with undisturbed():
        stages = [run_stage(fn, block, *numbers) for block, numbers in cases]
        hands_downsample = any(block.downsample is not None for stage in stages for block in stage.runs)
        lines = judge([*STAGE_PROPERTIES, DOWNSAMPLE] if hands_downsample else STAGE_PROPERTIES, stages)
    return Report("check_make_layer", tuple(lines))


def check_resnet(model: nn.Module, depth: int, num_classes: int = 1000) -> Report:
    """Check a network for ImageNet: 18, 34, 50, 101 or 152 weight layers, images (N, 3, H, W) in, logits out.

    The model stays as it is: a copy of it runs, on the CPU.

    Source: He et al. 2016, table 1.

    >>> from resnet_lib.networks import resnet18
    >>> check_resnet(resnet18(num_classes=10), 18, num_classes=10).ok
    True
    """
    title = "check_resnet"
    if not isinstance(model, nn.Module):
        return _refuse(title, f"model must be a network that is built, such as resnet18(), got {_describe(model)}")
    try:
        check_choice("depth", depth, BLOCK_COUNTS)
        check_count("num_classes", num_classes)
        copied = copy.deepcopy(model).to("cpu", torch.float32).train().requires_grad_()
    except Exception as error:  # of the copy, too: a model that keeps tensors with a gradient can't be copied
        return _refuse(title, str(error))
    with undisturbed():
        run, notes = _run_network(copied, num_classes)
        network = read_network(run, depth, num_classes)
        lines = [
            *judge([*RUN_PROPERTIES, NO_DROPOUT], [run]),
            *judge(HEAD_PROPERTIES, [network]),
            *judge([*LAYER_PROPERTIES, PROJECTION_NORM, *JOIN_PROPERTIES], network.blocks),
            *notes,
            *take_notes(NOTES, network.blocks),
        ]
    return Report(title, tuple(lines))


def _run_network(model: nn.Module, num_classes: int) -> tuple[Run, list[Line]]:
    """Run on small images; a head with a fixed pooling, such as AvgPool2d(7), works at 224×224 alone, and is right."""

    def run_at(size: int) -> Run:
        return make_run(type(model).__name__, lambda: model, torch.randn(2, 3, size, size), (2, num_classes))

    small = run_at(64)
    if small.error is None:
        return small, []
    large = run_at(224)
    if large.error is not None:
        return small, []
    text = "only 224×224 works; pooling by a mean over height and width takes images of any size"
    return large, [Line("note", "image size", text)]


def _describe(value: Any) -> str:
    return f"an object of type {type(value).__name__}"


def _refuse(title: str, sentence: str) -> Report:
    return Report(title, (Line("wrong", "argument", sentence),))


def _check_paper_block(
    title: str,
    cls: Callable[..., nn.Module],
    cases: list[tuple[int, int, int]],
    make_plan: Callable[[int, int, int], Plan],
    expansion: int,
) -> Report:
    lines = []
    got = getattr(cls, "expansion", None)
    if got is None:
        text = f"the class has no expansion = {expansion}, which a network's stages and head ask for"
        lines.append(Line("note", "expansion", text))
    elif got != expansion:
        lines.append(Line("wrong", "expansion", f"the class has expansion = {got}; it should be {expansion}"))
    if any("downsample" in name for name in _parameters(cls)):
        text = "this check handed in the 1×1 convolution and the BatchNorm of the shortcut"
        lines.append(Line("note", "downsample", text))
    plans = [make_plan(*case) for case in cases]
    return _check_block(title, cls, cases, plans, [*LAYER_PROPERTIES, PROJECTION_NORM], NOTES, lines)


def _check_block(
    title: str,
    cls: Callable[..., nn.Module],
    cases: Sequence[tuple],
    plans: list[Plan],
    layer_properties: list[Property],
    notes: list[Note],
    further_lines: Sequence[Line] = (),
) -> Report:
    if isinstance(cls, nn.Module):
        name = type(cls).__name__
        return _refuse(title, f"it takes a class, got a block that is built: pass {name}, without parentheses")
    if not callable(cls):
        return _refuse(title, f"it takes a class, got {_describe(cls)}")
    with undisturbed():
        pairs = [_run_block(cls, case, plan) for case, plan in zip(cases, plans, strict=True)]
        runs, blocks = [run for run, _ in pairs], [block for _, block in pairs if block is not None]
        lines = [
            *judge([*RUN_PROPERTIES, *OWN_PROPERTIES], runs),
            *judge([*layer_properties, *JOIN_PROPERTIES, *IDENTITY_PROPERTIES], blocks),
            *take_notes(notes, blocks),
            *further_lines,
        ]
    return Report(title, tuple(lines))


def _run_block(cls: Callable[..., nn.Module], arguments: tuple, plan: Plan) -> tuple[Run, Block | None]:
    """Build and run one case; without a block where no convolution ran."""
    label = f"{getattr(cls, '__name__', 'block')}({', '.join(map(str, arguments))})"
    shape = (3, plan.channels[-1], 8 // plan.stride, 6 // plan.stride)
    x = torch.randn(3, plan.channels[0], 8, 6)
    run = make_run(label, lambda: _construct(cls, arguments, plan), x, shape)
    path = main_path(run.calls("conv2d"))
    if not path:
        return run, None
    block = Block(label, plan, run, [call for call, _ in path], path[0][1], run.out)
    if run.error and "differ in shape" in run.error and block.complete:
        end = describe_shape(tuple(block.value_after(block.branch[-1]).shape))
        carried = block.x if block.projection is None else block.projection.went_out
        run.error += f": {end} on the branch, {describe_shape(tuple(carried.shape))} on the shortcut"
    return run, block


def _construct(cls: Callable[..., nn.Module], arguments: tuple, plan: Plan) -> nn.Module:
    """Call the class by its contract: by position, or all behind the channels by name if the names are told."""
    tags = ("stride",) if len(arguments) == 3 else ("1x1", "stride")
    parameters = _parameters(cls)
    named = {
        parameters[name].name: value
        for tag, value in zip(tags, arguments[2:], strict=True)
        for name in parameters
        if tag in name
    }
    by_name = len(named) == len(tags)
    named = named if by_name else {}
    for name, parameter in parameters.items():
        if "downsample" in name:  # a flag of that name is served as well: a module is true, None is not
            named[parameter.name] = _make_downsample(plan)
    return cls(*(arguments[:2] if by_name else arguments), **named)


def _parameters(cls: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of the class by their names in lower case; none if it has no signature to look at."""
    try:
        return {name.lower(): parameter for name, parameter in inspect.signature(cls).parameters.items()}
    except (TypeError, ValueError):
        return {}


def _make_downsample(plan: Plan) -> nn.Module | None:
    if not plan.projects:
        return None
    convolution = nn.Conv2d(plan.channels[0], plan.channels[-1], kernel_size=1, stride=plan.stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(plan.channels[-1]))
