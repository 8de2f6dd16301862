"""Feedback on a function that makes a stage. It is given a block that only writes down what happens to it."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from resnet_course.checks.blocks import describe
from resnet_course.checks.report import (
    Line,
    Report,
    describe_error,
    describe_shape,
    limited_time,
    merge,
    refuse,
    undisturbed,
)

STAGE_PROPERTIES = {
    "runs": "no error",
    "returns blocks": "as a module or a list",
    "number of blocks": "as asked, each of them new",
    "stride on the first block alone": "the others have 1",
    "channels": "every block takes the stage's",
    "running in_channels": "each block takes what the one before puts out",
    "shapes": "the stage puts out the shape asked",
    "downsample": "none is handed to the blocks, or one where the shape changes",
}


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
        return refuse("check_make_layer", f"it takes a function, got {describe(fn)}")
    cases = [(1, 8, 8, 3, 1), (1, 8, 16, 2, 2), (4, 8, 8, 3, 1), (4, 32, 16, 4, 2), (4, 32, 16, 1, 2)]
    with undisturbed():
        findings = [_judge_stage(fn, *case) for case in cases]
        if any(block.downsample is not None for _, _, runs in findings for block in runs):
            for _, lines, runs in findings:
                text = next(filter(None, map(_find_wrong_downsample, runs)), "")
                lines.append(Line("wrong" if text else "right", "downsample", text))
        elif findings[0][2]:
            findings[0][1].append(Line("right", "downsample", ""))
        return Report("check_make_layer", tuple(merge(STAGE_PROPERTIES, [finding[:2] for finding in findings])))


class ProbeBlock(nn.Module):
    """Stands in for a block: takes its arguments in any style, and puts out zeros of the right shape."""

    expansion = 1
    runs: ClassVar[list["ProbeBlock"]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.in_channels, self.channels, self.stride, self.downsample = None, None, 1, None
        names = ["in_channels", "channels", "stride"]
        for value in args:
            if isinstance(value, (nn.Module, type(None))):
                self.downsample = value or self.downsample
            elif isinstance(value, bool):
                raise TypeError(f"block(in_channels, channels, stride) takes a number for its stride, got {value}")
            elif names:
                setattr(self, names.pop(0), int(value))
        for name, value in kwargs.items():  # groups, dilation and the like are the block's own affair
            if isinstance(value, nn.Module):
                self.downsample = value
            elif "stride" in name or name == "s":
                self.stride = int(value)
            elif name.startswith(("in", "c_in")) or name.endswith("in"):
                self.in_channels = int(value)
            elif name in ("c", "c_out") or any(part in name for part in ("channels", "planes", "out", "filters")):
                self.channels = int(value)
        if self.in_channels is None or self.channels is None:
            raise TypeError("block(in_channels, channels, stride) needs both numbers of channels")

    @property
    def wide(self) -> int:
        return self.channels * self.expansion

    def forward(self, x: Tensor) -> Tensor:
        self.runs.append(self)
        return x.new_zeros(len(x), self.wide, *(-(-side // self.stride) for side in x.shape[2:]))


def _judge_stage(make: Callable[..., Any], expansion: int, *case: int) -> tuple[str, list[Line], list[ProbeBlock]]:
    """Call ``make(block, in_channels, channels, num_blocks, stride)``, run what it returns, and look at the blocks."""
    name = "Bottleneck" if expansion == 4 else "BasicBlock"
    label = f"{getattr(make, '__name__', 'make_layer')}({name}, {', '.join(map(str, case))})"
    runs: list[ProbeBlock] = []
    block = type(name, (ProbeBlock,), {"runs": runs, "expansion": expansion})  # one list a stage
    out, made, place = None, None, "it fails"
    try:
        with limited_time():
            made = make(block, *case)
            place = f"what it returns fails on {case[0]} channels of 8×6"
            if isinstance(made, (nn.Module, list, tuple)):
                in_turn = made if isinstance(made, (list, tuple, nn.ModuleList)) else [made]
                out = torch.zeros(2, case[0], 8, 6)
                for module in in_turn:
                    out = module(out)
    except BaseException as error:  # exit() and an interrupt, too
        failure = Line("wrong", "runs", f"{place}: {describe_error(error)}")
        return label, [failure, *_judge_blocks(runs, expansion, *case)], runs
    lines = [Line("right", "runs", "")]
    if out is None:
        told = "nothing: end it with return" if made is None else f"{describe(made)}: return"
        return label, [*lines, Line("wrong", "returns blocks", f"it returns {told} nn.Sequential(*blocks)")], runs
    lines.append(Line("right", "returns blocks", ""))
    number = ""
    if len(set(map(id, runs))) < len(runs):
        number = "the same block runs more than once: [block] * n repeats one block, so build a new one each time"
    elif len(runs) != case[2]:
        number = f"{len(runs)} blocks run instead of {case[2]}: the first block counts as one of them"
    lines.append(Line("wrong" if number else "right", "number of blocks", number))
    stride, wide = case[3], case[1] * expansion
    got, wanted = tuple(out.shape), (2, wide, -(-8 // stride), -(-6 // stride))
    text = "" if got == wanted else f"the stage puts out {describe_shape(got)} instead of {describe_shape(wanted)}"
    lines += [*_judge_blocks(runs, expansion, *case), Line("wrong" if text else "right", "shapes", text)]
    return label, lines, runs


def _judge_blocks(
    runs: list[ProbeBlock], expansion: int, in_channels: int, channels: int, num_blocks: int, stride: int
) -> Iterator[Line]:
    """The lines on the arguments that the blocks were given."""
    if not runs:
        return
    rest = len(runs) - 1
    questions = {
        "stride on the first block alone": (
            [block.stride for block in runs],
            [stride] + [1] * rest,
            "blocks' strides",
            "the first block takes the stride, the others have 1",
        ),
        "channels": (
            [block.channels for block in runs],
            [channels] * (rest + 1),
            "blocks' second arguments",
            "every block takes channels, and widens it itself",
        ),
        "running in_channels": (
            [block.in_channels for block in runs],
            [in_channels] + [channels * expansion] * rest,
            "blocks' in_channels",
            "after the first block, in_channels is channels * block.expansion",
        ),
    }
    for name, (got, wanted, what, hint) in questions.items():
        text = "" if got == wanted else f"the {what} are {got} instead of {wanted}: {hint}"
        yield Line("wrong" if text else "right", name, text)


def _find_wrong_downsample(block: ProbeBlock) -> str | None:
    """Of a function that hands projections to its blocks, as torchvision's does."""
    told = f"the block from {block.in_channels} to {block.wide} channels with stride {block.stride}"
    changes, downsample = block.stride != 1 or block.in_channels != block.wide, block.downsample
    if downsample is None:
        due = "one is due if the stride is not 1 or if the channels change"
        return f"{told} gets no downsample: {due}" if changes else None
    if not changes:
        own = list(downsample.parameters())
        return f"{told} gets a downsample, and it keeps its shape: the shortcut is the input itself" if own else None
    try:
        got = tuple(downsample(torch.zeros(2, block.in_channels, 8, 6)).shape)
    except Exception as error:
        return f"the downsample of {told} fails: {describe_error(error)}"
    wanted = (2, block.wide, -(-8 // block.stride), -(-6 // block.stride))
    if got != wanted:
        return f"the downsample of {told} puts out {describe_shape(got)} instead of {describe_shape(wanted)}"
    norms = any("norm" in type(layer).__name__.lower() for layer in downsample.modules())
    return None if norms or not list(downsample.parameters()) else f"the downsample of {told} has no BatchNorm"
