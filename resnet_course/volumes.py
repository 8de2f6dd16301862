"""A network as the volumes that an image turns into on its way: channels × height × width after every operation.

The pictures are to scale. Height is pixels, thickness is channels, and both scales stand in the picture. The images'
width recedes into the depth, foreshortened. A shortcut is an arc to the volume that it is added into.

Source: He, Zhang, Ren, Sun 2016, https://arxiv.org/abs/1512.03385, figure 3, which draws ResNet-34 as a list of layers,
with another line where a shortcut increases the channels.
"""

import math
from dataclasses import dataclass, replace
from itertools import chain, groupby

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Polygon, Rectangle
from matplotlib.path import Path
from torch import nn

from resnet_lib.arithmetic import layer_table
from resnet_lib.blocks import BasicBlock, Bottleneck, ZeroPadShortcut
from resnet_lib.figures import RESIDUAL
from resnet_lib.orderings import OrderedBlock

Block = BasicBlock | Bottleneck | OrderedBlock
KEEP_SHAPE = ("BatchNorm2d", "ReLU", "Identity", "Sequential")  # the last without anything in it
LINE_STYLES = {"identity": "-", "projection": (0, (3, 1.5)), "zero padding": (0, (1, 1))}


@dataclass(frozen=True)
class Volume:
    """What one operation puts out, and the shortcut that is added into it, if any."""

    name: str  # the operation's, such as "maxpool", or the block's, such as "layer1.0"
    shape: tuple[int, ...]  # (channels, height, width), or (channels,) behind the pooling of the head
    shortcut: str | None = None  # "identity", "projection", "zero padding", or None where nothing is added
    reach: int = 1  # how many volumes back the shortcut begins

    @property
    def stage(self) -> str:
        """The part of the network that the volume belongs to: "layer1" for the block "layer1.0"."""
        return self.name.partition(".")[0]

    @property
    def values(self) -> int:
        """How many numbers the volume holds."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return "×".join(map(str, self.shape))


def _shortcut_of(block: Block) -> str | None:
    """What a block's shortcut does with its input, a key of `LINE_STYLES`; None without one."""
    shortcut = block.shortcut if isinstance(block, OrderedBlock) else block.downsample
    if isinstance(shortcut, ZeroPadShortcut) and (shortcut.stride > 1 or shortcut.behind > 0):
        return "zero padding"
    kinds = {type(None): None, nn.Identity: "identity", ZeroPadShortcut: "identity"}
    return kinds.get(type(shortcut), "projection")


def trace_network(model: nn.Module, input_size: tuple[int, int, int]) -> list[Volume]:
    """The volumes in a network of the library for one image of (channels, height, width), in order of execution.

    A block is one volume, and so is any other part that does more than normalise and activate. The mean over all
    pixels, which the networks compute without a module, is what comes into the head. A network without the library's
    blocks is a TypeError, and a size that it can't take a ValueError.

    >>> from resnet_lib import resnet18
    >>> [f"{volume.name} {volume}" for volume in trace_network(resnet18(), (3, 224, 224))][:3]
    ['input 3×224×224', 'conv1 64×112×112', 'maxpool 64×56×56']
    """
    blocks = {name: module for name, module in model.named_modules() if isinstance(module, Block)}
    if not blocks:
        raise TypeError(f"model must be a network of resnet_lib's blocks, got {type(model).__name__}")
    volumes = [Volume("input", tuple(input_size))]
    for layer in layer_table(model, input_size).layers:
        name = ".".join(layer.name.split(".")[:2])
        if name not in blocks:
            if layer.kind in KEEP_SHAPE and layer.output_shape == volumes[-1].shape:
                continue
            name = layer.name.partition(".")[0]
        if len(layer.output_shape) < len(volumes[-1].shape):
            volumes.append(Volume("mean", volumes[-1].shape[:1]))
        if volumes[-1].name != name:
            volumes.append(Volume(name, (), _shortcut_of(blocks[name]) if name in blocks else None))
        volumes[-1] = replace(volumes[-1], shape=layer.output_shape)  # in the end, that of the part's last layer
    return volumes


def trace_block(block: BasicBlock | Bottleneck, input_size: tuple[int, int, int]) -> list[Volume]:
    """The volumes inside one block: its input and the output of each convolution, the last with the shortcut added.

    >>> [str(volume) for volume in trace_block(Bottleneck(256, 64), (256, 56, 56))]
    ['256×56×56', '64×56×56', '64×56×56', '256×56×56']
    """
    layers = layer_table(block, input_size).layers
    branch = [Volume(layer.name, layer.output_shape) for layer in layers if layer.name.startswith("conv")]
    branch[-1] = replace(branch[-1], shortcut=_shortcut_of(block), reach=len(branch))
    return [Volume("input", tuple(input_size)), *branch]


def draw_network(
    model: nn.Module, input_size: tuple[int, int, int], title: str, like: nn.Module | None = None
) -> Figure:
    """Draw what `trace_network` finds, at the scale that fits it, or fits ``like``, so that two pictures compare.

    >>> from resnet_lib import cifar_resnet
    >>> figure = draw_network(cifar_resnet(20), (3, 32, 32), "32×32 pixels become 8×8")
    """
    return draw_volumes(trace_network(model, input_size), title, trace_network(like, input_size) if like else None)


