"""Feedback on a count that was made by hand: the parameters of a network, and the sizes on the way through it."""

from collections.abc import Mapping
from typing import Any

from resnet_course.checks.network import BLOCK_COUNTS, WIDTHS, expansion_of, plan_stages
from resnet_course.checks.paths import Plan
from resnet_course.checks.report import Line, Report
from resnet_lib._arguments import check_choice, check_count
from resnet_lib.arithmetic import (
    basic_block_cost,
    batchnorm_parameters,
    bottleneck_cost,
    conv_parameters,
    linear_parameters,
    output_size,
)

PARTS = ("stem", "stage 1", "stage 2", "stage 3", "stage 4", "head")
PLACES = ("first convolution", "max pooling", "stage 1", "stage 2", "stage 3", "stage 4")


def check_parameter_count(parts: Mapping[str, int | None] | int, depth: int = 50) -> Report:
    """Check the parameters of a network for ImageNet with 1000 classes, counted by hand.

    ``parts`` holds a number for "stem", "stage 1" to "stage 4" and "head", and for "total" if you like; or it is the
    total alone. A part that is None or missing stays open.

    Source: He et al. 2016, table 1.

    >>> check_parameter_count({"stem": 9_408}, depth=18).lines[0].text
    '9,408 is 128 too few: the BatchNorms are missing, two parameters a channel'
    """
    title = "check_parameter_count"
    if isinstance(parts, int) and not isinstance(parts, bool):
        parts = {"total": parts}
        wanted = ("total",)
    else:
        wanted = PARTS
    problem = _find_problem(parts, (*PARTS, "total"), depth)
    if problem:
        return Report(title, (Line("wrong", "argument", problem),))
    counts = _count_parts(depth)
    names = [*wanted, "total"] if "total" in parts and wanted == PARTS else wanted
    return Report(title, tuple(_judge_number(name, parts.get(name), *counts[name]) for name in names))


def _find_problem(answers: Any, names: tuple[str, ...], depth: Any) -> str | None:
    if not isinstance(answers, Mapping):
        return f"it takes a dict such as {{{names[0]!r}: …, {names[1]!r}: …}}, got an object of type " + (
            type(answers).__name__
        )
    unknown = [name for name in answers if name not in names]
    if unknown:
        return f"there is no {unknown[0]!r}: the names are {', '.join(map(repr, names))}"
    try:
        check_choice("depth", depth, BLOCK_COUNTS)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


Slips = dict[str, int]  # a mistake → by how much it changes the number


def _count_parts(depth: int) -> dict[str, tuple[int, Slips]]:
    """The right number of every part, with what the usual mistakes add or leave out."""
    stem_norm = batchnorm_parameters(64)
    stem = conv_parameters(3, 64, 7) + stem_norm
    found = {"stem": (stem, _norm_slips(stem_norm) | {_BIASES: 64})}
    for name, plans in zip(PARTS[1:5], plan_stages(depth), strict=True):
        found[name] = _count_stage(depth, plans)
    features = 512 * expansion_of(depth)
    slips = {"the biases are missing": -1000}
    if features > 512:
        slips["it takes 512 times expansion features"] = (512 - features) * 1000
    found["head"] = (linear_parameters(features, 1000), slips)
    total = sum(number for number, _ in found.values())
    slips = {}
    for _, part in found.values():
        for mistake, difference in part.items():
            slips[mistake] = slips.get(mistake, 0) + difference
    return found | {"total": (total, slips)}


_BIASES = "the convolutions have no biases, since BatchNorm follows"
_PROJECTION = "the projection of the first block is missing"


def _norm_slips(norms: int) -> Slips:
    return {
        "the BatchNorms are missing, two parameters a channel": -norms,
        "running mean and variance are no parameters": norms,
    }


