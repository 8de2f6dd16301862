"""What the depth explorer shows: every network, shortcut option and input size, counted in closed form.

The page multiplies nothing. What it writes, each line, block, part and sum, stands here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from resnet_course.volumes import draw_network
from resnet_lib import resnet50
from resnet_lib.arithmetic import conv_macs, conv_parameters, output_size

SIZES = {"imagenet": (32, 64, 97, 128, 160, 224, 288, 320), "cifar": (28, 32, 33, 48, 64, 96)}
CLASSES = {"imagenet": 1000, "cifar": 10}
SHORTCUTS = ("none", "A", "B", "C")
USUAL_SIZE = {"imagenet": "224", "cifar": "32"}
START = {"network": "50", "shortcut": "B", "size": "224"}  # what the page opens with
Row = dict[str, Any]

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
    def partner(self) -> str | None:
        """The key of the network of the other block with as many blocks in each stage."""
        same = [n for n in NETWORKS if n.num_blocks == self.num_blocks and n.block != self.block]
        return same[0].key if same else None

    def sides(self, size: int) -> list[int]:
        """Pixels along one side: of the image, behind the first convolution, behind its pooling, and in every stage.

        >>> NETWORKS[0].sides(224), NETWORKS[-1].sides(33)
        ([224, 112, 56, 56, 28, 14, 7], [33, 33, 33, 33, 17, 9])
        """
        result = [size, size, size]
        if self.family == "imagenet":
            result[1] = output_size(size, 7, stride=2, padding=3)
            result[2] = output_size(result[1], 3, stride=2, padding=1)
        for stage in range(len(self.num_blocks)):
            result.append(output_size(result[-1], 3, stride=1 if stage == 0 else 2, padding=1))
        return result


_STAGES = [(2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)]
NETWORKS = [
    *(Network("imagenet", "basic", stages, in_paper=stages in _STAGES[:2]) for stages in _STAGES),
    *(Network("imagenet", "bottleneck", stages, in_paper=stages in _STAGES[1:]) for stages in _STAGES),
    *(Network("cifar", "basic", ((depth - 2) // 6,) * 3) for depth in (20, 32, 44, 56, 110)),
]


@dataclass
class Tables:
    """Lines and blocks, each kept once however many networks share it; others name it by its place."""

    lines: list[Row] = field(default_factory=list)
    blocks: list[Row] = field(default_factory=list)

    def block(self, lines: list[Row], channels: int, side: int | None, path: str | None = None) -> int:
        """The place of a block that puts out so many channels, on ``sides[side]``, which costs what its lines do."""
        block = {
            "lines": [_place(self.lines, line) for line in lines],
            "parameters": sum(line["parameters"] for line in lines),
            "macs": [sum(macs) for macs in zip(*(line["macs"] for line in lines if "macs" in line), strict=True)],
            "channels": channels,
            "side": side,
            "path": path,
        }
        return _place(self.blocks, block)


def _place(rows: list[Row], row: Row) -> int:
    if row not in rows:
        rows.append(row)
    return rows.index(row)


@dataclass(frozen=True)
class Design:
    """A network with one shortcut option, at all of its family's input sizes at once."""

    network: Network
    shortcut: str
    tables: Tables

    def convolution(self, kernel_size: int, in_channels: int, out_channels: int, side: int, role: str = "") -> Row:
        """The line of a convolution that puts out images of ``sides[side]``."""
        sides = [self.network.sides(size)[side] for size in SIZES[self.network.family]]
        return {
            "label": f"{role}{kernel_size}×{kernel_size}, {in_channels:,} → {out_channels:,}",
            "product": f"{kernel_size}·{kernel_size}·{in_channels}·{out_channels}",
            "parameters": conv_parameters(in_channels, out_channels, kernel_size),
            "side": side,
            "macs": [conv_macs(in_channels, out_channels, kernel_size, side**2) for side in sides],
        }

    def stem(self, width: int) -> int:
        kernel_size = 7 if self.network.family == "imagenet" else 3
        return self.tables.block([self.convolution(kernel_size, 3, width, side=1), _batchnorm(width)], width, side=2)

    def head(self, features: int) -> int:
        classes, sizes = CLASSES[self.network.family], SIZES[self.network.family]
        weights = {
            "label": f"linear, {features:,} → {classes:,}",
            "product": f"{features}·{classes}",
            "parameters": features * classes,
            "macs": [features * classes] * len(sizes),
        }
        biases = {"label": "its biases", "product": f"{classes}", "parameters": classes}
        return self.tables.block([weights, biases], classes, side=None)

    def stage_block(self, in_channels: int, channels: int, stage: int, stride: int) -> int:
        """A block of a stage, which works on ``channels``; the first of the stage has the stride."""
        out = 3 + stage
        before = out if stride == 1 else out - 1  # the side of the images that come in
        if self.network.block == "basic":
            shapes = [(3, in_channels, channels, out), (3, channels, channels, out)]
        else:
            shapes = [
                (1, in_channels, channels, before),
                (3, channels, channels, out),
                (1, channels, 4 * channels, out),
            ]
        lines = [self.convolution(*shape) for shape in shapes]
        normalised = [shape[2] for shape in shapes]
        out_channels = normalised[-1]
        changes_shape = stride != 1 or in_channels != out_channels
        path = {"none": None, "A": "zero padding" if changes_shape else "identity", "C": "projection"}
        path["B"] = "projection" if changes_shape else "identity"
        if path[self.shortcut] == "projection":
            lines.append(self.convolution(1, in_channels, out_channels, out, role="shortcut "))
            normalised.append(out_channels)
        lines.append(_batchnorm(*normalised))
        return self.tables.block(lines, out_channels, out, path[self.shortcut])

    def blocks(self) -> Iterator[tuple[str, int, int]]:
        """Each part's name, its block, and how many of it there are."""
        channels = 64 if self.network.family == "imagenet" else 16
        yield "First convolution", self.stem(channels), 1
        in_channels = channels
        for stage, count in enumerate(self.network.num_blocks):
            first = self.stage_block(in_channels, channels, stage, stride=1 if stage == 0 else 2)
            in_channels = self.tables.blocks[first]["channels"]
            other = self.stage_block(in_channels, channels, stage, stride=1)
            if first == other:
                yield f"Stage {stage + 1}, {'both' if count == 2 else f'all {count}'} blocks", other, count
            else:
                yield f"Stage {stage + 1}, first block", first, 1
                others = "other block" if count == 2 else f"other {count - 1} blocks"
                yield f"Stage {stage + 1}, {others}", other, count - 1
            channels *= 2
        yield "Linear layer", self.head(in_channels), 1

    def counted(self) -> dict[str, Any]:
        """Name, block, number, parameters and multiply-adds of each part, and the sums."""
        parts = []
        for name, place, count in self.blocks():
            block = self.tables.blocks[place]
            parts.append([name, place, count, count * block["parameters"], [count * macs for macs in block["macs"]]])
        macs = [sum(at_size) for at_size in zip(*(part[4] for part in parts), strict=True)]
        return {"parts": parts, "parameters": sum(part[3] for part in parts), "macs": macs}