def draw_stages(model: nn.Module, input_size: tuple[int, int, int], title: str) -> Figure:
    """Draw a whole network narrow enough for a phone: a line for each operation, a row of blocks for each stage."""
    figure, axes = plt.subplots(figsize=(3.5, 5.6), layout="none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, 3.5), ylim=(-5.6, 0))
    axes.axis("off")
    axes.text(0.1, -0.2, title, weight="bold", size=10, va="center")
    volumes = trace_network(model, input_size)
    stages = [list(members) for _, members in groupby(volumes, key=lambda volume: volume.stage)]
    y, step, ink = -0.55, 3.2 / max(map(len, stages)), {"color": plt.rcParams["text.color"], "lw": 1}
    for stage in stages:
        axes.text(0.1, y, _in_words(stage, model), va="center", size=9)
        axes.text(3.4, y, str(stage[-1]), va="center", ha="right", size=9)
        blocks = [volume for volume in stage if volume.shortcut]
        for i, block in enumerate(blocks):
            x, line = 0.15 + i * step, y - 0.5
            axes.plot([x, x + step], [line, line], **ink)
            box = Rectangle((x + 0.2 * step, line - 0.1), 0.6 * step, 0.2, facecolor=_shade(0.22), zorder=3)
            box.set(edgecolor=_shade(0.8), label=f"box of {block.name}")
            axes.add_patch(box)
            _draw_arc(axes, (x + 0.05 * step, line), (x + 0.95 * step, line), block)
        y -= 0.85 if blocks else 0.35
    return figure


def _in_words(stage: list[Volume], model: nn.Module) -> str:
    """What happens in a part of the network: the operation, or the name of the stage and its number of blocks."""
    module = getattr(model, stage[0].name, None)
    if isinstance(module, nn.Conv2d | nn.MaxPool2d):
        kernel, stride = (size if isinstance(size, int) else size[0] for size in (module.kernel_size, module.stride))
        kind = "convolution" if isinstance(module, nn.Conv2d) else "max pooling"
        return f"{kernel}×{kernel} {kind}, stride {stride}"
    words = {"input": "image", "mean": "mean of each channel", "fc": "linear layer"}
    return words.get(stage[0].name, f"{stage[0].stage}: {_count(len(stage), 'block')}")


# The picture is laid out in inches, so sizes below are sizes on the page.
PAGE = (6.8, 3.6)  # as wide as the book's text
MARGIN, FLOOR, KEY_LINE = 0.1, 0.62, 3.08  # the key to lines and scales stands in one line under the title
TALLEST, WIDEST = 1.85, 0.6  # of all volumes: the height, depth included, and the front's thickness
RIGHT, UP = 0.3, 0.2  # how far an inch of an image's width recedes
STAGE_GAP, LETTER, FONT_SIZE = 0.08, 0.073, 7.5


@dataclass(frozen=True)
class Scales:
    """Inches a pixel and inches a channel, and the gap between the volumes of a stage in inches."""

    pixel: float
    channel: float
    gap: float

    def box(self, volume: Volume) -> tuple[float, float, float]:
        """Thickness, height and width of a volume in inches."""
        channels, height, width = (*volume.shape, 1, 1)[:3]  # a vector has one pixel
        return channels * self.channel, height * self.pixel, width * self.pixel

    def widths(self, stage: list[Volume]) -> tuple[float, float]:
        """Of a stage on the page: as it is drawn, and with its label."""
        fronts = sum(self.box(volume)[0] for volume in stage)
        drawn = fronts + self.gap * (len(stage) - 1) + RIGHT * self.box(stage[-1])[2]
        return drawn, max(drawn, LETTER * max(map(len, _label_lines(stage))))


def draw_volumes(volumes: list[Volume], title: str, like: list[Volume] | None = None) -> Figure:
    """Draw volumes in a row: an arc for every shortcut, a label for every stage, a key to the lines and the scales.

    The scales are the largest at which the volumes fit on the page, or those at which ``like`` does.
    """
    stages = [list(members) for _, members in groupby(volumes, key=lambda volume: volume.stage)]
    scales = _fit_scales([list(members) for _, members in groupby(like or volumes, key=lambda volume: volume.stage)])
    figure = plt.figure(figsize=PAGE, layout="constrained")
    figure.set_layout_engine("none")  # layout="none" above would be forgotten after the first savefig
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, PAGE[0]), ylim=(0, PAGE[1]))
    axes.axis("off")
    figure.suptitle(title, x=MARGIN / PAGE[0], y=0.98, ha="left", size=plt.rcParams["axes.titlesize"], weight="bold")
    x, tops = MARGIN, []  # what the largest scales that fit still leave goes between the stages
    gap = (PAGE[0] - 2 * MARGIN - sum(scales.widths(stage)[1] for stage in stages)) / max(1, len(stages) - 1)
    for stage in stages:
        drawn, room = scales.widths(stage)
        left = x + (room - drawn) / 2
        for volume in stage:
            tops.append(_draw_volume(axes, left, volume, scales))
            left += scales.box(volume)[0] + scales.gap
        axes.text(x + room / 2, FLOOR - 0.08, "\n".join(_label_lines(stage)), ha="center", va="top", size=FONT_SIZE)
        x += room + gap
    for i, volume in enumerate(volumes):
        if volume.shortcut:
            _draw_arc(axes, tops[i - volume.reach], tops[i], volume)
    _draw_key(axes, [volume.shortcut for volume in volumes], scales)
    return figure