def _count_stage(depth: int, plans: list[Plan]) -> tuple[int, Slips]:
    cost = bottleneck_cost if depth >= 50 else basic_block_cost
    channels = plans[0].channels[1]
    numbers = [cost(plan.channels[0], channels, 8, plan.stride).parameters for plan in plans]
    widths = [width for plan in plans for width in (*plan.channels[1:], *plan.channels[-1:] * plan.projects)]
    slips = _norm_slips(sum(map(batchnorm_parameters, widths))) | {_BIASES: sum(widths)}
    if plans[0].projects:
        before, after = plans[0].channels[0], plans[0].channels[-1]
        slips[_PROJECTION] = -conv_parameters(before, after, 1) - batchnorm_parameters(after)
        slips["the BatchNorm of the projection is missing"] = -batchnorm_parameters(after)
    if len(numbers) > 1:
        slips["one block is missing"] = -numbers[1]
        slips["all blocks are counted like the first, but only that changes the shape"] = (numbers[0] - numbers[1]) * (
            len(numbers) - 1
        )
    return sum(numbers), slips


def _judge_number(name: str, value: Any, right: int, slips: Slips) -> Line:
    if value is None or value is ...:
        return Line("open", name, "still to be counted")
    if isinstance(value, bool) or not isinstance(value, int):
        return Line("wrong", name, f"it takes a whole number, got {value!r}")
    if value == right:
        return Line("right", name, f"{right:,}")
    gap = value - right
    text = f"{value:,} is {abs(gap):,} too {'many' if gap > 0 else 'few'}"
    likely = [mistake for mistake, difference in slips.items() if difference == gap]
    return Line("wrong", name, f"{text}: {likely[0]}" if likely else text)


def check_output_sizes(sizes: Mapping[str, Any], depth: int = 50, size: int = 224) -> Report:
    """Check the sizes on the way of an image of size × size pixels through a network for ImageNet.

    ``sizes`` holds (channels, pixels a side) behind the "first convolution", "max pooling" and "stage 1" to "stage 4".
    A place that is None or missing stays open.

    Source: He et al. 2016, table 1.

    >>> check_output_sizes({"first convolution": (64, 112), "max pooling": (64, 112)}).lines[1].text
    '112 pixels a side, not right: each pooling and each stride of 2 halves'
    """
    title = "check_output_sizes"
    problem = _find_problem(sizes, PLACES, depth)
    if problem is None:
        try:
            check_count("size", size)
        except (TypeError, ValueError) as error:
            problem = str(error)
    if problem:
        return Report(title, (Line("wrong", "argument", problem),))
    right = _size_list(depth, size)
    lines, before = [], size
    for name, pair in zip(PLACES, right, strict=True):
        lines.append(_judge_size(name, sizes.get(name), pair, before))
        before = pair[1]
    return Report(title, tuple(lines))


def _size_list(depth: int, size: int) -> list[tuple[int, int]]:
    first = output_size(size, kernel_size=7, stride=2, padding=3)
    pooled = output_size(first, kernel_size=3, stride=2, padding=1)
    found = [(64, first), (64, pooled)]
    for width in WIDTHS:
        pooled = pooled if width == 64 else output_size(pooled, kernel_size=3, stride=2, padding=1)
        found.append((width * expansion_of(depth), pooled))
    return found


def _judge_size(name: str, value: Any, right: tuple[int, int], before: int) -> Line:
    if value is None or value is ...:
        return Line("open", name, "still to be worked out")
    if not isinstance(value, (tuple, list)) or [type(number) for number in value] != [int, int]:
        return Line("wrong", name, f"it takes (channels, pixels a side), got {value!r}")
    (channels, side), (right_channels, right_side) = value, right
    if channels != right_channels:
        hint = ": a bottleneck puts out four times its channels" if 4 * channels == right_channels else ""
        return Line("wrong", name, f"{channels} channels, not right{hint}")
    if side == right_side:
        return Line("right", name, f"{channels} channels of {side}×{side}")
    if name == "stage 1":
        hint = ": the first stage keeps the size, since the pooling has just halved it"
    elif side == before:
        hint = ": each pooling and each stride of 2 halves"
    elif side == before // 2:
        hint = ": half of an odd number of pixels is rounded up"
    else:
        hint = ""
    return Line("wrong", name, f"{side} pixels a side, not right{hint}")
