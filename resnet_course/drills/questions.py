"""The numbers drill: questions of arithmetic, fresh for every seed, with the way to the answer.

Each function draws its numbers from ``rng``. Parameters are learned values: weights, biases, and two per channel for
BatchNorm. Convolutions have no bias unless the question gives them one. Multiply-adds are counted as in
`resnet_lib.arithmetic`.

>>> ask = question(5, "convolution")
>>> ask.check(ask.answer)
Right: 1,731 parameters.
"""

from dataclasses import replace
from math import inf, prod
from random import Random

from resnet_course.drills.answers import Question, is_whole, write_number
from resnet_lib.arithmetic import basic_block_cost, bottleneck_cost, conv_macs, conv_parameters, output_size

EXPANSION = {"basic block": 1, "bottleneck": 4}
_BLOCKS = {18: "basic block", 34: "basic block", 50: "bottleneck", 101: "bottleneck", 152: "bottleneck"}


def _convolution(rng: Random) -> Question:
    kernel = rng.choice([1, 3, 5])
    before, after = (rng.choice([3, 16, 32, 64, 128, 256, 512]) for _ in range(2))
    bias = rng.choice([True, False])
    weights, answer = (conv_parameters(before, after, kernel, with_bias) for with_bias in (False, bias))
    steps = [f"weights: {_product(kernel, before, after)}"]
    if bias:
        steps += [f"biases: {after}, one for each channel that goes out", f"together: {answer:,}"]
        slips = [(weights, "the biases are missing"), (weights + before, "there is one bias per channel out")]
    else:
        slips = [(weights + after, "this convolution has no bias")]
    text = f"How many parameters does a {kernel}×{kernel} convolution from {before} to {after} channels have, "
    return Question(f"{text}{'with' if bias else 'without'} biases?", answer, "parameters", steps, slips)


def _product(kernel: int, before: int, after: int) -> str:
    return f"{kernel}·{kernel}·{before}·{after} = {conv_parameters(before, after, kernel):,}"


class _Block:
    """A block of either kind with numbers drawn; one that changes the shape has a projection, as a stage's first."""

    def __init__(self, kind: str, before: int, channels: int, changes: bool) -> None:
        self.kind, self.before, self.channels, self.changes = kind, before, channels, changes
        self.wide = channels * EXPANSION[kind]
        cost = basic_block_cost if kind == "basic block" else bottleneck_cost
        self.parameters = cost(before, channels, size=8, stride=2 if changes else 1).parameters  # the same at any size
        if kind == "basic block":
            layers = [("first 3×3", 3, before, channels), ("second 3×3", 3, channels, channels)]
            self.text = f"basic block with {before} channels in, {self.wide} out"
        else:
            layers = [("1×1 down", 1, before, channels), ("3×3", 3, channels, channels)]
            layers.append(("1×1 up", 1, channels, self.wide))
            self.text = f"bottleneck with {before} channels in, {self.wide} out and {channels} in its 3×3 convolution"
        layers += [("projection", 1, before, self.wide)] if changes else []
        widths = [after for *_, after in layers]
        self.norms = 2 * sum(widths)
        self.steps = [f"{name}: {_product(*layer)}" for name, *layer in layers]
        self.steps.append(f"BatchNorms: 2·({' + '.join(map(str, widths))}) = {self.norms:,}")


