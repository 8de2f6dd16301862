"""Pictures that the chapters show beside their text: images and curves in a row, and diagrams of blocks."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from resnet_lib.figures import PLAIN, RESIDUAL, add_title

Point = tuple[float, float]
FAINT, WHITE = "0.5", "#fefefe"  # a grey that light and dark pages show equally well, a white that stays white


def show_images(images: Sequence[Any], labels: Sequence[Any], title: str) -> Figure:
    """A row of grey images, (H, W) each, with their labels."""
    figure, row = plt.subplots(1, len(images), figsize=(6.8, 1.4), squeeze=False)
    for axes, image, label in zip(row[0], images, labels, strict=True):
        axes.imshow(image, cmap="gray")
        axes.set_xlabel(str(label))
        axes.set(xticks=[], yticks=[], frame_on=False)
    add_title(figure, title)
    return figure


def show_channels(values: Mapping[str, Any], title: str) -> Figure:
    """A panel for each of the tensors (N, C, H, W), with a histogram of each channel's values."""
    figure, row = plt.subplots(1, len(values), figsize=(6.8, 2.5), sharex=True, squeeze=False)
    for axes, (name, tensor) in zip(row[0], values.items(), strict=True):
        for channel, colour in zip(tensor.transpose(0, 1).flatten(1), ("#009E73", FAINT, "#CC79A7"), strict=True):
            axes.hist(channel, bins=60, range=(-4, 4), histtype="step", color=colour, linewidth=1.6)
        axes.set(yticks=[], xlabel=f"value {name}")
        axes.spines["left"].set_visible(False)
    add_title(figure, title)
    return figure


def show_lines(values: Mapping[str, Any], title: str) -> Figure:
    """A panel for each of the sequences, (T,), scaled to its own largest value; what is called plain is orange."""
    figure, row = plt.subplots(1, len(values), figsize=(6.8, 2.2), sharey=True, squeeze=False)
    for axes, (name, sequence) in zip(row[0], values.items(), strict=True):
        colour = PLAIN if name.startswith("plain") else RESIDUAL
        axes.plot(sequence / sequence.abs().max(), color=colour, linewidth=1)
        axes.set_title(name, fontsize=11, fontweight="normal", color=colour)
        axes.set(xticks=[], yticks=[0], ylim=(-1.05, 1.05))
    add_title(figure, title)
    return figure


def draw_block(
    title: str = "The input takes two paths, and the two are added",
    shapes: tuple[str, str] = ("", ""),
    shortcut: str = "x, unchanged",
    stride: int = 1,
) -> Figure:
    """The residual block: F(x) in a row, the shortcut over it, and the shapes of x and y.

    Source: He et al. 2016, figure 2.
    """
    figure, axes = _canvas(6.8, 1.7, title)
    first = f"3×3 conv\nstride {stride}" if stride > 1 else "3×3\nconv"
    places = [0.35, 1.2, 2.05, 2.8, 3.55, 4.4, 5.15, 5.75, 6.45]
    texts = ["x", first, "Batch-\nNorm", "ReLU", "3×3\nconv", "Batch-\nNorm", "+", "ReLU", "y"]
    for i, (place, text) in enumerate(zip(places, texts, strict=True)):
        if i:
            gap = 0.1 if text in "+y" else 0.37 if "stride" in text else 0.27
            _arrow(axes, [(places[i - 1] + 0.1, 0.75), (place - gap, 0.75)])
        _plus(axes, place, 0.75) if text == "+" else _box(axes, place, 0.75, text, None if text in "xy" else FAINT)
    _arrow(axes, [(0.35, 0.9), (0.35, 1.35), (5.15, 1.35), (5.15, 0.88)], RESIDUAL)
    axes.text(2.75, 1.4, shortcut, ha="center", va="bottom", color=RESIDUAL, weight="bold")
    axes.plot([0.85, 0.85, 4.75, 4.75], [0.42, 0.36, 0.36, 0.42], color=FAINT, linewidth=1)
    axes.text(2.8, 0.3, "F(x)", ha="center", va="top")
    for place, shape in zip((0.4, 6.4), shapes, strict=True):
        axes.text(place, 0.3, shape, ha="center", va="top", fontsize=9)
    return figure


