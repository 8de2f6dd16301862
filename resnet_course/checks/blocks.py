"""Feedback on a block of the learner's own: how its class is called, and what is said of it."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from resnet_course.checks.forms import basic_plan, bottleneck_plan
from resnet_course.checks.judgement import BLOCK_PROPERTIES, judge_block, judge_gradient
from resnet_course.checks.report import Line, Report, follow, merge, refuse, show, undisturbed
from resnet_course.checks.runs import RUN_PROPERTIES, judge_run
from resnet_course.checks.trace import make_run
from resnet_course.checks.twins import Block, Plan, main_path

# Parts of names of arguments that channels, or a stride, must not be handed to by place.
NO_CHANNELS = ("stride", "act", "norm", "fn", "kernel", "drop", "group", "downsample")
NO_STRIDE = (
    *(
        "downsample",
        "sample",
        "group",
        "dilation",
        "kernel",
        "bias",
        "pad",
        "width",
        "norm",
        "act",
        "drop",
        "chan",
        "dim",
    ),
    *("plane", "expan", "shortcut", "1x1", "depth", "num", "filter", "fn", "first", "use"),
)


def check_residual(cls: Callable[..., nn.Module]) -> Report:
    """Check a block of two 3×3 convolutions, called as ``cls(input_channels, num_channels, use_1x1conv, strides)``.

    The arguments are passed in this order, or the last two by name if their names contain "1x1" and "stride". As in
    `resnet_lib.blocks.Residual`, the convolutions may have biases, and the shortcut needs no BatchNorm.

    Source: He et al. 2016, equations 1 and 2.

    >>> check_residual(3)
    check_residual: 1 of 1 properties wrong
      wrong  argument: it takes a class, got an object of type int
    """
    cases = [(6, 6, False, 1), (6, 12, True, 2), (6, 12, True, 1), (6, 6, True, 2), (6, 6, True, 1)]
    plans = [basic_plan(before, after, stride, projects) for before, after, projects, stride in cases]
    return _check_block(
        "check_residual", cls, cases, plans, ("input_channels", "num_channels", "use_1x1conv", "strides")
    )


def check_basic_block(cls: Callable[..., nn.Module]) -> Report:
    """Check a basic block, called as ``cls(in_channels, channels, stride)``.

    The arguments are passed in this order, or the stride by name if a name contains "stride". A class with an argument
    whose name contains "downsample", as torchvision's, is handed a 1×1 convolution and a BatchNorm where the shape
    changes. The shortcut may also be the paper's option A or C.

    Source: He et al. 2016, figure 5, left.

    >>> from resnet_lib.blocks import BasicBlock
    >>> check_basic_block(BasicBlock).ok
    True
    """
    cases = [(6, 6, 1), (6, 12, 2), (6, 12, 1), (6, 6, 2)]
    plans = [basic_plan(*case) for case in cases]
    return _check_block("check_basic_block", cls, cases, plans, ("in_channels", "channels", "stride"), expansion=1)


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
    plans = [bottleneck_plan(*case) for case in cases]
    return _check_block("check_bottleneck", cls, cases, plans, ("in_channels", "channels", "stride"), expansion=4)


def describe(value: Any) -> str:
    return f"an object of type {type(value).__name__}"


def _check_block(
    title: str,
    cls: Callable[..., nn.Module],
    cases: list[tuple],
    plans: list[Plan],
    names: tuple[str, ...],
    expansion: int = 0,
) -> Report:
    if isinstance(cls, nn.Module):
        name = type(cls).__name__
        return refuse(title, f"it takes a class, got a block that is built: pass {name}, without parentheses")
    if not callable(cls):
        return refuse(title, f"it takes a class, got {describe(cls)}")
    misfit = find_misfit(cls, cases[1], names)
    if misfit:
        return refuse(title, misfit)
    with undisturbed():
        findings: list[tuple[str, list[Line]]] = []
        for case, plan in zip(cases, plans, strict=True):
            findings.append((_label(cls, case), _judge_case(cls, case, plan, names)))
            if "takes longer than" in findings[-1][1][0].text:
                break
        findings = [*_forgive_option_a(findings), ("", _judge_class(cls, expansion))]
        properties = {"runs": RUN_PROPERTIES["runs"], **BLOCK_PROPERTIES, **RUN_PROPERTIES}
        if any(line.name == "expansion" and line.verdict == "wrong" for line in findings[-1][1]):
            properties["expansion"] = ""
        return Report(title, tuple(merge(properties, findings)))


def _label(cls: Any, case: tuple) -> str:
    return f"{getattr(cls, '__name__', 'block')}({', '.join(map(str, case))})"


def _judge_class(cls: Any, expansion: int) -> list[Line]:
    got = getattr(cls, "expansion", None)
    lines = []
    if expansion and got is None:
        text = f"the class has no expansion = {expansion}, which a network's stages and head ask for"
        lines.append(Line("note", "expansion", text))
    elif expansion and got != expansion:
        lines.append(Line("wrong", "expansion", f"the class has expansion = {show(got)}; it should be {expansion}"))
    if any("downsample" in name for name in parameters_of(cls)):
        text = "this check handed in the 1×1 convolution and the BatchNorm of the shortcut"
        lines.append(Line("note", "downsample", text))
    return lines


def _judge_case(cls: Any, case: tuple, plan: Plan, names: tuple[str, ...]) -> list[Line]:
    shape = (3, plan.channels[-1], 8 // plan.stride, 6 // plan.stride)
    x = torch.randn(3, plan.channels[0], 8, 6)
    run = make_run(_label(cls, case), lambda: _construct(cls, case, plan, names), x, shape)
    lines = list(judge_run(run))
    if run.out is not None and run.out.isnan().any():
        return lines
    path = main_path(run.calls("conv2d"))
    if path:
        block = Block(run.label, plan, run, [call for call, _ in path], path[0][1], x, run.out)
        bare = len(names) == 4
        lines += follow("steps", judge_block(block, bare))
        lines += follow("gradients", judge_gradient(block, lines))
    return lines


def _forgive_option_a(findings: list[tuple[str, list[Line]]]) -> Iterator[tuple[str, list[Line]]]:
    """An option A that serves only the step of the paper's networks, twice the channels at half the size, is right."""
    serves = all(line.verdict != "wrong" for _, lines in findings[:2] for line in lines)
    for label, lines in findings:
        found = [line.text for line in lines if line.name == "shortcut" and "shortcut always" in line.text]
        yield label, [Line("note", "shortcut", f"{label} fails: {found[0]}")] if serves and found else lines


