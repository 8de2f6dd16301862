"""What a check asks of a whole network: stem, stages, head and the number of its parameters."""

from dataclasses import dataclass
from itertools import chain, pairwise

import torch.nn.functional as F
from torch import Tensor

from resnet_course.checks.blocks import uses_option_a
from resnet_course.checks.paths import Block, Plan, basic_plan, bottleneck_plan, main_path
from resnet_course.checks.report import OPEN, Property
from resnet_course.checks.runs import describe_shape
from resnet_course.checks.trace import Call, Run, close

# Blocks in each stage: He et al. 2016, table 1.
BLOCK_COUNTS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
WIDTHS = (64, 128, 256, 512)


@dataclass
class Network:
    """A network as it ran: its stem, and its blocks stage by stage."""

    label: str
    run: Run
    depth: int
    num_classes: int
    stem: Block | None  # read as a block of one convolution, which has all that is asked of it
    stages: list[list[Block]]
    kernels: list[int]  # of all convolutions behind the stem, shortcuts left out

    @property
    def blocks(self) -> list[Block]:
        return [block for stage in self.stages for block in stage]


def expansion_of(depth: int) -> int:
    return 4 if depth >= 50 else 1


def plan_stages(depth: int) -> list[list[Plan]]:
    """The plan of every block, stage by stage.

    >>> [len(stage) for stage in plan_stages(50)], plan_stages(50)[1][0].channels
    ([3, 4, 6, 3], (256, 128, 128, 512))
    """
    make_plan = bottleneck_plan if depth >= 50 else basic_plan
    stages, in_channels = [], 64
    for width, count in zip(WIDTHS, BLOCK_COUNTS[depth], strict=True):
        stage = []
        for i in range(count):
            stage.append(make_plan(in_channels, width, 2 if i == 0 and width > 64 else 1))
            in_channels = width * expansion_of(depth)
        stages.append(stage)
    return stages


def read_network(run: Run, depth: int, num_classes: int) -> Network:
    """Sort the convolutions that ran into stem and blocks; without blocks if they are not those of this depth."""
    path = main_path(run.calls("conv2d"))
    network = Network(run.label, run, depth, num_classes, None, [[], [], [], []], [call.kernel for call, _ in path[1:]])
    if not path:
        return network
    stem_plan = Plan(kernels=(7,), channels=(3, 64), strides=(2,), projects=False)
    after_stem = path[1][0].came_in if len(path) > 1 else None
    network.stem = Block("the stem", stem_plan, run, [path[0][0]], None, after_stem)
    plans = plan_stages(depth)
    pattern = plans[0][0].kernels
    chunks = [path[i : i + len(pattern)] for i in range(1, len(path), len(pattern))]
    for i, chunk in enumerate(chunks):
        branch = [call for call, _ in chunk]
        stage = _stage_of(branch, len(pattern))
        if stage is None or tuple(call.kernel > 1 for call in branch) != tuple(k > 1 for k in pattern)[: len(branch)]:
            network.stages = [[], [], [], []]
            return network
        blocks = network.stages[stage]
        label = f"stage {stage + 1}, block {len(blocks) + 1}"
        plan = plans[stage][min(len(blocks), 1)]
        out, views = _output_of(run, chunks[i + 1 : i + 2])
        blocks.append(Block(label, plan, run, branch, chunk[0][1], out, views))
    return network


def _stage_of(branch: list[Call], length: int) -> int | None:
    """The stage that the channels of the block's 3×3 convolution belong to."""
    width = branch[min(length - 2, len(branch) - 1)].channels[1]
    return WIDTHS.index(width) if width in WIDTHS else None


def _output_of(run: Run, following: list[list[tuple[Call, Call | None]]]) -> tuple[Tensor | None, tuple[str, ...]]:
    """What a block put out: the input of the block behind it, or what the head made of it."""
    if following:
        return following[0][0][0].came_in, ("as it is",)
    linear = run.calls("linear")
    return (linear[0].came_in.flatten(1) if linear else None), ("average", "maximum", "flattened")


def find_wrong_first_convolution(call: Call, kernel: int, stride: int, side: int) -> str | None:
    if (call.kernel, call.channels[1], call.stride) == (kernel, 64, stride):
        return None
    return (
        f"its convolution is {call.kernel}×{call.kernel}, to {call.channels[1]} channels, with stride {call.stride}; "
        f"for images of {side}×{side} it should be {kernel}×{kernel}, to 64 channels, with stride {stride} and "
        f"padding {kernel // 2}"
    )


