"""The kinds of questions. Each function draws its numbers from ``rng`` and works the answer out, step by step.

Parameters are learned values: weights, biases, and two a channel for BatchNorm. Convolutions have no bias unless the
question gives them one. Multiply-adds are counted as in `resnet_lib.arithmetic`.
"""

from math import prod
from random import Random

from resnet_course.drills.answers import Question, write_number
from resnet_course.drills.sentence import Sentence
from resnet_lib.arithmetic import (
    basic_block_cost,
    bottleneck_cost,
    conv_macs,
    conv_parameters,
    output_size,
)

EXPANSION = {"basic block": 1, "bottleneck": 4}
_DEPTHS = {18: "basic block", 34: "basic block", 50: "bottleneck", 101: "bottleneck", 152: "bottleneck"}


def _steps(*lines: str) -> Sentence:
    return Sentence("\n".join(lines))


def ask_convolution(rng: Random) -> Question:
    kernel = rng.choice([1, 3, 5, 7])
    in_channels, out_channels = (rng.choice([3, 16, 24, 48, 64, 96, 128, 256, 512]) for _ in range(2))
    bias = rng.choice([True, False])
    weights = conv_parameters(in_channels, out_channels, kernel)
    answer = conv_parameters(in_channels, out_channels, kernel, bias)
    lines = [f"weights: {kernel}·{kernel}·{in_channels}·{out_channels} = {weights:,}"]
    if bias:
        lines += [f"biases: {out_channels}, one for each channel that goes out", f"together: {answer:,}"]
        slips = ((weights, "the biases are missing"), (weights + in_channels, "a bias belongs to a channel out"))
    else:
        slips = ((weights + out_channels, "this convolution has no bias"),)
    return Question(
        "convolution",
        f"How many parameters does a {kernel}×{kernel} convolution from {in_channels} to {out_channels} channels "
        f"have, {'with' if bias else 'without'} biases?",
        answer,
        "parameters",
        _steps(*lines),
        {"kernel": kernel, "in_channels": in_channels, "out_channels": out_channels, "bias": bias},
        tuple(slips),
    )


def _convolutions(block: str, in_channels: int, channels: int, projects: bool) -> list[tuple[str, int, int, int]]:
    """The convolutions of a block: name, kernel, channels in and out."""
    wide = channels * EXPANSION[block]
    if block == "basic block":
        found = [("first 3×3", 3, in_channels, channels), ("second 3×3", 3, channels, channels)]
    else:
        found = [("1×1 down", 1, in_channels, channels), ("3×3", 3, channels, channels), ("1×1 up", 1, channels, wide)]
    return [*found, ("projection", 1, in_channels, wide)] if projects else found