def draw_insertions(title: str, blocks: int = 8) -> Figure:
    """A shallow plain network, and below it the same with ``blocks`` identities behind each stage.

    Source: the construction of He et al. 2016, section 1.
    """
    figure, axes = _canvas(6.8, 1.7, title)
    copied = {"stem": 0.95, "stage 1": 1.7, "stage 2": 3.3, "stage 3": 4.9, "head": 6.45}
    for y, name in ((1.3, "plain-8"), (0.35, "plain-56")):
        axes.text(0.05, y, name, va="center", fontsize=9, color=PLAIN, weight="bold")
        for start, end in pairwise(copied.values()):
            _arrow(axes, [(start, y), (end - (0.22 if end > 6 else 0.31), y)])
    for name, x in copied.items():
        for y in (1.3, 0.35):
            _box(axes, x, y, name, PLAIN)
        if name.startswith("stage"):
            _box(axes, x + 0.8, 0.35, f"{blocks} blocks:\nnothing", FAINT, dashed=True)
        axes.plot([x, x], [1.1, 0.57], ":", color=FAINT, linewidth=1.2)
    axes.text(1.03, 0.83, "copied", va="center", fontsize=9, color=FAINT)
    return figure


def draw_paths(title: str) -> Figure:
    """Three residual blocks in a row, and the same as a sum over eight paths. Source: Veit et al. 2016, figure 1."""
    figure, axes = _canvas(6.8, 2.95, title)
    for i in range(3):
        x = 0.55 + 0.9 * i
        _arrow(axes, [(x - 0.2, 1.5), (x + 0.62, 1.5)], RESIDUAL)
        _arrow(axes, [(x, 1.5), (x, 0.85), (x + 0.7, 0.85), (x + 0.7, 1.38)])
        _box(axes, x + 0.35, 0.85, f"F{'₁₂₃'[i]}", FAINT)
        _plus(axes, x + 0.7, 1.5)
    axes.text(0.3, 1.5, "x", ha="right", va="center")
    axes.text(3.22, 1.5, "y", va="center")
    _arrow(axes, [(3.1, 1.5), (3.2, 1.5)], RESIDUAL)
    axes.text(3.55, 1.5, "=", fontsize=16, va="center")
    taken = sorted(([i for i in range(3) if mask >> i & 1] for mask in range(8)), key=len)
    for row, path in enumerate(taken):
        y = 2.75 - 0.34 * row
        stops = [4.1, *(4.65 + 0.65 * i for i in path), 6.3]
        for begin, end in pairwise(stops):
            _arrow(axes, [(begin + 0.08, y), (end - 0.14, y)], RESIDUAL)
        for i in path:
            _box(axes, 4.65 + 0.65 * i, y, f"F{'₁₂₃'[i]}", FAINT, size=8)
        axes.text(4.05, y, "x", ha="center", va="center", fontsize=9)
        axes.text(6.24, y, "+" if row < 7 else "= y", va="center", fontsize=9)
    return figure


