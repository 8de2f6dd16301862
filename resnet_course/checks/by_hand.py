"""Feedback on a count that was made by hand: the parameters of a network, and the sizes on the way through it."""

from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Any

from resnet_course.checks.anatomy import Plan
from resnet_course.checks.networks import BLOCK_COUNTS, Form
from resnet_course.checks.report import Line, Report, find_wrong_number, is_whole, refuse, show
from resnet_lib.arithmetic import batchnorm_parameters, conv_parameters, output_size, resnet_cost

PARTS = ("stem", "stage 1", "stage 2", "stage 3", "stage 4", "head")
PLACES = ("first convolution", "max pooling", "stage 1", "stage 2", "stage 3", "stage 4")
CLASSES = (1, 2, 10, 20, 21, 91, 100, 102, 200, 365, 1001)  # of the usual data sets
# Slips that touch all of a network are made everywhere or nowhere.
BIASES = "biases of the convolutions are counted, and they have none"
NO_NORMS = "the BatchNorms are missing, two per channel"
STATISTICS = "running means and variances are counted, and they are no parameters"
BARE = "the BatchNorm of the projection is missing"
NO_PROJECTION = "the projection's 1×1 convolution is missing"
EXCLUSIVE = [{NO_NORMS, STATISTICS}, {NO_NORMS, BARE}]

Slips = dict[str, int]  # a mistake → by how much it changes the number


def check_parameter_count(parts: Mapping[str, int | None] | int, depth: int = 50) -> Report:
    """Check the parameters of a network for ImageNet with 1000 classes, counted by hand.

    ``parts`` holds a number for "stem", "stage 1" to "stage 4" and "head", and for "total" if you like; or it is the
    total alone. A part that is None or missing stays open. Up to three slips in one number are told apart.

    Source: He et al. 2016, table 1.

    >>> check_parameter_count({"stem": 9_408}, depth=18).lines[0].text
    '9,408 is 128 too few: the BatchNorms are missing, two per channel'
    """
    answers: Any = {"total": parts} if is_whole(parts) else parts
    if problem := _find_problem(answers, (*PARTS, "total"), depth):
        return refuse("check_parameter_count", problem)
    names = ("total",) if is_whole(parts) else (*PARTS, "total")[: 7 if "total" in answers else 6]
    counts = _count_parts(Form(int(depth), 1000, "imagenet"))
    lines = [_judge_number(name, answers.get(name), *counts[name], int(depth)) for name in names]
    return Report("check_parameter_count", tuple(lines))


def _find_problem(answers: Any, names: tuple[str, ...], depth: Any) -> str | None:
    if not isinstance(answers, Mapping):
        example = f"{{{names[0]!r}: …, {names[1]!r}: …}}"
        return f"it takes a dict such as {example}, got an object of type {type(answers).__name__}"
    if unknown := [name for name in answers if name not in names]:
        return f"there is no {show(unknown[0])}: the names are {', '.join(map(repr, names))}"
    return find_wrong_number("depth", depth, tuple(BLOCK_COUNTS))


def _count_parts(form: Form) -> dict[str, tuple[int, Slips]]:
    """The right number of every part, with what the usual mistakes add or leave out."""
    found = {"stem": _count_stage("the stem", [form.stem])}
    for i, count in enumerate(form.counts):
        found[PARTS[i + 1]] = _count_stage(PARTS[i + 1], [form.plan(i, first=j == 0) for j in range(count)])
    head, classes = (form.features + 1) * 1000, {"the head's biases are missing": -1000}
    if form.features > 512:
        classes["the head takes 512 times expansion features"] = (512 - form.features) * 1000
    found["head"] = (head, classes)
    slips: Slips = {"the head is missing": -head}
    slips |= {f"{n} classes and not 1000": (n - 1000) * (form.features + 1) for n in CLASSES}
    for _, part in found.values():
        slips |= {mistake: slips.get(mistake, 0) + difference for mistake, difference in part.items()}
    return found | {"total": (sum(number for number, _ in found.values()), slips)}


def _count_stage(name: str, plans: list[Plan]) -> tuple[int, Slips]:
    def count(plan: Plan) -> int:
        return sum(conv_parameters(a, b, kernel) + batchnorm_parameters(b) for kernel, (a, b) in convolutions(plan))

    first, last, rest = plans[0], plans[-1], len(plans) - 1
    widths = [after for plan in plans for _, (_, after) in convolutions(plan)]
    norms = sum(map(batchnorm_parameters, widths))
    slips = {NO_NORMS: -norms, STATISTICS: norms, BIASES: sum(widths)}
    if first.projects:
        slips[NO_PROJECTION] = -conv_parameters(first.channels[0], first.channels[-1], 1)
        slips[BARE] = -batchnorm_parameters(first.channels[-1])
    if rest:
        kernel, (wide, width) = convolutions(last)[0]
        slips[f"one block of {name} is missing"] = -count(last)
        slips[f"one block too many in {name}"] = count(last)
        fewer = conv_parameters(first.channels[0], width, kernel) - conv_parameters(wide, width, kernel)
        slips[f"in {name} the later blocks are counted with the first one's input channels"] = rest * fewer
        each = count(first) - count(last)
        slips[f"in {name} all blocks are counted like the first, but only that changes the shape"] = rest * each
    return sum(map(count, plans)), {mistake: difference for mistake, difference in slips.items() if difference}


