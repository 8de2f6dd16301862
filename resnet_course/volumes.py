"""A network as the volumes that an image turns into on its way: channels × height × width after every operation.

The pictures are to scale. Height is pixels, thickness is channels, and both scales stand in the picture. The images'
width recedes into the depth, foreshortened. A volume stands on the floor line, and a shortcut is an arc to the volume
that it is added into.

Sources
-------
He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385.
    Figure 3 draws ResNet-34 as a list of layers, with another line where a shortcut increases the channels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Polygon
from matplotlib.path import Path
from torch import nn

from resnet_lib.arithmetic import layer_table
from resnet_lib.blocks import BasicBlock, Bottleneck, ZeroPadShortcut
from resnet_lib.figures import RESIDUAL

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
    def pixels(self) -> tuple[int, int]:
        """Height and width; a vector has one pixel."""
        return self.shape[1:] or (1, 1)

    @property
    def values(self) -> int:
        """How many numbers the volume holds.

        >>> Volume("conv1", (64, 112, 112)).values
        802816
        """
        return math.prod(self.shape)

    def __str__(self) -> str:
        return "×".join(map(str, self.shape))


def shortcut_kind(block: BasicBlock | Bottleneck) -> str | None:
    """What a block's shortcut does with its input: "identity", "projection" or "zero padding"; None without one.

    >>> shortcut_kind(BasicBlock(64, 128, stride=2, shortcut="A"))
    'zero padding'
    """
    if block.downsample is None:
        return None
    kinds = {nn.Identity: "identity", ZeroPadShortcut: "zero padding"}
    return kinds.get(type(block.downsample), "projection")


def trace_network(model: nn.Module, input_size: tuple[int, int, int]) -> list[Volume]:
    """The volumes in a network of this library for one image of (channels, height, width), in order of execution.

    A convolution counts together with its BatchNorm and ReLU, which keep the shape. The mean over all pixels, which
    the networks compute without a module, is what comes into the linear layer.

    Raises:
        TypeError, ValueError: a model that is no network of this library, or a size that it can't take.

    >>> from resnet_lib import resnet18
    >>> for volume in trace_network(resnet18(), (3, 224, 224))[:4]:
    ...     print(volume.name, volume, volume.shortcut)
    input 3×224×224 None
    conv1 64×112×112 None
    maxpool 64×56×56 None
    layer1.0 64×56×56 identity
    """
    blocks, layers = _blocks_by_name(model), layer_table(model, input_size).layers
    volumes = [Volume("input", tuple(input_size))]
    for layer in layers:
        name = ".".join(layer.name.split(".")[:2])
        if name in blocks:
            if volumes[-1].name != name:
                volumes.append(Volume(name, layer.output_shape, shortcut_kind(blocks[name])))
            volumes[-1] = replace(volumes[-1], shape=layer.output_shape)  # in the end, that of the block's last layer
        elif layer.kind == "Linear":
            in_features = model.get_submodule(layer.name).in_features
            volumes += [Volume("mean", (in_features,)), Volume(layer.name, layer.output_shape)]
        elif layer.kind not in ("BatchNorm2d", "ReLU"):
            volumes.append(Volume(layer.name, layer.output_shape))
    return volumes


def _blocks_by_name(model: nn.Module) -> dict[str, BasicBlock | Bottleneck]:
    children = model.named_children() if isinstance(model, nn.Module) else []
    stages = {name: stage for name, stage in children if isinstance(stage, nn.Sequential)}
    blocks = {f"{name}.{i}": block for name, stage in stages.items() for i, block in enumerate(stage)}
    if not blocks or not all(isinstance(block, (BasicBlock, Bottleneck)) for block in blocks.values()):
        wanted = "a network of resnet_lib, stages of BasicBlock or Bottleneck between stem and head"
        raise TypeError(f"model must be {wanted}, got {type(model).__name__}")
    return blocks


def trace_block(block: BasicBlock | Bottleneck, input_size: tuple[int, int, int]) -> list[Volume]:
    """The volumes inside one block: its input and the output of each convolution, the last with the shortcut added.

    Raises:
        TypeError, ValueError: a block of another class, or a size that it can't take.

    >>> [str(volume) for volume in trace_block(Bottleneck(256, 64), (256, 56, 56))]
    ['256×56×56', '64×56×56', '64×56×56', '256×56×56']
    """
    if not isinstance(block, (BasicBlock, Bottleneck)):
        raise TypeError(f"block must be a BasicBlock or a Bottleneck, got {type(block).__name__}")
    branch = [layer for layer in layer_table(block, input_size).layers if layer.name.startswith("conv")]
    volumes = [Volume("input", tuple(input_size)), *(Volume(layer.name, layer.output_shape) for layer in branch)]
    volumes[-1] = replace(volumes[-1], shortcut=shortcut_kind(block), reach=len(branch))
    return volumes


def draw_network(model: nn.Module, input_size: tuple[int, int, int], title: str | None = None) -> Figure:
    """Draw the volume after every operation of a network for one image of (channels, height, width).

    Without a title the picture says what becomes of pixels and channels between the input and the head.

    Raises:
        TypeError, ValueError: a model that is no network of this library, or a size that it can't take.

    >>> from resnet_lib import cifar_resnet
    >>> draw_network(cifar_resnet(20), (3, 32, 32)).get_suptitle()
    '32×32 pixels become 8×8, and 3 channels become 64'
    """
    volumes = trace_network(model, input_size)
    if title is None:
        first, last = volumes[0], [volume for volume in volumes if len(volume.shape) == 3][-1]
        (height, width), (last_height, last_width) = first.pixels, last.pixels
        channels = f"{_count(first.shape[0], 'channel')} become{'s' * (first.shape[0] == 1)} {last.shape[0]}"
        title = f"{height}×{width} pixels become {last_height}×{last_width}, and {channels}"
    return draw_volumes(volumes, title)


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
        height, width = volume.pixels
        return volume.shape[0] * self.channel, height * self.pixel, width * self.pixel

    def drawn_width(self, stage: Sequence[Volume]) -> float:
        fronts = sum(self.box(volume)[0] for volume in stage)
        return fronts + self.gap * (len(stage) - 1) + RIGHT * self.box(stage[-1])[2]

    def room(self, stage: Sequence[Volume]) -> float:
        """Width of a stage on the page, its label included."""
        return max(self.drawn_width(stage), LETTER * max(map(len, _label_lines(stage))))


def draw_volumes(volumes: Sequence[Volume], title: str) -> Figure:
    """Draw volumes in a row: an arc for every shortcut, a label for every stage, a key to the lines and the scales."""
    by_stage: dict[str, list[Volume]] = {}
    for volume in volumes:
        by_stage.setdefault(volume.stage, []).append(volume)
    stages = list(by_stage.values())
    scales = _fit_scales(stages)
    figure = plt.figure(figsize=PAGE, layout="constrained")
    figure.set_layout_engine("none")  # layout="none" above would be forgotten after the first savefig
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, PAGE[0]), ylim=(0, PAGE[1]))
    axes.axis("off")
    figure.suptitle(title, x=MARGIN / PAGE[0], y=0.98, ha="left", size=plt.rcParams["axes.titlesize"], weight="bold")
    x, tops = MARGIN, []
    # What the largest scales that fit still leave goes between the stages.
    gap = (PAGE[0] - 2 * MARGIN - sum(map(scales.room, stages))) / max(1, len(stages) - 1)
    for stage in stages:
        room = scales.room(stage)
        left = x + (room - scales.drawn_width(stage)) / 2
        for volume in stage:
            tops.append(_draw_volume(axes, left, volume, scales))
            left += scales.box(volume)[0] + scales.gap
        axes.text(x + room / 2, FLOOR - 0.08, "\n".join(_label_lines(stage)), ha="center", va="top", size=FONT_SIZE)
        x += room + gap
    for i, volume in enumerate(volumes):
        if volume.shortcut:
            _draw_arc(axes, tops[i - volume.reach], tops[i], volume, _line_width(scales, 1.3))
    _draw_key(axes, volumes, scales)
    return figure


def _fit_scales(stages: Sequence[Sequence[Volume]]) -> Scales:
    """The largest scales at which everything fits on the page."""
    volumes = [volume for stage in stages for volume in stage]
    height, width = (max(sides) for sides in zip(*(volume.pixels for volume in volumes), strict=True))
    pixel = min(TALLEST / (height + UP * width), WIDEST / (RIGHT * width))
    gap = min(0.1, 1.3 / len(volumes))
    space = PAGE[0] - 2 * MARGIN - STAGE_GAP * (len(stages) - 1)
    most_channels = max(volume.shape[0] for volume in volumes)
    for step in range(300):
        scales = Scales(pixel, 0.98**step * WIDEST / most_channels, gap)
        if sum(map(scales.room, stages)) <= space:
            break
    return scales


def _label_lines(stage: Sequence[Volume]) -> list[str]:
    """The stage's name, its shape, and how many blocks it has."""
    last = stage[-1]
    return [last.stage, str(last), *([_count(len(stage), "block")] if "." in last.name else [])]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _shade(share: float) -> tuple[float, ...]:
    """The paper with a share of the ink mixed in, so that the drawing fits a light page and a dark one."""
    pairs = zip(to_rgb(plt.rcParams["figure.facecolor"]), to_rgb(plt.rcParams["text.color"]), strict=True)
    return tuple((1 - share) * paper + share * ink for paper, ink in pairs)