def parameters_of(cls: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of the class by name, those behind *args and **kwargs too; none without a signature."""
    found: dict[str, inspect.Parameter] = {}
    for base in getattr(cls, "__mro__", [cls]):
        if base is not cls and "__init__" not in vars(base):
            continue
        try:
            parameters = inspect.signature(base).parameters.values()
        except (TypeError, ValueError):
            return found
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        for parameter in parameters:
            if parameter.kind not in variable and parameter.name not in found:
                found[parameter.name] = parameter
        if not any(parameter.kind in variable for parameter in parameters):
            break
    return found


def _arguments(cls: Any, case: tuple, downsample: Any, names: tuple[str, ...]) -> tuple[tuple, dict[str, Any]]:
    """How the class is called: by position, or all behind the channels by name if the names are told."""
    parameters = list(parameters_of(cls))
    tags = [("stride",)] if len(case) == 3 else [("1x1",), ("stride",)]
    told = [next((name for name in parameters if any(tag in name.lower() for tag in group)), None) for group in tags]
    named = dict(zip(told, case[2:], strict=True)) if all(told) else {}
    for name in parameters:
        if "downsample" in name.lower():
            named[name] = downsample
    return (case[:2] if all(told) else case), named


def find_misfit(cls: Any, case: tuple, names: tuple[str, ...]) -> str | None:
    """How the check calls the class and how to wrap it, where the signature does not fit."""
    parameters = parameters_of(cls)
    arguments, named = _arguments(cls, case, None, names)
    order = list(parameters)
    problem = ""
    try:
        inspect.signature(cls).bind(*arguments, **named)
        for place, word, parts in ((1, "second", NO_CHANNELS), (2, "third", NO_STRIDE)):
            name = order[place].lower() if len(order) > place and place < len(arguments) else ""
            if len(case) == 3 and not problem and any(part in name.removesuffix("_stride") for part in parts):
                problem = f"the {word} argument here is {order[place]}"
    except TypeError as error:
        problem = str(error)
    except ValueError:  # a builtin without a signature
        return None
    if not problem:
        return None
    name = getattr(cls, "__name__", "block")
    call = ", ".join([*map(str, arguments), *(f"{key}={value}" for key, value in named.items())])
    example = ", ".join(f"{key}=…" for key in order[:4])
    return (
        f"it calls {name}({call}), for {', '.join(f'{key}={value}' for key, value in zip(names, case, strict=True))}, "
        f"and {name} takes ({', '.join(order)}): {problem}. "
        f"Hand in a function that translates: lambda {', '.join(names)}: {name}({example})"
    )


def _construct(cls: Any, case: tuple, plan: Plan, names: tuple[str, ...]) -> nn.Module:
    downsample = None
    if plan.projects:  # a flag of that name is served as well: a module is true, None is not
        convolution = nn.Conv2d(plan.channels[0], plan.channels[-1], kernel_size=1, stride=plan.stride, bias=False)
        downsample = nn.Sequential(convolution, nn.BatchNorm2d(plan.channels[-1]))
    arguments, named = _arguments(cls, case, downsample, names)
    return cls(*arguments, **named)