def _batchnorm(*channels: int) -> Row:
    product = f"2·{channels[0]}" if len(channels) == 1 else f"2·({' + '.join(map(str, channels))})"
    return {"label": "BatchNorm", "product": product, "parameters": 2 * sum(channels)}


def data() -> dict[str, Any]:
    """Everything that the page can show."""
    tables = Tables()
    designs = {
        network.key: {shortcut: Design(network, shortcut, tables).counted() for shortcut in SHORTCUTS}
        for network in NETWORKS
    }
    networks = {
        network.key: {
            "family": network.family,
            "block": network.block,
            "depth": network.depth,
            "inPaper": network.in_paper,
            "partner": network.partner,
            "numBlocks": network.num_blocks,
        }
        for network in sorted(NETWORKS, key=lambda network: (network.family != "imagenet", network.depth))
    }
    of_family = {network.family: network for network in NETWORKS}
    return {
        "start": START,
        "sizes": SIZES,
        "usualSize": USUAL_SIZE,
        "sides": {family: [of_family[family].sides(size) for size in SIZES[family]] for family in SIZES},
        "networks": networks,
        "lines": tables.lines,
        "blocks": tables.blocks,
        "designs": designs,
    }


def picture() -> Figure:
    """The network that the page opens with."""
    return draw_network(resnet50(), (3, 224, 224))


def table() -> list[list[str]]:
    """The paper's networks at their own input size, for a page without scripts; the first row is the head."""
    rows = [["Network", "Input", "Blocks", "Parameters", "Multiply-adds"]]
    for network in NETWORKS:
        if network.in_paper:
            shortcut, size = ("A", 32) if network.family == "cifar" else ("B", 224)
            counted = Design(network, shortcut, Tables()).counted()
            macs = counted["macs"][SIZES[network.family].index(size)]
            name = f"ResNet-{network.depth}, option {shortcut}"
            blocks = f"{'-'.join(map(str, network.num_blocks))} {network.block}"
            rows.append([name, f"{size}×{size}", blocks, f"{counted['parameters']:,}", f"{macs:,}"])
    return rows