def _draw_block(rng: Random, changes: bool) -> tuple[str, int, int, int]:
    """Kind, in_channels, channels and stride of a block; of one that changes its shape, as a stage's first."""
    block = rng.choice(list(EXPANSION))
    channels = 8 * rng.randint(2, 64)
    wide = channels * EXPANSION[block]
    return (block, wide // 2, channels, 2) if changes else (block, wide, channels, 1)


def _parameters(block: str, in_channels: int, channels: int, stride: int) -> int:
    cost = basic_block_cost if block == "basic block" else bottleneck_cost
    return cost(in_channels, channels, size=8, stride=stride).parameters  # the same at any size


def _describe_block(block: str, in_channels: int, channels: int) -> str:
    return f"{block} with {in_channels} channels in, {channels * EXPANSION[block]} out" + (
        f" and {channels} in its 3×3 convolution" if block == "bottleneck" else ""
    )


def _block_steps(block: str, in_channels: int, channels: int, projects: bool) -> list[str]:
    """The count of a block, a line a convolution."""
    convolutions = _convolutions(block, in_channels, channels, projects)
    lines = [
        f"{name}: {kernel}·{kernel}·{before}·{after} = {conv_parameters(before, after, kernel):,}"
        for name, kernel, before, after in convolutions
    ]
    widths = [after for *_, after in convolutions]
    return [*lines, f"BatchNorms: 2·({' + '.join(map(str, widths))}) = {2 * sum(widths):,}"]


def ask_block(rng: Random) -> Question:
    changes = rng.choice([True, False])
    block, in_channels, channels, stride = _draw_block(rng, changes)
    answer = _parameters(block, in_channels, channels, stride)
    norms = 2 * sum(after for *_, after in _convolutions(block, in_channels, channels, changes))
    slips = [(answer - norms, "the BatchNorms are missing")]
    if changes:
        wide = channels * EXPANSION[block]
        projection = conv_parameters(in_channels, wide, 1)
        slips.append((answer - projection - 2 * wide, "the projection and its BatchNorm are missing"))
        slips.append((answer - 2 * wide, "the projection's BatchNorm is missing"))
    return Question(
        "block",
        f"A {_describe_block(block, in_channels, channels)} has "
        + (f"stride {stride}, and a projection with BatchNorm as its shortcut" if changes else "stride 1")
        + ". How many parameters does it have?",
        answer,
        "parameters",
        _steps(*_block_steps(block, in_channels, channels, changes), f"together: {answer:,}"),
        {"block": block, "in_channels": in_channels, "channels": channels, "stride": stride},
        tuple(slips),
    )


def ask_stage(rng: Random) -> Question:
    block, in_channels, channels, stride = _draw_block(rng, changes=True)
    wide, count = channels * EXPANSION[block], rng.randint(2, 8)
    first, inner = _parameters(block, in_channels, channels, stride), _parameters(block, wide, channels, 1)
    answer = first + (count - 1) * inner
    return Question(
        "stage",
        f"A stage has {count} blocks. The first is a {_describe_block(block, in_channels, channels)}, with stride 2 "
        f"and a projection with BatchNorm; the others take {wide} channels. How many parameters does the stage "
        "have?",
        answer,
        "parameters",
        _steps(
            "The first block:",
            *(f"  {line}" for line in _block_steps(block, in_channels, channels, True)),
            f"  together: {first:,}",
            "Each further block:",
            *(f"  {line}" for line in _block_steps(block, wide, channels, False)),
            f"  together: {inner:,}",
            f"The stage: {first:,} + {count - 1} · {inner:,} = {answer:,}",
        ),
        {"block": block, "in_channels": in_channels, "channels": channels, "count": count},
        (
            (count * first, "only the first block changes the shape"),
            (count * inner, "the first block takes fewer channels, and has a projection"),
            (answer + inner, "the first block counts as one of them"),
        ),
    )


def ask_multiply_adds(rng: Random) -> Question:
    kernel, stride, size = rng.choice([1, 3, 7]), rng.choice([1, 2]), rng.choice([7, 14, 15, 28, 32, 56, 65, 112])
    in_channels, out_channels = (rng.choice([3, 16, 64, 128, 256]) for _ in range(2))
    side = output_size(size, kernel, stride, padding=kernel // 2)
    weights = conv_parameters(in_channels, out_channels, kernel)
    answer = conv_macs(in_channels, out_channels, kernel, side**2)
    slips = [(2 * answer, "a product and its addition are one multiply-add"), (weights, "those are the weights")]
    if side != size:
        slips.append((weights * size**2, "with its stride the convolution works on fewer pixels"))
    return Question(
        "multiply-adds",
        f"How many multiply-adds does one image of {size}×{size} pixels take in a {kernel}×{kernel} convolution from "
        f"{in_channels} to {out_channels} channels, with stride {stride} and padding {kernel // 2}?",
        answer,
        "multiply-adds",
        _steps(
            f"a side: ⌊({size} + 2·{kernel // 2} − {kernel})/{stride}⌋ + 1 = {side} pixels",
            f"weights: {kernel}·{kernel}·{in_channels}·{out_channels} = {weights:,}",
            f"each works once at every pixel that goes out: {weights:,} · {side}·{side} = {answer:,}",
        ),
        {"kernel": kernel, "stride": stride, "size": size, "in_channels": in_channels, "out_channels": out_channels},
        tuple(slips),
    )


def _sides(size: int, stage: int) -> list[int]:
    """Pixels along a side: of the image, behind the first convolution, the max pooling and every stage up to this."""
    sides = [size]
    for kernel in (7, 3):
        sides.append(output_size(sides[-1], kernel, stride=2, padding=kernel // 2))
    sides.append(sides[-1])  # the first stage
    for _ in range(stage - 1):
        sides.append(output_size(sides[-1], 3, stride=2, padding=1))
    return sides


def ask_shape(rng: Random) -> Question:
    depth, stage = rng.choice(list(_DEPTHS)), rng.randint(1, 4)
    height, width = rng.randint(64, 400), rng.randint(64, 400)
    base, expansion = 64 * 2 ** (stage - 1), EXPANSION[_DEPTHS[depth]]
    rows, columns = _sides(height, stage), _sides(width, stage)
    answer = (base * expansion, rows[-1], columns[-1])
    halved = (answer[0], output_size(rows[-1], 3, 2, 1), output_size(columns[-1], 3, 2, 1))
    slips = [(halved, "the first stage keeps the size that the max pooling leaves")]
    if expansion > 1:
        slips.append(((base, *answer[1:]), "a bottleneck puts out four times its channels"))
    floors = (answer[0], height // 2 ** (stage + 1), width // 2 ** (stage + 1))
    slips.append((floors, "half of an odd number of pixels is rounded up"))
    return Question(
        "shape",
        f"An image of {height}×{width} pixels goes through ResNet-{depth}. What shape (channels, height, width) leaves "
        f"stage {stage}?",
        answer,
        "(channels, height, width)",
        _steps(
            f"height: {' → '.join(map(str, rows))}",
            f"width: {' → '.join(map(str, columns))}",
            "(image, first convolution, max pooling, stages; the first stage keeps its size)",
            f"channels: 64·2^{stage - 1} = {base}, times expansion {expansion} = {base * expansion}",
        ),
        {"depth": depth, "stage": stage, "height": height, "width": width},
        tuple(slips),
    )


def ask_receptive_field(rng: Random) -> Question:
    layers = [(rng.choice([1, 3, 3, 5, 7]), rng.choice([1, 1, 2])) for _ in range(rng.randint(2, 5))]
    lines, seen, step = [], 1, 1
    for kernel, stride in layers:
        lines.append(
            f"{kernel}×{kernel}, stride {stride}: {seen} + ({kernel} − 1)·{step} = {seen + (kernel - 1) * step}"
        )
        seen, step = seen + (kernel - 1) * step, step * stride
    slips = [(1 + sum(kernel - 1 for kernel, _ in layers), "behind a stride, neighbours lie further apart")]
    slips.append((prod(kernel for kernel, _ in layers), "kernels do not multiply: each adds its rim"))
    named = ", ".join(f"{kernel}×{kernel} with stride {stride}" for kernel, stride in layers)
    return Question(
        "receptive field",
        f"Convolutions follow each other: {named}. How wide, in pixels of the image, is the field that one "
        "value behind the last of them sees?",
        seen,
        "pixels",
        _steps("Begin with 1 pixel, and steps of 1 pixel; a stride multiplies the step of all that follow.", *lines),
        {"layers": tuple(layers)},
        tuple(slips),
    )


def ask_bottleneck_ratio(rng: Random) -> Question:
    channels = 64 * rng.randint(2, 32)
    narrow = 16 * rng.randint(1, channels // 32)
    two, three = 18 * channels**2, 2 * channels * narrow + 9 * narrow**2
    return Question(
        "bottleneck ratio",
        f"Two 3×3 convolutions of {channels} channels stand beside a bottleneck: 1×1 down to {narrow}, 3×3, 1×1 up to "
        f"{channels}. How many times as many weights do the two have (within 1 %; convolutions only)?",
        two / three,
        "times",
        _steps(
            f"two 3×3: 2·9·{channels}·{channels} = {two:,}",
            f"bottleneck: {channels}·{narrow} + 9·{narrow}·{narrow} + {narrow}·{channels} = {three:,}",
            f"{two:,} / {three:,} = {write_number(two / three)}",
        ),
        {"channels": channels, "narrow": narrow},
        (
            (two / 2 / three, "there are two 3×3 convolutions"),
            ((channels / narrow) ** 2, "only the 3×3 shrinks on both sides"),
        ),
        0.01,
    )


def ask_activation_memory(rng: Random) -> Question:
    depth, stage, size = rng.choice(list(_DEPTHS)), rng.randint(1, 4), rng.choice([128, 160, 192, 224, 256, 288])
    batch, (dtype, width) = rng.choice([1, 8, 16, 32, 64, 128]), rng.choice([("float32", 4), ("bfloat16", 2)])
    base, expansion = 64 * 2 ** (stage - 1), EXPANSION[_DEPTHS[depth]]
    side = _sides(size, stage)[-1]
    values = batch * base * expansion * side**2
    answer = values * width / 2**20
    slips = [
        (values / 2**20, f"a number in {dtype} takes {width} bytes"),
        (values * width / 1e6, "a MiB is 2^20 bytes"),
    ]
    if expansion > 1:
        slips.append((answer / expansion, "a bottleneck puts out four times its channels"))
    if batch > 1:
        slips.append((answer / batch, "that is for one image"))
    return Question(
        "activation memory",
        f"How many MiB (2^20 bytes) does the output of one block in stage {stage} of ResNet-{depth} take, for a batch "
        f"of {batch} {'image' if batch == 1 else 'images'} of {size}×{size} pixels in {dtype} (within 1 %)?",
        answer,
        "MiB",
        _steps(
            f"channels: 64·2^{stage - 1}·{expansion} = {base * expansion}",
            f"a side: {size}/{2 ** (stage + 1)} = {side} pixels",
            f"numbers: {batch}·{base * expansion}·{side}·{side} = {values:,}",
            f"bytes: {width} each, {values * width:,}; divided by 2^20: {write_number(answer)} MiB",
        ),
        {"depth": depth, "stage": stage, "size": size, "batch": batch, "dtype": dtype},
        tuple(slips),
        0.01,
    )
