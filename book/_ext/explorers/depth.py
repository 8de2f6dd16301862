"""What the depth explorer shows: every network, shortcut option and input size, counted in closed form.

The page multiplies nothing. What it writes, each line, block, part and sum, stands here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from resnet_course.volumes import draw_network
from resnet_lib import resnet50
from resnet_lib.arithmetic import (
    Cost,
    basic_block_cost,
    bottleneck_cost,
    conv_batchnorm_cost,
    conv_macs,
    conv_parameters,
    linear_parameters,
    output_size,
    shortcut_cost,
)

SIZES = {"imagenet": (32, 64, 97, 128, 160, 224, 288, 320), "cifar": (28, 32, 33, 48, 64, 96)}
CLASSES = {"imagenet": 1000, "cifar": 10}
SHORTCUTS = ("none", "A", "B", "C")
USUAL_SIZE = {"imagenet": "224", "cifar": "32"}
START = {"network": "50", "shortcut": "B", "size": "224"}  # what the page opens with

PICTURE_TEXT = (
    "ResNet-50 as a row of volumes, to scale. An image of 224×224 pixels and 3 channels becomes 112×112, 56×56, 28×28, "
    "14×14 and at last 7×7 pixels with 2,048 channels; an arc over each of its 16 blocks is a shortcut."
)


@dataclass(frozen=True)
class Network:
    """A depth that can be chosen."""

    family: str  # "imagenet" or "cifar"
    block: str  # "basic" or "bottleneck"
    num_blocks: tuple[int, ...]  # of each stage
    in_paper: bool = True

    @property
    def depth(self) -> int:
        """Weight layers: those of the blocks, the first convolution and the linear layer.

        >>> Network("imagenet", "bottleneck", (3, 4, 6, 3)).depth
        50
        """
        return sum(self.num_blocks) * (3 if self.block == "bottleneck" else 2) + 2

    @property
    def key(self) -> str:
        """Its name in the page's address."""
        return f"{'cifar' if self.family == 'cifar' else ''}{self.depth}"

    @property
    def width(self) -> int:
        """Channels of the first convolution."""
        return 16 if self.family == "cifar" else 64

    @property
    def expansion(self) -> int:
        """Channels that a block puts out, as a multiple of those that it works with."""
        return 4 if self.block == "bottleneck" else 1