def _line_width(scales: Scales, points: float) -> float:
    """Lines as thick as that, but finer where hundreds of volumes stand close together."""
    return points * min(1.0, max(0.3, scales.gap / 0.02))


def _draw_volume(axes: Axes, left: float, volume: Volume, scales: Scales) -> tuple[float, float]:
    """Draw the three faces that one sees, and return the middle of the upper one."""
    thickness, height, width = scales.box(volume)
    end, top, right, up = left + thickness, FLOOR + height, RIGHT * width, UP * width
    faces = {
        "side": ([(end, FLOOR), (end + right, FLOOR + up), (end + right, top + up), (end, top)], 0.42),
        "top": ([(left, top), (end, top), (end + right, top + up), (left + right, top + up)], 0.1),
        "front": ([(left, FLOOR), (end, FLOOR), (end, top), (left, top)], 0.22),
    }
    edge = {"edgecolor": _shade(0.8), "lw": _line_width(scales, 0.4)}
    for face, (corners, share) in faces.items():  # painted over the volumes on the left, which stand behind
        axes.add_patch(Polygon(corners, facecolor=_shade(share), label=f"{face} of {volume.name}", **edge))
    return left + (thickness + right) / 2, top + up / 2


def _draw_arc(axes: Axes, start: tuple[float, float], end: tuple[float, float], volume: Volume, width: float) -> None:
    """A curve from the volume where a shortcut begins, over the block, to the volume that it is added into."""
    rise = max(start[1], end[1]) + min(0.5, max(0.16, 0.6 * (end[0] - start[0])))
    path = Path([start, (start[0], rise), (end[0], rise), end], [Path.MOVETO] + 3 * [Path.CURVE4])
    line = {"edgecolor": RESIDUAL, "lw": width, "linestyle": LINE_STYLES[volume.shortcut]}
    axes.add_patch(PathPatch(path, facecolor="none", label=f"{volume.shortcut} to {volume.name}", **line))


