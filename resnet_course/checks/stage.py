"""Feedback on a function that makes a stage. It is given a block that only writes down what happens to it."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from resnet_course.checks import report
from resnet_course.checks.report import Findings, Line, Report, attempt, describe_shape, judged

STAGE_PROPERTIES = {
    "runs": "no error, and a module or a list of blocks is returned",
    "number of blocks": "as asked, each of them new",
    "stride on the first block alone": "the others have 1",
    "channels": "every block takes the stage's",
    "running in_channels": "each block takes what the one before puts out",
    "shapes": "the stage puts out the shape asked",
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
        return report.refuse("check_make_layer", f"it takes a function, got an object of type {type(fn).__name__}")
    cases = [(1, 8, 8, 3, 1), (1, 8, 16, 2, 2), (4, 8, 8, 3, 1), (4, 32, 16, 4, 2), (4, 32, 16, 1, 2)]
    findings: Findings = []
    with report.undisturbed():
        for expansion, *case in cases:
            kind = "Bottleneck" if expansion == 4 else "BasicBlock"
            # A class for each stage, since it collects the blocks that run.
            block = type(kind, (ProbeBlock,), {"runs": [], "expansion": expansion})
            label = f"{getattr(fn, '__name__', 'make_layer')}({kind}, {', '.join(map(str, case))})"
            findings += [(label, line) for line in _judge_stage(fn, block, *case)]
    return Report("check_make_layer", report.merge(STAGE_PROPERTIES, findings))


class ProbeBlock(nn.Module):
    """Stands in for a block: takes its arguments in any style, and puts out zeros of the right shape."""

    expansion: ClassVar[int] = 1
    runs: ClassVar[list["ProbeBlock"]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.numbers: dict[str, int] = {"stride": 1}
        names = ["in_channels", "channels", "stride"]
        for value in args:
            if isinstance(value, bool):
                raise TypeError(f"block(in_channels, channels, stride) takes a number for its stride, got {value}")
            if names and value is not None and not isinstance(value, nn.Module):
                self.numbers[names.pop(0)] = int(value)
        for name, value in kwargs.items():  # groups, dilation and the like are the block's own affair
            if "stride" in name or name == "s":
                self.numbers["stride"] = int(value)
            elif name.startswith(("in", "c_in")) or name.endswith("in"):
                self.numbers["in_channels"] = int(value)
            elif name in ("c", "c_out") or any(part in name for part in ("channels", "planes", "out", "filters")):
                self.numbers["channels"] = int(value)
        if len(self.numbers) < 3:
            raise TypeError("block(in_channels, channels, stride) needs both numbers of channels")
        self.shortcuts = nn.ModuleList(v for v in (*args, *kwargs.values()) if isinstance(v, nn.Module))

    def forward(self, x: Tensor) -> Tensor:
        self.runs.append(self)
        sides = (-(-side // self.numbers["stride"]) for side in x.shape[2:])
        out = x.new_zeros(len(x), self.numbers["channels"] * self.expansion, *sides)
        for downsample in self.shortcuts:
            if (got := downsample(x).shape) != out.shape:
                shapes = f"{describe_shape(got)} instead of {describe_shape(out.shape)}"
                raise ValueError(f"the downsample that a block is handed puts out {shapes}")
        return out


def _judge_stage(
    make: Callable[..., Any], block: type[ProbeBlock], before: int, channels: int, count: int, stride: int
) -> Iterator[Line]:
    """Call ``make(block, in_channels, channels, num_blocks, stride)``, run what it returns, and look at the blocks."""
    runs, wide, rest = block.runs, channels * block.expansion, count - 1
    out = torch.zeros(2, before, 8, 6)
    made, problem = attempt("it fails", make, block, before, channels, count, stride)
    if not problem and not isinstance(made, (nn.Module, list, tuple)):
        returned = "nothing: end it with return" if made is None else f"an object of type {type(made).__name__}: return"
        problem = f"it returns {returned} nn.Sequential(*blocks)"
    modules = made if isinstance(made, (list, tuple, nn.ModuleList)) else [made]
    for module in [] if problem else modules:
        if not problem:
            out, problem = attempt(f"what it returns fails on {before} channels of 8×6", module, out)
    yield judged("runs", problem)
    if not problem:
        number = f"{len(runs)} blocks run instead of {count}: the first block counts as one of them"
        twice = "the same block runs more than once: [block] * n repeats one block, so build a new one each time"
        yield judged("number of blocks", twice if len({*runs}) < len(runs) else number if len(runs) != count else "")
        shape = (2, wide, -(-8 // stride), -(-6 // stride))
        text = f"the stage puts out {describe_shape(out.shape)} instead of {describe_shape(shape)}"
        yield judged("shapes", text if out.shape != shape else "")
    wanted_numbers = {
        "stride": ([stride] + [1] * rest, "stride on the first block alone", "only the first takes the stride"),
        "channels": ([channels] * count, "channels", "every block takes channels, and widens it itself"),
        "in_channels": (
            [before] + [wide] * rest,
            "running in_channels",
            "after the first it is channels * block.expansion",
        ),
    }
    for key, (wanted, name, hint) in wanted_numbers.items() if runs else ():
        got = [probe.numbers[key] for probe in runs]
        text = f"the blocks get {got} instead of {wanted}: {hint}"
        yield judged(name, text if got[:count] != wanted[: len(got)] else "")