_STAGES = [(2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)]
NETWORKS = [
    *(Network("imagenet", "basic", stages, in_paper=stages in _STAGES[:2]) for stages in _STAGES),
    *(Network("imagenet", "bottleneck", stages, in_paper=stages in _STAGES[1:]) for stages in _STAGES),
    *(Network("cifar", "basic", ((depth - 2) // 6,) * 3) for depth in (20, 32, 44, 56, 110)),
]


def sides(network: Network, size: int) -> list[int]:
    """Pixels along one side: of the image, behind the first convolution, behind its pooling, and in every stage.

    >>> sides(NETWORKS[0], 224), sides(NETWORKS[-1], 33)
    ([224, 112, 56, 56, 28, 14, 7], [33, 33, 33, 33, 17, 9])
    """
    result = [size, size, size]
    if network.family == "imagenet":
        result[1] = output_size(size, 7, stride=2, padding=3)
        result[2] = output_size(result[1], 3, stride=2, padding=1)
    for stage in range(len(network.num_blocks)):
        result.append(output_size(result[-1], 3, stride=1 if stage == 0 else 2, padding=1))
    return result


class Tables:
    """Lines and blocks, each kept once however many networks share it; others name it by its place."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {"lines": [], "blocks": []}
        self._places: dict[tuple[str, str], int] = {}

    def place(self, table: str, row: dict[str, Any]) -> int:
        """Where a row stands, which is added if it is new."""
        rows = self.rows[table]
        place = self._places.setdefault((table, repr(row)), len(rows))
        if place == len(rows):
            rows.append(row)
        return place


class Counter:
    """Counts one network with one shortcut option, at all of its family's input sizes at once."""

    def __init__(self, network: Network, shortcut: str, tables: Tables) -> None:
        self.network, self.shortcut, self.tables = network, shortcut, tables
        self.sizes = SIZES[network.family]
        self.sides = [sides(network, size) for size in self.sizes]

    def at_all_sizes(self, count: Callable[[list[int]], Any]) -> list[Any]:
        """What a function of the network's sides gives at each input size."""
        return [count(sides_here) for sides_here in self.sides]

    def convolution(self, kernel_size: int, in_channels: int, out_channels: int, side: int, role: str = "") -> int:
        """The line of a convolution that puts out images of ``sides[side]``."""
        line = {
            "label": f"{role}{kernel_size}×{kernel_size}, {in_channels:,} → {out_channels:,}",
            "product": f"{kernel_size}·{kernel_size}·{in_channels}·{out_channels}",
            "parameters": conv_parameters(in_channels, out_channels, kernel_size),
            "side": side,
            "macs": self.at_all_sizes(lambda s: conv_macs(in_channels, out_channels, kernel_size, s[side] ** 2)),
        }
        return self.tables.place("lines", line)

    def free_line(self, label: str, product: str, parameters: int) -> int:
        """The line of parameters that cost no multiply-adds."""
        return self.tables.place("lines", {"label": label, "product": product, "parameters": parameters})

    def stem(self) -> tuple[int, list[Cost]]:
        kernel_size, width = (7 if self.network.family == "imagenet" else 3), self.network.width
        lines = [self.convolution(kernel_size, 3, width, side=1), self._batchnorm(width)]
        costs = self.at_all_sizes(lambda s: conv_batchnorm_cost(3, width, kernel_size, s[1]))
        return self._block(lines, costs, width, side=2), costs

    def head(self) -> tuple[int, list[Cost]]:
        features = self.network.width * 2 ** (len(self.network.num_blocks) - 1) * self.network.expansion
        classes = CLASSES[self.network.family]
        weights = {
            "label": f"linear, {features:,} → {classes:,}",
            "product": f"{features}·{classes}",
            "parameters": features * classes,
            "macs": [features * classes] * len(self.sizes),
        }
        lines = [self.tables.place("lines", weights), self.free_line("its biases", f"{classes}", classes)]
        costs = [Cost(linear_parameters(features, classes), features * classes)] * len(self.sizes)
        return self._block(lines, costs, classes, side=None), costs

    def stage_block(self, in_channels: int, channels: int, stage: int, stride: int) -> tuple[int, list[Cost]]:
        """A block of a stage, which works on ``channels``; the first of the stage has the stride."""
        out_channels = channels * self.network.expansion
        out = 3 + stage
        before = out if stride == 1 else out - 1  # the side of the images that come in
        if self.network.block == "basic":
            convolutions = [(3, in_channels, channels, out), (3, channels, channels, out)]
            cost_of = basic_block_cost
        else:
            convolutions = [
                (1, in_channels, channels, before),
                (3, channels, channels, out),
                (1, channels, out_channels, out),
            ]
            cost_of = bottleneck_cost
        lines = [self.convolution(*convolution) for convolution in convolutions]
        normalised = [convolution[2] for convolution in convolutions]
        if shortcut_cost(self.shortcut, in_channels, out_channels, 1, stride, bias=False).parameters:
            lines.append(self.convolution(1, in_channels, out_channels, out, role="shortcut "))
            normalised.append(out_channels)
            path = "projection"
        elif self.shortcut == "none":
            path = None
        else:
            path = "identity" if stride == 1 and in_channels == out_channels else "zero padding"
        lines.append(self._batchnorm(*normalised))
        costs = self.at_all_sizes(lambda s: cost_of(in_channels, channels, s[before], stride, self.shortcut))
        return self._block(lines, costs, out_channels, out, path), costs

    def _batchnorm(self, *channels: int) -> int:
        product = f"2·{channels[0]}" if len(channels) == 1 else f"2·({' + '.join(map(str, channels))})"
        return self.free_line("BatchNorm", product, 2 * sum(channels))

    def _block(self, lines: list[int], costs: list[Cost], channels: int, side: int | None, path: Any = None) -> int:
        block = {
            "lines": lines,
            "parameters": costs[0].parameters,
            "macs": [cost.macs for cost in costs],
            "channels": channels,
            "side": side,
            "path": path,
        }
        return self.tables.place("blocks", block)

    def parts(self) -> Iterator[tuple[str, int, int, list[Cost]]]:
        """Each part's name, its block, how many of it there are, and what they cost together at each size."""
        yield ("First convolution", *_times(1, self.stem()))
        in_channels, channels = self.network.width, self.network.width
        for stage, count in enumerate(self.network.num_blocks):
            first = self.stage_block(in_channels, channels, stage, stride=1 if stage == 0 else 2)
            in_channels = channels * self.network.expansion
            other = self.stage_block(in_channels, channels, stage, stride=1)
            if first == other:
                yield (f"Stage {stage + 1}, {'both' if count == 2 else f'all {count}'} blocks", *_times(count, other))
            else:
                yield (f"Stage {stage + 1}, first block", *_times(1, first))
                others = "other block" if count == 2 else f"other {count - 1} blocks"
                yield (f"Stage {stage + 1}, {others}", *_times(count - 1, other))
            channels *= 2
        yield ("Linear layer", *_times(1, self.head()))

    def design(self) -> dict[str, Any]:
        """The parts and their sums."""
        parts = list(self.parts())
        sums = [sum(costs, Cost()) for costs in zip(*(part[3] for part in parts), strict=True)]
        return {
            "parts": [
                [name, block, count, costs[0].parameters, [cost.macs for cost in costs]]
                for name, block, count, costs in parts
            ],
            "parameters": sums[0].parameters,
            "macs": [cost.macs for cost in sums],
        }


def _times(count: int, block: tuple[int, list[Cost]]) -> tuple[int, int, list[Cost]]:
    place, costs = block
    return place, count, [count * cost for cost in costs]


def data() -> dict[str, Any]:
    """Everything that the page can show."""
    tables = Tables()
    designs = {
        network.key: {shortcut: Counter(network, shortcut, tables).design() for shortcut in SHORTCUTS}
        for network in NETWORKS
    }
    networks = {
        network.key: {
            "family": network.family,
            "block": network.block,
            "depth": network.depth,
            "inPaper": network.in_paper,
            "partner": _partner(network),
            "numBlocks": network.num_blocks,
        }
        for network in sorted(NETWORKS, key=lambda network: (network.family != "imagenet", network.depth))
    }
    of_family = {network.family: network for network in NETWORKS}
    return {
        "start": START,
        "sizes": SIZES,
        "usualSize": USUAL_SIZE,
        "sides": {family: [sides(of_family[family], size) for size in SIZES[family]] for family in SIZES},
        "networks": networks,
        **tables.rows,
        "designs": designs,
    }


def _partner(network: Network) -> str | None:
    """The network of the other block with as many blocks in each stage."""
    partners = [n for n in NETWORKS if n.num_blocks == network.num_blocks and n.block != network.block]
    return partners[0].key if partners else None


def picture() -> Figure:
    """The network that the page opens with."""
    return draw_network(resnet50(), (3, 224, 224))


def table() -> list[list[str]]:
    """The paper's networks at their own input size, for a page without scripts; the first row is the head."""
    rows = [["Network", "Input", "Blocks", "Parameters", "Multiply-adds"]]
    for network in NETWORKS:
        if network.in_paper:
            shortcut, size = ("A", 32) if network.family == "cifar" else ("B", 224)
            counted = Counter(network, shortcut, Tables()).design()
            macs = counted["macs"][SIZES[network.family].index(size)]
            name = f"ResNet-{network.depth}, option {shortcut}"
            blocks = f"{'-'.join(map(str, network.num_blocks))} {network.block}"
            rows.append([name, f"{size}×{size}", blocks, f"{counted['parameters']:,}", f"{macs:,}"])
    return rows