def _draw_block(rng: Random, changes: bool) -> _Block:
    kind, channels = rng.choice(list(EXPANSION)), rng.choice([*range(10, 101, 10), 16, 32, 64, 128])
    return _Block(kind, channels * EXPANSION[kind] // (2 if changes else 1), channels, changes)


def _block(rng: Random) -> Question:
    block = _draw_block(rng, changes=rng.choice([True, False]))
    slips = [(block.parameters - block.norms, "the BatchNorms are missing")]
    if block.changes:
        norm = 2 * block.wide
        without = block.parameters - conv_parameters(block.before, block.wide, 1) - norm
        slips.append((without, "the projection and its BatchNorm are missing"))
        slips.append((block.parameters - norm, "the projection's BatchNorm is missing"))
    stride = "stride 2, and a projection with BatchNorm as its shortcut" if block.changes else "stride 1"
    text = f"A {block.text} has {stride}. How many parameters does it have?"
    steps = [*block.steps, f"together: {block.parameters:,}"]
    return Question(text, block.parameters, "parameters", steps, slips)


def _stage(rng: Random) -> Question:
    first = _draw_block(rng, changes=True)
    other, count = _Block(first.kind, first.wide, first.channels, changes=False), rng.randint(2, 8)
    one, inner = first.parameters, other.parameters
    answer = one + (count - 1) * inner
    return Question(
        f"A stage has {count} blocks. The first is a {first.text}, with stride 2 and a projection with BatchNorm; the "
        f"others take {first.wide} channels. How many parameters does the stage have (within 5 %)?",
        answer,
        "parameters",
        [
            *("The first block:", *(f"  {line}" for line in first.steps), f"  together: {one:,}"),
            *("Each further block:", *(f"  {line}" for line in other.steps), f"  together: {inner:,}"),
            f"The stage: {one:,} + {count - 1} · {inner:,} = {answer:,}",
        ],
        [
            (count * one, "only the first block changes the shape"),
            (count * inner, "the first block takes fewer channels, and has a projection"),
            (answer + inner, "the first block counts as one of them"),
        ],
        tolerance=0.05,
    )


def _multiply_adds(rng: Random) -> Question:
    kernel, stride, size = rng.choice([1, 3, 5]), rng.choice([1, 2]), rng.choice([7, 8, 14, 16, 28, 32, 56])
    before, after = (rng.choice([16, 32, 64, 128, 256]) for _ in range(2))
    side = output_size(size, kernel, stride, padding=kernel // 2)
    weights, answer = conv_parameters(before, after, kernel), conv_macs(before, after, kernel, side**2)
    slips = [(2 * answer, "a product and its addition are one multiply-add"), (weights, "those are the weights")]
    if side != size:
        slips.append((weights * size**2, "with its stride the convolution works on fewer pixels"))
    return Question(
        f"How many multiply-adds does one image of {size}×{size} pixels take in a {kernel}×{kernel} convolution from "
        f"{before} to {after} channels, with stride {stride} and padding {kernel // 2} (within 5 %)?",
        answer,
        "multiply-adds",
        [
            f"a side: ⌊({size} + 2·{kernel // 2} − {kernel})/{stride}⌋ + 1 = {side} pixels",
            f"weights: {_product(kernel, before, after)}",
            f"each works once at every pixel that goes out: {weights:,} · {side}·{side} = {answer:,}",
        ],
        slips,
        tolerance=0.05,
    )


def _sides(size: int, stage: int) -> list[int]:
    """Pixels along a side: of the image, behind the first convolution, the max pooling and every stage up to this."""
    first = output_size(size, 7, stride=2, padding=3)
    sides = [size, first, *2 * [output_size(first, 3, stride=2, padding=1)]]  # the first stage keeps its size
    for _ in range(stage - 1):
        sides.append(output_size(sides[-1], 3, stride=2, padding=1))
    return sides


def _shape(rng: Random) -> Question:
    depth, stage = rng.choice(list(_BLOCKS)), rng.randint(1, 4)
    height, width = (4 * rng.randint(16, 64) for _ in range(2))
    base, expansion = 64 * 2 ** (stage - 1), EXPANSION[_BLOCKS[depth]]
    rows, columns = _sides(height, stage), _sides(width, stage)
    answer = (base * expansion, rows[-1], columns[-1])
    halved = (answer[0], output_size(rows[-1], 3, 2, 1), output_size(columns[-1], 3, 2, 1))
    slips = [(halved, "the first stage keeps the size that the max pooling leaves")]
    if expansion > 1:
        slips.append(((base, *answer[1:]), "a bottleneck puts out four times its channels"))
    floors = (answer[0], height // 2 ** (stage + 1), width // 2 ** (stage + 1))
    slips.append((floors, "half of an odd number of pixels is rounded up"))
    return Question(
        f"An image of {height}×{width} pixels goes through ResNet-{depth}. What shape (channels, height, width) leaves "
        f"stage {stage}?",
        answer,
        "(channels, height, width)",
        [
            f"height: {' → '.join(map(str, rows))}",
            f"width: {' → '.join(map(str, columns))}",
            "(image, first convolution, max pooling, stages; the first stage keeps its size)",
            f"channels: 64·2^{stage - 1} = {base}, times expansion {expansion} = {base * expansion}",
        ],
        slips,
    )


def _receptive_field(rng: Random) -> Question:
    layers = [(rng.choice([1, 3, 3, 5, 7]), rng.choice([1, 1, 2])) for _ in range(rng.randint(2, 5))]
    steps = ["Begin with 1 pixel, and steps of 1 pixel; a stride multiplies the step of all that follow."]
    seen = step = 1
    for kernel, stride in layers:
        wider = seen + (kernel - 1) * step
        steps.append(f"{kernel}×{kernel}, stride {stride}: {seen} + ({kernel} − 1)·{step} = {wider}")
        seen, step = wider, step * stride
    slips = [(1 + sum(kernel - 1 for kernel, _ in layers), "behind a stride, neighbours lie further apart")]
    slips.append((prod(kernel for kernel, _ in layers), "kernels do not multiply: each adds its rim"))
    named = ", ".join(f"{kernel}×{kernel} with stride {stride}" for kernel, stride in layers)
    text = f"Convolutions follow each other: {named}. How wide, in pixels of the image, is the field that one value "
    return Question(f"{text}behind the last of them sees?", seen, "pixels", steps, slips)


def _bottleneck_ratio(rng: Random) -> Question:
    narrow = rng.choice([8, 10, 16, 20, 32, 50, 64])
    channels = narrow * rng.choice([2, 3, 4, 5, 6, 8, 10])
    two, three = 18 * channels**2, 2 * channels * narrow + 9 * narrow**2
    return Question(
        f"Two 3×3 convolutions of {channels} channels stand beside a bottleneck: 1×1 down to {narrow}, 3×3, 1×1 up to "
        f"{channels}. How many times as many weights do the two have (within 5 %; convolutions only)?",
        two / three,
        "times",
        [
            f"two 3×3: 2·9·{channels}·{channels} = {two:,}",
            f"bottleneck: {channels}·{narrow} + 9·{narrow}·{narrow} + {narrow}·{channels} = {three:,}",
            f"{two:,} / {three:,} = {write_number(two / three)}",
        ],
        [
            (two / 2 / three, "there are two 3×3 convolutions"),
            ((channels / narrow) ** 2, "only the 3×3 shrinks on both sides"),
        ],
        tolerance=0.05,
    )


def _activation_memory(rng: Random) -> Question:
    depth, stage, size = rng.choice(list(_BLOCKS)), rng.randint(1, 4), rng.choice([64, 128, 224, 256])
    batch, (dtype, width) = rng.choice([1, 8, 16, 32, 64, 128]), rng.choice([("float32", 4), ("bfloat16", 2)])
    expansion, side = EXPANSION[_BLOCKS[depth]], _sides(size, stage)[-1]
    channels = 64 * 2 ** (stage - 1) * expansion
    values = batch * channels * side**2
    answer = values * width / 2**20
    slips = [(values / 2**20, f"a number in {dtype} takes {width} bytes")]
    slips.append((values * width / 1e6, "a MiB is 2^20 bytes"))
    if expansion > 1:
        slips.append((answer / expansion, "a bottleneck puts out four times its channels"))
    if batch > 1:
        slips.append((answer / batch, "that is for one image"))
    return Question(
        f"How many MiB (2^20 bytes) does the output of one block in stage {stage} of ResNet-{depth} take, for a batch "
        f"of {batch} {'image' if batch == 1 else 'images'} of {size}×{size} pixels in {dtype} (within 5 %)?",
        answer,
        "MiB",
        [
            f"channels: 64·2^{stage - 1}·{expansion} = {channels}",
            f"a side: {size}/{2 ** (stage + 1)} = {side} pixels",
            f"numbers: {batch}·{channels}·{side}·{side} = {values:,}",
            f"bytes: {width} each, {values * width:,}; divided by 2^20: {write_number(answer)} MiB",
        ],
        slips,
        tolerance=0.05,
    )


_KINDS = {
    "convolution": _convolution,
    "block": _block,
    "stage": _stage,
    "multiply-adds": _multiply_adds,
    "shape": _shape,
    "receptive field": _receptive_field,
    "bottleneck ratio": _bottleneck_ratio,
    "activation memory": _activation_memory,
}
KINDS = tuple(_KINDS)


def question(seed: int, kind: str | None = None) -> Question:
    """The question of this seed, of one of the `KINDS`; without ``kind``, of a kind that the seed draws.

    Raises:
        ValueError: a seed that is not a whole number from 0 up, or an unknown kind.
    """
    if not is_whole(seed, 0, inf):
        raise ValueError(f"seed must be a whole number from 0 up, got {seed!r}")
    if kind is None:
        kind = Random(f"kind {seed}").choice(KINDS)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
    return replace(_KINDS[kind](Random(f"{kind} {seed}")), kind=kind)
