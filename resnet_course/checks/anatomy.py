"""The parts of a block as it ran: its branch, its shortcut, and how the two came together."""

from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F

from resnet_course.checks.trace import NORMS, Run, Value, close

ADDITIONS = {  # how many times branch and shortcut
    (1, 1): "",
    (1, 0): "the shortcut is never added: the output is the branch alone; add the input before the last ReLU",
    (2, 0): "the branch is added to itself: was x overwritten on the way, or the shortcut taken from the branch?",
    (0, 1): "the branch is never added: the output is the shortcut alone",
    (1, -1): "one path is subtracted from the other: add them",
    (-1, 1): "one path is subtracted from the other: add them",
    (1, 2): "the shortcut is added twice",
    (2, 1): "the branch is added twice",
    (0.5, 0.5): "the average of branch and shortcut is taken: add them",
}
OTHER_WAYS = {
    "mul": "branch and shortcut are multiplied: add them",
    "cat": "branch and shortcut are concatenated, side by side in more channels: add them with +",
}


class Plan(NamedTuple):
    """What a block should hold: the convolutions of its branch, and whether its shortcut has one."""

    kernels: tuple[int, ...]
    channels: tuple[int, ...]  # what the first convolution takes, then what each puts out
    strides: tuple[int, ...]
    projects: bool


def make_plan(before: int, channels: int, stride: int, expansion: int = 1, projects: bool | None = None) -> Plan:
    """The plan of a basic block, or, with an expansion of 4, of a bottleneck."""
    projects = stride != 1 or before != channels * expansion if projects is None else projects
    if expansion == 1:
        return Plan((3, 3), (before, channels, channels), (stride, 1), projects)
    return Plan((1, 3, 1), (before, channels, channels, channels * expansion), (1, stride, 1), projects)


class Join(NamedTuple):
    """How branch and shortcut came together; None stands for a path that did not."""

    branch: Value | None
    shortcut: Value | None
    after: list[str]  # the steps behind
    problem: str = ""
    cut: str = ""  # the path that no gradient passes


@dataclass
class Block:
    """One block as it ran: the convolutions of its branch and shortcut, and what it should have been."""

    plan: Plan
    run: Run
    branch: list[Value]
    projection: Value | None
    x: Value
    out: Value | None  # None if the run ended before
    label: str = ""

    @property
    def convs(self) -> list[Value]:
        return self.branch + [self.projection] * (self.projection is not None)

    def name_of(self, conv: Value) -> str:
        place = "the projection" if conv is self.projection else f"convolution {self.branch.index(conv) + 1}"
        name = self.run.name_of(conv.weight)
        return f"{place} ({name})" if name else place

    def line(self, value: Value, start: Value | None = None) -> list[str]:
        """The steps from the block's input, or from another value, to a value."""
        steps: list[str] = []
        while value is not (start or self.x):
            last = max(value.convs, key=lambda conv: len(conv.convs), default=None)
            if is_option_a(value, start or self.x):
                return ["option A", *steps]
            if value.kind == "conv2d":
                steps.insert(0, "proj" if value is self.projection else "conv")
            elif last and value.kind not in ("relu", "+", *NORMS) and value.is_affine_of(last):
                steps.insert(0, "norm")  # a norm written out, or frozen
                value = last
                continue
            else:
                steps.insert(0, value.step if len(value.parents) == 1 else "?")
            if len(value.parents) != 1 and last is None:
                break
            value = value.parents[0] if len(value.parents) == 1 else last
        return steps


def find_join(block: Block) -> Join | None:
    """How the two paths came together, or None if it is none of the ways known here."""
    last, node = block.branch[-1], block.out
    passed: list[Value] = []
    while len(node.parents) == 1 and node is not block.x and node.kind != "conv2d":
        if node.kind == "+" and (node.parents[0].kind == "+" or "?" not in block.line(node)):
            break  # the branch alone, or a sum of both, times a number
        passed.insert(0, node)
        node = node.parents[0]
    cut: set[Value] = set()
    if node.kind in OTHER_WAYS and len(node.parents) == 2:
        terms = dict.fromkeys(node.parents, 1.0)
    elif len(node.parents) > 1 and node.kind not in ("conv2d", "+") and node is not block.x:
        return None
    elif node.kind == "+":
        terms, cut = expand(node, last)
    else:  # nothing was added: the last ReLU stands behind what is missing
        passed = passed[-1:] if block.out.kind == "relu" else []
        terms = {passed[0].parents[0] if passed else block.out: 1.0}
    branch, others = ([value for value in terms if (last in value.convs) == mine] for mine in (True, False))
    if len(branch) > 1 or len(others) > 1:
        return None
    times = terms[branch[0]] if branch else 0.0, terms[others[0]] if others else 0.0
    scaled = f"{times[0]:g} times the branch" + f" plus {times[1]:g} times the shortcut" * bool(others)
    problem = OTHER_WAYS.get(node.kind) or ADDITIONS.get(times, f"the sum is scaled, {scaled}: add both as they are")
    found = next(iter(branch), None), next(iter(others), None)
    cut_path = "shortcut" if cut & {*others} else "branch" if cut & {*branch} else ""
    return Join(*found, [value.step for value in passed], problem, cut_path)


def expand(value: Value, last: Value) -> tuple[dict[Value, float], set[Value]]:
    """The terms of a sum and how many times each, and those without a gradient; not of an earlier block's sum."""
    if value.kind != "+" or (last not in value.convs and len(value.parents) > 1):
        return {value: 1.0}, set()
    terms: dict[Value, float] = {}
    cut: set[Value] = set()
    for part, weight in zip(value.parents, value.weights, strict=True):
        inner, inner_cut = expand(part, last)
        terms |= {term: terms.get(term, 0.0) + weight * times for term, times in inner.items()}
        cut |= inner_cut | (inner.keys() if part in value.cut else set())
    return terms, cut


def precursor(block: Block, shortcut: Value | None) -> Value | None:
    """What the block's input was made of, where the shortcut carries that: a pre-activation."""
    earlier = block.x
    while shortcut is not None and len(earlier.parents) == 1 and earlier.kind != "conv2d":
        earlier = earlier.parents[0]
        if shortcut is earlier or is_option_a(shortcut, earlier):
            return earlier
    return None


def is_option_a(value: Value, x: Value) -> bool:
    """The paper's shortcut without weights: every stride-th pixel, and new channels of zeros on both sides or one."""
    new = value.shape[1] - x.shape[1]
    if value is x or new < 0 or not value.numbers.dim() == x.numbers.dim() == 4:
        return False
    thinned = [x.numbers[:, :, ::stride, ::stride] for stride in (1, 2)]
    made = (F.pad(t, (0, 0, 0, 0, front, new - front)) for t in thinned for front in (new // 2, 0, new))
    return any(close(twin, value.numbers) for twin in made)