def find_wrong_stem(network: Network) -> str | None:
    if network.stem is None:
        return OPEN
    call = network.stem.branch[0]
    wrong = find_wrong_first_convolution(call, kernel=7, stride=2, side=224)
    if wrong:
        return wrong
    value, out = network.stem.value_after(call), network.stem.out
    if value is None or out is None:
        return OPEN
    if network.stem.norm_after(call) is None:
        return "no BatchNorm follows the first convolution"
    pooled = F.max_pool2d(value, kernel_size=3, stride=2, padding=1)
    if close(out, F.relu(pooled)):
        return None
    if close(out, F.relu(value)) or close(out, value):
        return "the max pooling is missing: 3×3 with stride 2 and padding 1, behind the ReLU"
    if close(out, pooled):
        return "the ReLU between BatchNorm and max pooling is missing"
    return (
        f"the first block gets {describe_shape(out.shape)}, and not what convolution, BatchNorm, ReLU and a 3×3 max "
        f"pooling with stride 2 and padding 1 make: {describe_shape(pooled.shape)}"
    )


def find_wrong_counts(network: Network) -> str | None:
    wanted = list(BLOCK_COUNTS[network.depth])
    counts = [len(stage) for stage in network.stages]
    if counts == wanted:
        return None
    if any(counts):
        if network.run.error:
            return OPEN
        return f"the stages have {counts} blocks; ResNet-{network.depth} has {wanted}"
    if network.run.error and not network.kernels:
        return OPEN
    kinds = "bottlenecks, 1×1, 3×3 and 1×1" if network.depth >= 50 else "basic blocks, 3×3 and 3×3"
    got = ", ".join(f"{kernel}×{kernel}" for kernel in network.kernels[:6])
    return (
        f"ResNet-{network.depth} is built of {kinds}, of 64, 128, 256 and 512 channels; the convolutions behind the "
        f"stem are {got or 'missing'}"
    )


def find_wrong_total(network: Network) -> str | None:
    run = network.run
    if run.module is None:
        return OPEN
    biases = {id(call.bias): call.bias.numel() for call in run.calls("conv2d") if call.bias is not None}
    found = sum(parameter.numel() for parameter in run.module.parameters()) - sum(biases.values())
    wanted = count_parameters(network)
    if found == wanted:
        return None
    return f"{found:,} parameters instead of {wanted:,} ({found - wanted:+,}), not counting biases of convolutions"


def count_parameters(network: Network) -> int:
    """What the network should have, without biases, and without the projections that option A stands in for."""
    total = 3 * 64 * 7 * 7 + 2 * 64
    option_a = any(map(uses_option_a, network.blocks))
    for plan in chain.from_iterable(plan_stages(network.depth)):
        layers = [(kernel, *channels) for kernel, channels in zip(plan.kernels, pairwise(plan.channels), strict=True)]
        if plan.projects and not option_a:
            layers.append((1, plan.channels[0], plan.channels[-1]))
        total += sum(kernel * kernel * before * after + 2 * after for kernel, before, after in layers)
    return total + (512 * expansion_of(network.depth) + 1) * network.num_classes


def find_wrong_head(network: Network) -> str | None:
    linear = network.run.calls("linear")
    if not linear:
        return OPEN if network.run.error else "no linear layer runs: the head is nn.Linear, behind the pooling"
    if len(linear) > 1:
        return f"{len(linear)} linear layers run: ResNet's head has one"
    features, classes = linear[0].channels
    wanted = 512 * expansion_of(network.depth)
    arrived = linear[0].came_in
    if arrived.dim() != 2:
        return f"the linear layer gets shape {tuple(arrived.shape)}: flatten it to (N, {wanted}) after the pooling"
    if network.blocks and arrived.shape[1] in (4 * wanted, 49 * wanted):  # 2×2 or 7×7 pixels
        return (
            f"the linear layer gets {arrived.shape[1]} features, an image flattened without pooling: average over "
            f"height and width first, which leaves {wanted}"
        )
    if features != wanted:
        hint = ", that is 512 · expansion" if network.depth >= 50 else ""
        return f"the linear layer takes {features} features, and the last stage puts out {wanted}{hint}"
    if classes != network.num_classes:
        return f"the linear layer puts out {classes} classes instead of {network.num_classes}: look at num_classes"
    out, logits = network.run.out, linear[0].went_out
    if out is None:
        return OPEN
    if not close(out, logits):
        return _name_last_activation(out, logits)
    last = network.blocks[-1] if network.blocks else None
    if last is not None and last.join is not None and last.join.view == "maximum":
        return "the pooling before the linear layer takes the maximum: take the average over height and width"
    return None


def _name_last_activation(out: Tensor, logits: Tensor) -> str:
    activations = {
        "softmax": logits.softmax(1),
        "log_softmax": logits.log_softmax(1),
        "sigmoid": logits.sigmoid(),
        "ReLU": F.relu(logits),
    }
    name = next((name for name, value in activations.items() if close(out, value)), "something")
    why = "cross_entropy applies softmax itself and expects" if "softmax" in name else "the loss expects"
    return f"{name} follows the linear layer: {why} its output as it is"


HEAD_PROPERTIES = [
    Property("stem", "7×7 convolution with stride 2, BatchNorm, ReLU, 3×3 max pooling with stride 2", find_wrong_stem),
    Property("blocks in each stage", "as the depth asks", find_wrong_counts),
    Property("parameters", "as many as the paper's network has", find_wrong_total),
    Property("head", "average over height and width, then one linear layer", find_wrong_head),
]
