"""What the depth explorer shows: every network, shortcut option and input size, counted in closed form.

The page multiplies nothing. What it writes, each line, block, part and sum, stands here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
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


class Counter:
    """Counts a network with one shortcut option, at all of its family's input sizes at once."""

    def __init__(self, network: Network, shortcut: str) -> None:
        self.network, self.shortcut = network, shortcut
        self.sides = [network.sides(size) for size in SIZES[network.family]]

    def convolution(self, kernel_size: int, in_channels: int, out_channels: int, side: int, role: str = "") -> Row:
        """The line of a convolution that puts out images of ``sides[side]``."""
        return {
            "label": f"{role}{kernel_size}×{kernel_size}, {in_channels:,} → {out_channels:,}",
            "product": f"{kernel_size}·{kernel_size}·{in_channels}·{out_channels}",
            "parameters": conv_parameters(in_channels, out_channels, kernel_size),
            "side": side,
            "macs": [conv_macs(in_channels, out_channels, kernel_size, sides[side] ** 2) for sides in self.sides],
        }

    def head(self, features: int, classes: int) -> list[Row]:
        """The lines of the linear layer."""
        product, parameters = f"{features}·{classes}", features * classes
        weights = {"label": f"linear, {features:,} → {classes:,}", "product": product, "parameters": parameters}
        biases = {"label": "its biases", "product": f"{classes}", "parameters": classes}
        return [{**weights, "macs": [parameters] * len(self.sides)}, biases]

    def stage_block(self, in_channels: int, channels: int, stage: int, stride: int) -> Row:
        """A block of a stage, which works on ``channels``; the first of the stage has the stride."""
        out = 3 + stage
        before = out if stride == 1 else out - 1  # the side of the images that come in
        if self.network.block == "basic":
            shapes = [(3, in_channels, channels, out), (3, channels, channels, out)]
        else:
            wide = 4 * channels
            shapes = [(1, in_channels, channels, before), (3, channels, channels, out), (1, channels, wide, out)]
        out_channels = shapes[-1][2]
        changes_shape = stride != 1 or in_channels != out_channels
        path = {"none": None, "A": "zero padding" if changes_shape else "identity", "C": "projection"}
        path["B"] = "projection" if changes_shape else "identity"
        lines = [self.convolution(*shape) for shape in shapes]
        normalised = [shape[2] for shape in shapes]
        if path[self.shortcut] == "projection":
            lines.append(self.convolution(1, in_channels, out_channels, out, role="shortcut "))
            normalised.append(out_channels)
        return _block([*lines, _batchnorm(*normalised)], out_channels, out, path[self.shortcut])

    def parts(self) -> Iterator[tuple[str, Row, int]]:
        """Each part's name, its block, and how many of it there are."""
        channels, kernel_size = (64, 7) if self.network.family == "imagenet" else (16, 3)
        stem = [self.convolution(kernel_size, 3, channels, side=1), _batchnorm(channels)]
        yield "First convolution", _block(stem, channels, side=2), 1
        in_channels = channels
        for stage, count in enumerate(self.network.num_blocks):
            name = f"Stage {stage + 1}, "
            first = self.stage_block(in_channels, channels, stage, stride=1 if stage == 0 else 2)
            in_channels = first["channels"]
            other = self.stage_block(in_channels, channels, stage, stride=1)
            if first == other:
                yield name + ("both blocks" if count == 2 else f"all {count} blocks"), other, count
            else:
                yield f"{name}first block", first, 1
                yield name + ("other block" if count == 2 else f"other {count - 1} blocks"), other, count - 1
            channels *= 2
        classes = CLASSES[self.network.family]
        yield "Linear layer", _block(self.head(in_channels, classes), classes, side=None), 1

    def sums(self) -> dict[str, Any]:
        """Parameters, and multiply-adds at each size."""
        parts = list(self.parts())
        macs = zip(*([count * macs for macs in block["macs"]] for _, block, count in parts), strict=True)
        return {"parameters": sum(count * block["parameters"] for _, block, count in parts), "macs": [*map(sum, macs)]}


def _batchnorm(*channels: int) -> Row:
    product = f"2·{channels[0]}" if len(channels) == 1 else f"2·({' + '.join(map(str, channels))})"
    return {"label": "BatchNorm", "product": product, "parameters": 2 * sum(channels)}


def _block(lines: list[Row], channels: int, side: int | None, path: str | None = None) -> Row:
    """A block that puts out so many channels, on ``sides[side]``, and costs what its lines do."""
    macs = [sum(at_size) for at_size in zip(*(line["macs"] for line in lines if "macs" in line), strict=True)]
    parameters = sum(line["parameters"] for line in lines)
    return {"lines": lines, "parameters": parameters, "macs": macs, "channels": channels, "side": side, "path": path}


def _place(rows: list[Row], row: Row) -> int:
    if row not in rows:
        rows.append(row)
    return rows.index(row)


def data() -> dict[str, Any]:
    """Everything that the page can show; lines and blocks once each, however many networks share them."""
    lines: list[Row] = []
    blocks: list[Row] = []

    def design(network: Network, shortcut: str) -> dict[str, Any]:
        """Name, block, number, parameters and multiply-adds of each part, and the sums."""
        counter, parts = Counter(network, shortcut), []
        for name, block, count in counter.parts():
            place = _place(blocks, {**block, "lines": [_place(lines, line) for line in block["lines"]]})
            macs = [count * macs for macs in block["macs"]]
            parts.append([name, place, count, count * block["parameters"], macs])
        return {"parts": parts, **counter.sums()}

    designs = {network.key: {shortcut: design(network, shortcut) for shortcut in SHORTCUTS} for network in NETWORKS}
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
        "lines": lines,
        "blocks": blocks,
        "designs": designs,
    }


def picture() -> Figure:
    """The network that the page opens with."""
    return draw_network(resnet50(), (3, 224, 224), "224×224 pixels become 7×7, and 3 channels become 2048")


def table() -> list[list[str]]:
    """The paper's networks at their own input size, for a page without scripts; the first row is the head."""
    rows = [["Network", "Input", "Blocks", "Parameters", "Multiply-adds"]]
    for network in NETWORKS:
        if network.in_paper:
            shortcut, size = ("A", 32) if network.family == "cifar" else ("B", 224)
            sums = Counter(network, shortcut).sums()
            macs = sums["macs"][SIZES[network.family].index(size)]
            name = f"ResNet-{network.depth}, option {shortcut}"
            blocks = f"{'-'.join(map(str, network.num_blocks))} {network.block}"
            rows.append([name, f"{size}×{size}", blocks, f"{sums['parameters']:,}", f"{macs:,}"])
    return rows
