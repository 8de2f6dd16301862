"""Feedback on a block of the learner's own: how its class is called, and what is said of it."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from resnet_course.checks import report
from resnet_course.checks.anatomy import Block, Plan, make_plan
from resnet_course.checks.judgement import BLOCK_PROPERTIES, UNFOLLOWED, judge_block
from resnet_course.checks.report import Findings, Line, Report, follow, refuse
from resnet_course.checks.runs import RUN_PROPERTIES, judge_run
from resnet_course.checks.trace import main_path, make_run

VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
Names = tuple[str, ...]  # of the arguments, as the check calls them


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
    plans = [make_plan(before, after, stride, projects=projects) for before, after, projects, stride in cases]
    names = ("input_channels", "num_channels", "use_1x1conv", "strides")
    return _check_block("check_residual", cls, cases, plans, names)


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
    return _check_expanding("check_basic_block", cls, [(6, 6, 1), (6, 12, 2), (6, 12, 1), (6, 6, 2)], 1)


def check_bottleneck(cls: Callable[..., nn.Module]) -> Report:
    """Check a bottleneck, called as ``cls(in_channels, channels, stride)``; 4·channels must come out.

    Arguments and shortcut as in `check_basic_block`. The stride may sit on the 3×3 convolution or, as in the paper, on
    the first 1×1 convolution.

    Source: He et al. 2016, figure 5, right.

    >>> from resnet_lib.blocks import Bottleneck
    >>> check_bottleneck(Bottleneck).ok
    True
    """
    return _check_expanding("check_bottleneck", cls, [(24, 6, 1), (24, 12, 2), (6, 6, 1), (24, 6, 2)], 4)


def _check_expanding(title: str, cls: Any, cases: list[tuple[int, int, int]], expansion: int) -> Report:
    plans = [make_plan(*case, expansion) for case in cases]
    return _check_block(title, cls, cases, plans, ("in_channels", "channels", "stride"), expansion)


def _check_block(
    title: str, cls: Any, cases: Sequence[tuple], plans: list[Plan], names: Names, expansion: int = 0
) -> Report:
    if isinstance(cls, nn.Module) or not callable(cls):
        built = f"a block that is built: pass {type(cls).__name__}, without parentheses"
        return refuse(title, f"it takes a class, got {built if isinstance(cls, nn.Module) else report.describe(cls)}")
    findings: Findings = []
    with report.undisturbed():
        if misfit := find_misfit(cls, cases[1], names):
            return refuse(title, misfit)
        for case, plan in zip(cases, plans, strict=True):
            label = f"{getattr(cls, '__name__', 'block')}({', '.join(map(str, case))})"
            found = _judge_case(label, cls, case, plan, names)
            always = [line.text for _, line in found if "shortcut always" in line.text]
            if always and case not in cases[:2] and all(line.verdict != "wrong" for _, line in findings):
                # An option A that serves only the step of the paper's networks is right.
                found = [("", Line("note", "shortcut", f"{label} fails: {always[0]}"))]
            findings += found
            if "TookTooLong" in found[0][1].text:
                break
        got, properties = getattr(cls, "expansion", None), RUN_PROPERTIES | BLOCK_PROPERTIES
        if expansion and got is None:
            text = f"the class has no expansion = {expansion}, which a network's stages and head ask for"
            findings.append(("", Line("note", "expansion", text)))
        elif expansion and not (isinstance(got, int) and got == expansion):
            text = f"the class has expansion = {report.show(got)}; it should be {expansion}"
            findings.append(("", Line("wrong", "expansion", text)))
            properties = properties | {"expansion": ""}
    return Report(title, report.merge(properties, findings))


def _judge_case(label: str, cls: Any, case: tuple, plan: Plan, names: Names) -> Findings:
    def construct() -> nn.Module:
        downsample = None
        if plan.projects:  # a flag of that name is served as well: a module is true, None is not
            conv = nn.Conv2d(plan.channels[0], plan.channels[-1], 1, stride, bias=False)
            downsample = nn.Sequential(conv, nn.BatchNorm2d(plan.channels[-1]))
        arguments, named = _arguments(cls, case, downsample, names)
        return cls(*arguments, **named)

    stride = max(plan.strides)
    shape = (3, plan.channels[-1], 8 // stride, 6 // stride)
    run = make_run(label, construct, torch.randn(3, plan.channels[0], 8, 6), shape)
    lines, path = [*judge_run(run)], main_path(run.all("conv2d"))
    found = [(label, line) for line in lines]
    if not run.is_followed(run.end):
        found.append((label, Line("open", "steps", UNFOLLOWED)))
    elif path and not (run.out is not None and run.out.isnan().any()):
        block = Block(plan, run, [conv for conv, _ in path], path[0][1], run.start, run.end)
        found += follow(label, ((label, line) for line in judge_block(block, bare=len(names) == 4)))
    return found


def parameters_of(cls: Callable[..., Any]) -> list[str]:
    """The names of the class's arguments, those behind **kwargs too; none without a signature."""
    found: list[str] = []
    for base in getattr(cls, "__mro__", [cls]):
        if base is not cls and "__init__" not in vars(base):
            continue
        try:
            parameters = inspect.signature(base).parameters.values()
        except (TypeError, ValueError):
            break
        found += [p.name for p in parameters if p.kind not in VARIABLE and p.name not in found]
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def _arguments(cls: Any, case: tuple, downsample: Any, names: Names) -> tuple[tuple, dict[str, Any]]:
    """How the class is called: by position, or all behind the channels by name if the names are told."""
    parameters = parameters_of(cls)
    tags = ("stride",) if len(names) == 3 else ("1x1", "stride")
    told = [next((name for name in parameters if tag in name.lower()), None) for tag in tags]
    named = dict(zip(told, case[2:], strict=True)) if all(told) else {}
    named |= {name: downsample for name in parameters if "downsample" in name.lower()}
    return (case[:2] if all(told) else case), named


def find_misfit(cls: Any, case: tuple, names: Names) -> str | None:
    """How the check calls the class and how to wrap it, where the signature does not fit."""
    parameters, (arguments, named) = parameters_of(cls), _arguments(cls, case, None, names)
    problem = ""
    try:
        inspect.signature(cls).bind(*arguments, **named)
    except TypeError as error:
        problem = str(error)
    except ValueError:  # a builtin without a signature
        return None
    third = parameters[2] if len(parameters) > 2 and len(arguments) == 3 == len(names) else "s"
    if not problem and len(third) > 2:  # "s" or "st" may be a stride; any longer name says that it is none
        problem = f"the third argument here is {third}"
    name = getattr(cls, "__name__", "block")
    call = ", ".join([*map(str, arguments), *(f"{key}={value}" for key, value in named.items())])
    meant = ", ".join(f"{key}={value}" for key, value in zip(names, case, strict=True))
    wrapper = f"lambda {', '.join(names)}: {name}({', '.join(f'{key}=…' for key in parameters[:4])})"
    text = f"it calls {name}({call}), for {meant}, and {name} takes ({', '.join(parameters)}): {problem}. "
    return f"{text}Hand in a function that translates: {wrapper}" if problem else None
