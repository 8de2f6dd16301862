"""What a check asks of a function that makes a stage. It is given a block that only writes down what happens to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from resnet_course.checks.report import OPEN, Property, describe_error
from resnet_course.checks.runs import describe_shape


class ProbeBlock(nn.Module):
    """Stands in for a block: takes its arguments in any style, and puts out zeros of the right shape."""

    expansion = 1
    runs: ClassVar[list["ProbeBlock"]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        given = {"in_channels": None, "channels": None, "stride": 1, "downsample": None}
        given.update(zip(("in_channels", "channels"), args, strict=False))
        for value in args[2:]:
            self._take(given, "", value)
        for name, value in kwargs.items():
            self._take(given, name, value)
        self.in_channels, self.channels, self.stride = given["in_channels"], given["channels"], given["stride"]
        self.downsample = given["downsample"]

    @staticmethod
    def _take(given: dict[str, Any], name: str, value: Any) -> None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if isinstance(value, nn.Module):
            given["downsample"] = value
        elif whole and ("stride" in name or not name):
            given["stride"] = value
        elif whole and (name.startswith("in") or name.endswith("in")):
            given["in_channels"] = value
        elif whole:
            given["channels"] = value

    @property
    def changes_shape(self) -> bool:
        return self.stride != 1 or self.in_channels != self.channels * self.expansion

    def forward(self, x: Tensor) -> Tensor:
        self.runs.append(self)
        return x.new_zeros(len(x), self.channels * self.expansion, *(-(-side // self.stride) for side in x.shape[2:]))


class ProbeBottleneck(ProbeBlock):
    expansion = 4


@dataclass
class Stage:
    """A stage as the learner's function made it."""

    label: str
    block: type[ProbeBlock]
    in_channels: int
    channels: int
    num_blocks: int
    stride: int
    made: Any = None
    runs: list[ProbeBlock] = field(default_factory=list)  # the blocks in the order in which they ran
    out: Tensor | None = None
    error: str | None = None


def run_stage(make: Callable[..., Any], block: type[ProbeBlock], *numbers: int) -> Stage:
    """Call ``make(block, in_channels, channels, num_blocks, stride)`` and run what it returns."""
    name = "Bottleneck" if block.expansion == 4 else "BasicBlock"
    stage = Stage(f"{getattr(make, '__name__', 'make_layer')}({name}, {', '.join(map(str, numbers))})", block, *numbers)
    probe = type(name, (block,), {"runs": stage.runs})  # one list a stage
    try:
        stage.made = make(probe, *numbers)
    except Exception as error:
        stage.error = f"it fails: {describe_error(error)}"
        return stage
    if not isinstance(stage.made, (nn.Module, list, tuple)):
        return stage
    try:
        value = torch.zeros(2, stage.in_channels, 8, 6)
        in_turn = isinstance(stage.made, (list, tuple, nn.ModuleList))
        for module in stage.made if in_turn else [stage.made]:
            value = module(value)
        stage.out = value
    except Exception as error:
        stage.error = f"what it returns fails on {stage.in_channels} channels of 8×6: {describe_error(error)}"
    return stage


def find_error(stage: Stage) -> str | None:
    return stage.error


def find_wrong_return(stage: Stage) -> str | None:
    if stage.made is None:
        return OPEN if stage.error else "it returns nothing: end it with return nn.Sequential(*blocks)"
    if isinstance(stage.made, (nn.Module, list, tuple)):
        return None
    return f"it returns an object of type {type(stage.made).__name__}: return nn.Sequential(*blocks) or a list"


def find_wrong_number(stage: Stage) -> str | None:
    if stage.out is None:
        return OPEN
    if len(stage.runs) == stage.num_blocks:
        return None
    return f"{len(stage.runs)} blocks run instead of {stage.num_blocks}: the first block counts as one of them"


def find_shared_blocks(stage: Stage) -> str | None:
    if stage.out is None:
        return OPEN
    if len(set(map(id, stage.runs))) == len(stage.runs):
        return None
    return "the same block runs more than once: [block] * n repeats one block, so build a new one each time"


def find_wrong_strides(stage: Stage) -> str | None:
    if not stage.runs:
        return OPEN
    strides = [block.stride for block in stage.runs]
    wanted = [stage.stride] + [1] * (len(strides) - 1)
    if strides == wanted:
        return None
    return f"the blocks' strides are {strides} instead of {wanted}: the first block takes the stride, the others have 1"


def find_wrong_channels(stage: Stage) -> str | None:
    if not stage.runs:
        return OPEN
    got = [block.channels for block in stage.runs]
    if set(got) <= {stage.channels}:
        return None
    return f"the blocks' second arguments are {got}: every block takes channels, {stage.channels}, and widens it itself"


def find_wrong_in_channels(stage: Stage) -> str | None:
    if not stage.runs:
        return OPEN
    got = [block.in_channels for block in stage.runs]
    wide = stage.channels * stage.block.expansion
    wanted = [stage.in_channels] + [wide] * (len(got) - 1)
    if got == wanted:
        return None
    hint = "after the first block, in_channels is channels * block.expansion"
    return f"the blocks' in_channels are {got} instead of {wanted}: {hint}"


def find_wrong_shape(stage: Stage) -> str | None:
    if stage.out is None:
        return OPEN
    channels = stage.channels * stage.block.expansion
    wanted = (2, channels, -(-8 // stage.stride), -(-6 // stage.stride))
    got = tuple(stage.out.shape)
    return None if got == wanted else f"the stage puts out {describe_shape(got)} instead of {describe_shape(wanted)}"


def find_wrong_downsample(stage: Stage) -> str | None:
    """Of a function that hands projections to its blocks, as torchvision's does."""
    for block in stage.runs:
        wide, downsample = block.channels * block.expansion, block.downsample
        told = f"the block from {block.in_channels} to {wide} channels with stride {block.stride}"
        if not block.changes_shape:
            if downsample is not None and list(downsample.parameters()):
                return f"{told} gets a downsample, and it keeps its shape: the shortcut is the input itself"
            continue
        if downsample is None:
            return f"{told} gets no downsample: one is due if the stride is not 1 or if the channels change"
        try:
            got = tuple(downsample(torch.zeros(2, block.in_channels, 8, 6)).shape)
        except Exception as error:
            return f"the downsample of {told} fails: {describe_error(error)}"
        wanted = (2, wide, -(-8 // block.stride), -(-6 // block.stride))
        if got != wanted:
            return f"the downsample of {told} puts out {describe_shape(got)} instead of {describe_shape(wanted)}"
        if not any(isinstance(layer, nn.BatchNorm2d) for layer in downsample.modules()):
            return f"the downsample of {told} has no BatchNorm"
    return None


STAGE_PROPERTIES = [
    Property("runs", "no error", find_error),
    Property("returns blocks", "as a module or a list", find_wrong_return),
    Property("number of blocks", "as asked", find_wrong_number),
    Property("a new block each time", "no block runs twice", find_shared_blocks),
    Property("stride on the first block alone", "the others have 1", find_wrong_strides),
    Property("channels", "every block takes the stage's", find_wrong_channels),
    Property("running in_channels", "each block takes what the one before puts out", find_wrong_in_channels),
    Property("shapes", "the stage puts out the shape asked", find_wrong_shape),
]
DOWNSAMPLE = Property("downsample", "handed to the blocks that change the shape alone", find_wrong_downsample)