def convolutions(plan: Plan) -> list[tuple[int, tuple[int, int]]]:
    """Kernel and channels of each, the projection last."""
    projection = (1, (plan.channels[0], plan.channels[-1]))
    return [*zip(plan.kernels, pairwise(plan.channels), strict=True), *[projection] * plan.projects]


def explain(gap: int, slips: Slips) -> list[str]:
    """The smallest sets of slips, up to three, that add up to a gap."""
    for size in (1, 2, 3):
        sets = [{*chosen} for chosen in combinations(slips, size) if sum(map(slips.__getitem__, chosen)) == gap]
        found = [chosen for chosen in sets if not any(pair <= chosen for pair in EXCLUSIVE)]
        found = [chosen for chosen in found if sum("head" in name or "classes" in name for name in chosen) < 2]
        if found:
            return [", and ".join(sorted(chosen, key=[*slips].index)) for chosen in found]
    return []


def _judge_number(name: str, value: Any, right: int, slips: Slips, depth: int) -> Line:
    if value is None or value is ...:
        return Line("open", name, "still to be counted")
    if not is_whole(value):
        return Line("wrong", name, f"it takes a whole number, got {show(value)}")
    if value == right:
        return Line("right", name, f"{right:,}")
    gap, causes = int(value) - right, explain(int(value) - right, slips)
    for d, s in [(d, s) for d in BLOCK_COUNTS for s in "AB"] if name == "total" else ():
        if value == resnet_cost(d, s).parameters:
            option = " with option A" * (s == "A")
            causes = [f"it is the number of ResNet-{d}{option}, and ResNet-{depth} was asked"]
    text = f"{int(value):,} is {abs(gap):,} too {'many' if gap > 0 else 'few'}"
    return Line("wrong", name, text + (f": {'; or: '.join(causes[:2])}" if causes else ""))


def check_output_sizes(sizes: Mapping[str, Any], depth: int = 50, size: int = 224) -> Report:
    """Check the sizes on the way of an image of size × size pixels through a network for ImageNet.

    ``sizes`` holds (channels, pixels a side) behind the "first convolution", "max pooling" and "stage 1" to "stage 4".
    A place that is None or missing stays open.

    Source: He et al. 2016, table 1.

    >>> check_output_sizes({"first convolution": (64, 112), "max pooling": (64, 112)}).lines[1].text
    '112 pixels a side, not right: each pooling and each stride of 2 halves'
    """
    problem = _find_problem(sizes, PLACES, depth) or find_wrong_number("size", size)
    if problem:
        return refuse("check_output_sizes", problem)
    side = output_size(int(size), kernel_size=7, stride=2, padding=3)
    lines, before = [], int(size)
    for i, name in enumerate(PLACES):
        if i not in (0, 2):
            side = output_size(side, kernel_size=3, stride=2, padding=1)
        channels = 64 if i < 2 else 64 * 2 ** (i - 2) * Form(int(depth), 1000, "imagenet").expansion
        lines.append(_judge_size(name, sizes.get(name), (channels, side), before))
        before = side
    return Report("check_output_sizes", tuple(lines))


def _judge_size(name: str, value: Any, right: tuple[int, int], before: int) -> Line:
    if value is None or value is ...:
        return Line("open", name, "still to be worked out")
    if not isinstance(value, (tuple, list)) or len(value) != 2 or not all(map(is_whole, value)):
        return Line("wrong", name, f"it takes (channels, pixels a side), got {show(value)}")
    (channels, side), (right_channels, right_side) = map(int, value), right
    if channels != right_channels:
        hint = ": a bottleneck puts out four times its channels" * (4 * channels == right_channels)
        return Line("wrong", name, f"{channels} channels, not right{hint}")
    if side == right_side:
        return Line("right", name, f"{channels} channels of {side}×{side}")
    hints = {
        ": the first stage keeps the size, since the pooling has just halved it": name == "stage 1",
        ": each pooling and each stride of 2 halves": side == before,
        ": half of an odd number of pixels is rounded up": side == before // 2,
    }
    return Line("wrong", name, f"{side} pixels a side, not right{next((hint for hint in hints if hints[hint]), '')}")
