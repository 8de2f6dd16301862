"""A block as it ran, told as a line of steps such as "conv bn relu conv bn + relu", and a twin that does these steps.

The learner's own convolutions and norms go into the twin, on the same input. If the two put out the same numbers, the
line is what the block computes, and where it differs from the line that was asked, that is the mistake. Where no line
gives the numbers, the first place at which they part is told, and no more is claimed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_course.checks.trace import Call, Run, close

NORMS = {
    "batch_norm": "BatchNorm",
    "group_norm": "GroupNorm",
    "layer_norm": "LayerNorm",
    "instance_norm": "InstanceNorm",
}
STEP_NAMES = dict.fromkeys(NORMS, "bn")  # that it should be BatchNorm is asked elsewhere


def main_path(convolutions: list[Call]) -> list[tuple[Call, Call | None]]:
    """The convolutions one after the other, each with the projection that takes the same input, or None.

    Of convolutions with the same history, the one that another convolution continues *alone* is on the main path; a
    projection meets the others again only after the addition.
    """
    histories = {call.history for call in convolutions}
    path = []
    for history in dict.fromkeys(call.history for call in convolutions):
        siblings = [call for call in convolutions if call.history == history]
        siblings.sort(key=lambda call: (call.history | {call} not in histories, max(call.kernel) == 1))
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

    @property
    def keeps_shape(self) -> bool:
        return self.stride == 1 and self.channels[0] == self.channels[-1]


class Steps(NamedTuple):
    """Steps behind one another: their line, what comes out, and how to do them again."""

    line: str
    value: Tensor
    do: Callable[[Tensor], Tensor]


class Way(NamedTuple):
    """What a shortcut may carry: "x" or "option A" (and steps behind it), "conv" (the same), "before" or "behind"."""

    kind: str
    line: str
    value: Tensor
    do: Callable[[Tensor], Tensor] | None = None


class Join(NamedTuple):
    """How branch and shortcut came together: times how much each, and the steps before and after."""

    end: Steps  # behind the last convolution, before the addition
    kind: str  # the way of the shortcut; "none" where it was left out
    line: str
    do: Callable[[Tensor], Tensor] | None
    operation: str  # "+", or another
    weights: tuple[float, ...]
    after: str


@dataclass
class Block:
    """One block as it ran: the calls of its branch and shortcut, and what it should have been."""

    label: str
    plan: Plan
    run: Run
    branch: list[Call]
    projection: Call | None
    x: Tensor
    out: Tensor | None  # None if the run ended before

    @property
    def convolutions(self) -> list[Call]:
        return self.branch + [self.projection] * (self.projection is not None)

    @property
    def complete(self) -> bool:
        """The branch ran to its end, and something came out."""
        return self.out is not None and len(self.branch) == len(self.plan.kernels)

    @property
    def seen(self) -> frozenset[Call]:
        return self.branch[-1].history | set(self.convolutions)

    def name_of(self, call: Call) -> str:
        place = "the projection" if call is self.projection else f"convolution {self.branch.index(call) + 1}"
        name = self.run.name_of(call.weight)
        return f"{place} ({name})" if name else place

    def kinds_behind(self, call: Call) -> str:
        """What ran on a convolution's output, by name."""
        seen = call.history | {call}
        ran = [c.kind for c in self.run.recorder.calls if c.history in (seen, self.seen) and c.went_out is not None]
        return ", ".join(list(dict.fromkeys(ran))[:8])

    def steps_from(self, start: Steps, history: frozenset[Call]) -> Iterator[Steps]:
        """What single operations make of a value, the shorter lines first; ReLU by its numbers, however written."""
        layers = [call for call in self.run.recorder.calls if call.history == history and call.is_step]
        front, seen = [start], [start.value]
        for _ in range(7):
            following = []
            for line, value, do in front:
                yield Steps(line, value, do)
                ways: list[tuple[str, Tensor, Callable]] = [("relu", F.relu(value), F.relu)]
                ways += [(step_name(call), call.went_out, call.rerun) for call in layers if close(call.came_in, value)]
                for name, out, then in ways:
                    if len(out) == len(start.value) and not any(close(out, other) for other in seen):
                        following.append(Steps(f"{line} {name}".strip(), out, _in_turn(do, then)))
                        seen.append(out)
            front = following[:8]

    def steps_behind(self, call: Call) -> Iterator[Steps]:
        if call.went_out is not None:
            yield from self.steps_from(Steps("", call.went_out, call.rerun), call.history | {call})

    def steps_on_x(self) -> Iterator[Steps]:
        return self.steps_from(Steps("", self.x, _nothing), self.branch[0].history)

    @cached_property
    def before(self) -> Steps | None:
        """The steps from the block's input to its first convolution."""
        return next((steps for steps in self.steps_on_x() if close(steps.value, self.branch[0].came_in)), None)

    @cached_property
    def gaps(self) -> list[Steps | None]:
        """The steps between each convolution of the branch and the next, each with its convolution."""
        return [
            next((steps for steps in self.steps_behind(call) if close(steps.value, following.came_in)), None)
            for call, following in pairwise(self.branch)
        ]

    @cached_property
    def source(self) -> tuple[str, Steps | None]:
        """What the projection takes, in words: nothing for the block's input."""
        taken = self.projection.came_in
        for steps in self.steps_on_x():
            if close(steps.value, taken):
                one = steps.line if steps.line.endswith(("pool2d", "interpolate")) else f"`{steps.line}` of the input"
                return one if steps.line else "", steps
        for i, call in enumerate(self.branch):
            if any(close(steps.value, taken) for steps in self.steps_behind(call)):
                return f"what comes out behind convolution {i + 1}", None
        return "something else", None

    def carried(self, channels: int = 0) -> Iterator[Way]:
        """What the shortcut may carry."""
        if self.projection is not None:
            start = self.source[1]
            for line, value, do in self.steps_behind(self.projection):
                yield Way("conv", line, value, _in_turn(start.do, do) if start else None)
        new = (channels or self.plan.channels[-1]) - self.x.shape[1]
        earlier = [Way("before", line, value) for line, value in list(backward(self.run, self.x))[1:]]
        for way in [*(Way("x", *steps) for steps in self.steps_on_x()), *earlier]:
            yield way
            # The paper's option A: every stride-th pixel, and the new channels zero, on both sides or on one.
            for stride in (1, 2):
                for front in dict.fromkeys((new // 2, 0, new)) if new > 0 or (new == 0 and stride > 1) else ():
                    pad = partial(_option_a, stride=stride, front=front, behind=new - front)
                    kind = "option A" if way.do else "before"
                    yield Way(kind, way.line, pad(way.value), _in_turn(way.do, pad) if way.do else None)
        for i, call in enumerate(self.branch[:-1]):
            for steps in self.steps_behind(call):
                yield Way("behind", str(i + 1), steps.value)

    @cached_property
    def join(self) -> Join | None:
        """How the two paths came together, or None if it is none of the ways known here."""
        ends = sorted(self.steps_behind(self.branch[-1]), key=lambda steps: steps.line != "bn")
        ways = [way for way in self.carried() if way.value.shape == ends[0].value.shape]
        for after, target in [("relu", None), *backward(self.run, self.out)]:
            for end in ends:
                weights = self._fit([end.value], target)
                if weights:
                    return Join(end, "none", "", None, "+", (weights[0], 0.0), after)
                for way in ways:
                    parts = [end.value, way.value]
                    weights = self._fit(parts, target)
                    if weights:
                        # Where the sum has no negative values, a ReLU behind it would not show.
                        hidden = end.line.endswith("relu") and self._fit(parts, self.out)
                        return Join(end, way.kind, way.line, way.do, "+", weights, "" if hidden else after)
                    operation = self._other_operation(end.value, way.value, target)
                    if operation:
                        return Join(end, way.kind, way.line, None, operation, (1.0, 1.0), after)
        return None

    def _fit(self, parts: list[Tensor], target: Tensor | None) -> tuple[float, ...] | None:
        """The weights whose sum is the target, or, without one, of which the output is the ReLU."""
        wanted = self.out if target is None else target
        if parts[0].shape != wanted.shape or (target is None and bool((wanted < 0).any())):
            return None
        places = wanted > 0 if target is None else torch.ones_like(wanted, dtype=torch.bool)
        columns = torch.stack([part[places] for part in parts], 1).double()
        if len(columns) < 9:
            return None
        some = slice(None, None, 1 + len(columns) // 500)
        goal = wanted[places].double()[some, None]
        found = torch.linalg.lstsq(columns[some], goal, driver="gelsd").solution[:, 0].tolist()
        total = sum(weight * part for weight, part in zip(found, parts, strict=True))
        weights = tuple(round(weight, 3) for weight in found)
        return weights if close(F.relu(total) if target is None else total, wanted) and any(weights) else None

    def _other_operation(self, end: Tensor, shortcut: Tensor, target: Tensor | None) -> str:
        product, pair = end * shortcut, [torch.cat(parts, 1) for parts in ([end, shortcut], [shortcut, end])]
        for name, value in [("multiplied", product), *(("concatenated", value) for value in pair)]:
            if close(F.relu(value), self.out) if target is None else close(value, target):
                return name
        return ""

    @property
    def line(self) -> str:
        """What the block computes, in one line; empty where a step is unknown."""
        if not self.complete or self.join is None or self.before is None or None in self.gaps:
            return ""
        join = self.join
        sign = f"({join.operation})" if join.operation != "+" else "+" if all(join.weights) else ""
        parts = [self.before.line, *(f"conv {steps.line}" for steps in [*self.gaps, join.end]), sign, join.after]
        return " ".join(" ".join(parts).split())

    def twin(self, x: Tensor, detached: str = "") -> Tensor | None:
        """What a block with this block's steps, convolutions and norms puts out; None where a step is unknown."""
        join = self.join
        if not self.line or join.do is None or join.after not in ("", "relu"):
            return None
        value = self.before.do(x)
        for steps in [*self.gaps, join.end]:
            value = steps.do(value)
        paths = {"branch": value, "shortcut": join.do(x)}
        if detached:
            paths[detached] = paths[detached].detach()
        total = join.weights[0] * paths["branch"] + join.weights[1] * paths["shortcut"]
        return F.relu(total) if join.after else total


def _option_a(x: Tensor, stride: int, front: int, behind: int) -> Tensor:
    return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, front, behind))


def _nothing(x: Tensor) -> Tensor:
    return x


def _in_turn(first: Callable[[Tensor], Tensor], then: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: then(first(x))


def step_name(call: Call) -> str:
    return STEP_NAMES.get(call.kind, call.kind)


def backward(run: Run, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The single operations that led to a value, and what they were done to: none, the last, the last two, …"""
    line = ""
    for _ in range(4):
        yield line, value
        made = (call for call in run.recorder.calls if call.is_step and close(call.went_out, value))
        call = next(made, None)
        if call is None or call.came_in.shape != value.shape:
            return
        name = "relu" if close(value, F.relu(call.came_in)) else step_name(call)
        line, value = f"{name} {line}".strip(), call.came_in
