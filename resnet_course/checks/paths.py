"""A block as it ran: which convolutions were its branch, what its shortcut carried, and how the two came together."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_course.checks.trace import Call, Run, close


def main_path(convolutions: list[Call]) -> list[tuple[Call, Call | None]]:
    """The convolutions one after the other, each with the projection that takes the same input, or None.

    Of convolutions with the same history, the one that another convolution continues *alone* is on the main path; a
    projection meets the others again only after the addition.
    """
    histories = {call.history for call in convolutions}
    path = []
    for history in dict.fromkeys(call.history for call in convolutions):
        siblings = [call for call in convolutions if call.history == history]
        siblings.sort(key=lambda call: (call.history | {call} not in histories, call.kernel == 1))
        path.append((siblings[0], siblings[1] if len(siblings) > 1 else None))
    return sorted(path, key=lambda pair: len(pair[0].history))


@dataclass(frozen=True)
class Plan:
    """What a block should hold: the convolutions of its branch, and whether its shortcut has one."""

    kernels: tuple[int, ...]
    channels: tuple[int, ...]  # what the first convolution takes, then what each puts out
    strides: tuple[int, ...]
    projects: bool

    @property
    def stride(self) -> int:
        return max(self.strides)


def basic_plan(in_channels: int, channels: int, stride: int, projects: bool | None = None) -> Plan:
    """Two 3×3 convolutions; without ``projects`` the shortcut projects where the shape changes."""
    changes = stride != 1 or in_channels != channels
    return Plan((3, 3), (in_channels, channels, channels), (stride, 1), changes if projects is None else projects)


def bottleneck_plan(in_channels: int, channels: int, stride: int) -> Plan:
    """1×1, 3×3 and 1×1 convolutions, the last four times as wide, with the stride on the 3×3."""
    changes = stride != 1 or in_channels != 4 * channels
    return Plan((1, 3, 1), (in_channels, channels, channels, 4 * channels), (1, stride, 1), changes)


@dataclass(frozen=True)
class Join:
    """How branch and shortcut came together: which operation, where ReLU stood, what the shortcut carried."""

    operation: str
    relu: str  # "after", "none", "before", "both", or "other" for another activation
    shortcut: str  # "input", "projection", "option A" or "ReLU of the …"; "none" where it was left out
    view: str  # what a network's head did to the last block's output


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda branch, shortcut: branch + shortcut,
    "branch": lambda branch, shortcut: branch,
    "shortcut": lambda branch, shortcut: shortcut,
    "subtract": lambda branch, shortcut: branch - shortcut,
    "subtract the branch": lambda branch, shortcut: shortcut - branch,
    "multiply": lambda branch, shortcut: branch * shortcut,
    "concatenate": lambda branch, shortcut: torch.cat([branch, shortcut], 1),
    "concatenate, shortcut first": lambda branch, shortcut: torch.cat([shortcut, branch], 1),
}
VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda value: value,
    "average": lambda value: value.mean((2, 3)),
    "maximum": lambda value: value.amax((2, 3)),
    "flattened": lambda value: value.flatten(1),
}


@dataclass
class Block:
    """One block as it ran: the calls of its branch and shortcut, and what it should have been."""

    label: str
    plan: Plan
    run: Run
    branch: list[Call]
    projection: Call | None
    out: Tensor | None  # None if the run ended before
    views: tuple[str, ...] = ("as it is",)  # what may stand between the block and ``out``

    @property
    def x(self) -> Tensor:
        return self.branch[0].came_in

    @property
    def complete(self) -> bool:
        """The branch ran to its end."""
        return len(self.branch) >= len(self.plan.kernels) and self.value_after(self.branch[-1]) is not None

    def norm_after(self, convolution: Call) -> Call | None:
        """The BatchNorm that takes the convolution's output, as it is or through a ReLU."""
        return next((norm for norm in self._norms_near(convolution) if not self._is_stray(norm, convolution)), None)

    def _norms_near(self, convolution: Call) -> list[Call]:
        seen = convolution.history | {convolution}
        return [norm for norm in self.run.calls("batch_norm") if norm.history == seen]

    def _is_stray(self, norm: Call, convolution: Call) -> bool:
        out = convolution.went_out
        return out is None or not (close(norm.came_in, out) or close(norm.came_in, F.relu(out)))

    def value_after(self, convolution: Call) -> Tensor | None:
        """What the convolution and its BatchNorm put out."""
        norm = self.norm_after(convolution)
        return norm.went_out if norm is not None else convolution.went_out

    @cached_property
    def norm_after_addition(self) -> Call | None:
        """A BatchNorm behind the whole branch that does not take its last convolution's output."""
        last = self.branch[-1]
        seen = {last.history | {last}, last.history | {last, self.projection}}
        norms = [norm for norm in self.run.calls("batch_norm") if norm.history in seen and norm.went_out is not None]
        return next((norm for norm in norms if self._is_stray(norm, last)), None)

    def shortcuts(self) -> Iterator[tuple[str, Tensor]]:
        """What the shortcut may have carried."""
        if self.projection is not None:
            value = self.value_after(self.projection)
            plain = [("projection", value)] if value is not None else []
        else:
            end = self.value_after(self.branch[-1])
            inputs = [("input", x) for x in (self.x, self.run.x) if x.shape == end.shape]
            plain = inputs or list(self._option_a(end))
        yield from plain
        for name, value in plain:
            yield f"ReLU of the {name}", F.relu(value)

    def _option_a(self, end: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The paper's option A: every stride-th pixel, and the new channels zero, on both sides or on one."""
        x = self.x[:, :, :: self.plan.stride, :: self.plan.stride]
        new = end.shape[1] - x.shape[1]
        if new >= 0 and x.shape[2:] == end.shape[2:]:
            for before in dict.fromkeys((new // 2, 0, new)):
                yield "option A", F.pad(x, (0, 0, 0, 0, before, new - before))

    @cached_property
    def join(self) -> Join | None:
        """How the two paths came together, or None if it is none of the ways known here."""
        end, out = self.value_after(self.branch[-1]), self._out_without_late_norm()
        shortcuts = list(self.shortcuts())
        for name, shortcut in shortcuts:
            for operation, join in OPERATIONS.items():
                if end.shape != shortcut.shape and operation not in ("branch", "shortcut"):
                    continue
                values = {
                    "after": F.relu(join(end, shortcut)),
                    "none": join(end, shortcut),
                    "before": join(F.relu(end), shortcut),
                    "both": F.relu(join(F.relu(end), shortcut)),
                }
                for relu, view in product(values, self.views):
                    if close(VIEWS[view](values[relu]), out):
                        return Join(operation, relu, "none" if operation == "branch" else name, view)
        for name, shortcut in shortcuts:
            if end.shape == shortcut.shape == out.shape:
                total = end + shortcut
                clear = total > 0.5  # where other activations are like ReLU
                if close(out[clear], total[clear]):
                    return Join("add", "other", name, "as it is")
        return None

    def _out_without_late_norm(self) -> Tensor:
        norm = self.norm_after_addition
        if norm is not None and close(F.relu(norm.went_out), self.out):
            return F.relu(norm.came_in)
        return norm.came_in if norm is not None and close(norm.went_out, self.out) else self.out