def draw_two_blocks(title: str) -> Figure:
    """The basic block beside the bottleneck that takes its place, as wide as their channels.

    Source: He et al. 2016, figure 5.
    """
    figure, axes = _canvas(6.8, 3.4, title)
    half_width, paper = {64: 0.4, 256: 1.1}, plt.rcParams["figure.facecolor"]
    for x, channels, layers, name in [
        (1.5, 64, [(2.25, "3×3", 64), (1.45, "3×3", 64)], "basic block: 73,728 weights"),
        (4.7, 256, [(2.4, "1×1", 64), (1.85, "3×3", 64), (1.3, "1×1", 256)], "bottleneck: 69,632 weights"),
    ]:
        axes.text(x + 0.2, 3.25, name, ha="center", va="center", weight="bold")
        axes.text(x, 2.85, f"{channels} channels", ha="center", va="center")
        stops = [2.85, *(y for y, *_ in layers), 0.72]
        for upper, lower in pairwise(stops):
            _arrow(axes, [(x, upper - 0.14), (x, lower + (0.14 if lower > 1 else 0.12))])
        for y, kernel, out in layers:
            corner, width = (x - half_width[out], y - 0.14), 2 * half_width[out]
            axes.add_patch(Rectangle(corner, width, 0.28, facecolor=paper, edgecolor=FAINT, linewidth=1.2, zorder=3))
            axes.text(x, y, f"{kernel}, {out}", ha="center", va="center", fontsize=9, zorder=4)
        for y in [*(y - 0.27 for y, *_ in layers[:-1]), 0.46]:
            axes.text(x + 0.08, y, "ReLU", fontsize=8, va="center")
        right = x + half_width[channels] + 0.35
        _arrow(axes, [(x + 0.55, 2.85), (right, 2.85), (right, 0.72), (x + 0.13, 0.72)], RESIDUAL)
        _plus(axes, x, 0.72)
        _arrow(axes, [(x, 0.6), (x, 0.3)])
        axes.text(x, 0.15, f"{channels} channels", ha="center", va="center")
    return figure


def draw_options(title: str) -> Figure:
    """Two blocks, of which the first changes the shape, with the shortcuts of options A, B and C.

    Source: He et al. 2016, section 3.3; the three are called A, B and C in its table 3.
    """
    figure, axes = _canvas(6.8, 3.0, title)
    projection, shape = "1×1 conv, BatchNorm", (2.3, 4.9)
    for row, (option, shortcuts) in enumerate(
        {"A": ("skip pixels, add zeros", "x"), "B": (projection, "x"), "C": (projection, projection)}.items()
    ):
        y = 2.15 - 0.8 * row
        axes.text(0.1, y, option, va="center", fontsize=16, weight="bold", color=RESIDUAL)
        _arrow(axes, [(0.5, y), (6.7, y)], RESIDUAL)
        for x, text in zip(shape, shortcuts, strict=True):
            _arrow(axes, [(x - 1.05, y), (x - 1.05, y - 0.34), (x + 1.05, y - 0.34), (x + 1.05, y - 0.12)])
            _box(axes, x, y - 0.34, "F(x)", FAINT, size=8)
            _plus(axes, x + 1.05, y)
            if text == "x":
                axes.text(x, y + 0.05, "x, unchanged", ha="center", va="bottom", fontsize=9, color=RESIDUAL)
            else:
                _box(axes, x, y, text, RESIDUAL, size=8, dashed=text != projection)
    for x, text in zip(shape, ("64×56×56 becomes 128×28×28", "128×28×28 stays 128×28×28"), strict=True):
        axes.text(x, 2.75, text, ha="center", va="center", fontsize=9)
    return figure


def _canvas(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """A figure, and axes in inches without a frame, below a title."""
    figure = plt.figure(figsize=(width, height + 0.35))
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, height / (height + 0.35)), xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    add_title(figure, title)
    return figure, axes


def _box(axes: Axes, x: float, y: float, text: str, colour: str | None, size: float = 9, dashed: bool = False) -> None:
    """Text in the middle of a box that covers what runs behind it; without a colour the box has no edge."""
    paper = plt.rcParams["figure.facecolor"]
    box = {"boxstyle": "round,pad=0.35", "facecolor": paper, "edgecolor": colour or paper, "linewidth": 1.2}
    box["linestyle"] = "--" if dashed else "-"
    axes.text(x, y, text, ha="center", va="center", fontsize=size, bbox=box, zorder=3)


def _plus(axes: Axes, x: float, y: float) -> None:
    axes.plot(x, y, "o", color=RESIDUAL, markersize=15, zorder=3)
    axes.text(x, y - 0.01, "+", ha="center", va="center", color=WHITE, weight="bold", zorder=4)


def _arrow(axes: Axes, points: Sequence[Point], colour: str | None = None) -> None:
    """A line through the points, which ends in an arrow."""
    colour = colour or plt.rcParams["text.color"]
    axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.3, solid_capstyle="butt", zorder=1)
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", points[-1], points[-2], arrowprops=look, zorder=2)