def _fit_scales(stages: list[list[Volume]]) -> Scales:
    """The largest scales at which everything fits on the page."""
    volumes = list(chain.from_iterable(stages))
    height, width = (max(sides) for sides in zip(*(v.shape[1:] or (1, 1) for v in volumes), strict=True))
    pixel = min(TALLEST / (height + UP * width), WIDEST / (RIGHT * width))
    space = PAGE[0] - 2 * MARGIN - STAGE_GAP * (len(stages) - 1)
    gap, channel = min(0.1, 1.3 / len(volumes)), WIDEST / max(volume.shape[0] for volume in volumes)
    steps = [Scales(pixel, 0.98**step * channel, gap) for step in range(300)]
    return next((step for step in steps if sum(step.widths(stage)[1] for stage in stages) <= space), steps[-1])


def _label_lines(stage: list[Volume]) -> list[str]:
    """The stage's name, its shape, and how many blocks it has."""
    last = stage[-1]
    return [last.stage, str(last), *([_count(len(stage), "block")] if "." in last.name else [])]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _shade(share: float) -> tuple[float, ...]:
    """The paper with a share of the ink mixed in, so that the drawing fits a light page and a dark one."""
    paper, ink = (to_rgb(plt.rcParams[name]) for name in ("figure.facecolor", "text.color"))
    return tuple((1 - share) * p + share * i for p, i in zip(paper, ink, strict=True))


def _draw_volume(axes: Axes, left: float, volume: Volume, scales: Scales) -> tuple[float, float]:
    """Draw the three faces that one sees, and return the middle of the upper one."""
    thickness, height, width = scales.box(volume)
    end, top, right, up = left + thickness, FLOOR + height, RIGHT * width, UP * width
    front = [(left, FLOOR), (end, FLOOR), (end, top), (left, top)]
    side = [(end, FLOOR), (end + right, FLOOR + up), (end + right, top + up), (end, top)]
    above = [(left, top), (end, top), (end + right, top + up), (left + right, top + up)]
    for face, corners, share in (("side", side, 0.42), ("top", above, 0.1), ("front", front, 0.22)):
        label = f"{face} of {volume.name}"  # painted over the volumes on the left, which stand behind
        axes.add_patch(Polygon(corners, facecolor=_shade(share), edgecolor=_shade(0.8), lw=0.4, label=label))
    return left + (thickness + right) / 2, top + up / 2


def _draw_arc(axes: Axes, start: tuple[float, float], end: tuple[float, float], volume: Volume) -> None:
    """A curve from the volume where a shortcut begins, over the block, to the volume that it is added into."""
    rise = max(start[1], end[1]) + min(0.5, max(0.16, 0.6 * (end[0] - start[0])))
    path = Path([start, (start[0], rise), (end[0], rise), end], [Path.MOVETO] + 3 * [Path.CURVE4])
    style, label = LINE_STYLES[volume.shortcut], f"{volume.shortcut} to {volume.name}"
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=RESIDUAL, lw=1.3, linestyle=style, label=label))


def _draw_key(axes: Axes, shortcuts: list[str | None], scales: Scales) -> None:
    """One line: each kind of shortcut and how many there are, then how long pixels and channels are drawn."""

    def write(x: float, text: str) -> float:
        axes.text(x, KEY_LINE, text, va="center", size=FONT_SIZE + 1.5)
        return x + (len(text) + 2) * LETTER  # where the next entry begins

    x = write(MARGIN, "Shortcuts:" if any(shortcuts) else "Shortcuts: none")
    for kind in [kind for kind in LINE_STYLES if kind in shortcuts]:
        axes.plot([x, x + 0.36], [KEY_LINE] * 2, color=RESIDUAL, lw=1.3, linestyle=LINE_STYLES[kind])
        x = write(x + 0.43, f"{kind} ({shortcuts.count(kind)})")
    # The largest powers of two up to a length that stands well in the line, and 1 at least.
    pixels, channels = (2 ** max(0, int(n).bit_length() - 1) for n in (0.3 / scales.pixel, 0.4 / scales.channel))
    bar, half = channels * scales.channel, pixels * scales.pixel / 2
    ink = {"color": plt.rcParams["text.color"], "lw": 1.3, "markersize": 5}
    axes.plot([x, x], [KEY_LINE - half, KEY_LINE + half], marker="_", label="scale of pixels", **ink)
    x = write(x + 0.1, _count(pixels, "pixel"))
    axes.plot([x, x + bar], [KEY_LINE] * 2, marker="|", label="scale of channels", **ink)
    write(x + bar + 0.1, _count(channels, "channel"))