def _draw_key(axes: Axes, volumes: Sequence[Volume], scales: Scales) -> None:
    """One line: each kind of shortcut and how many there are, then how long pixels and channels are drawn."""
    kinds = [volume.shortcut for volume in volumes]
    x = _write_key(axes, MARGIN, "Shortcuts:" if any(kinds) else "Shortcuts: none")
    for kind in [kind for kind in LINE_STYLES if kind in kinds]:
        axes.plot([x, x + 0.36], [KEY_LINE] * 2, color=RESIDUAL, lw=1.3, linestyle=LINE_STYLES[kind])
        x = _write_key(axes, x + 0.43, f"{kind} ({kinds.count(kind)})")
    pixels, channels = _round_number(0.3 / scales.pixel), _round_number(0.4 / scales.channel)
    bar, half = channels * scales.channel, pixels * scales.pixel / 2
    ink = {"color": plt.rcParams["text.color"], "lw": 1.3, "markersize": 5}
    axes.plot([x, x], [KEY_LINE - half, KEY_LINE + half], marker="_", label="scale of pixels", **ink)
    x = _write_key(axes, x + 0.1, _count(pixels, "pixel"))
    axes.plot([x, x + bar], [KEY_LINE] * 2, marker="|", label="scale of channels", **ink)
    _write_key(axes, x + bar + 0.1, _count(channels, "channel"))


def _write_key(axes: Axes, x: float, text: str) -> float:
    """Write an entry of the key and return where the next one begins."""
    axes.text(x, KEY_LINE, text, va="center", size=FONT_SIZE + 1.5)
    return x + (len(text) + 2) * LETTER


def _round_number(limit: float) -> int:
    """The largest power of two up to the limit, and 1 at least."""
    return 2 ** max(0, int(limit).bit_length() - 1)
