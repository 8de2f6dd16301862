"""Pictures that the chapters show beside their text: a row of images, and the residual block as a diagram."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from resnet_lib.figures import RESIDUAL


def show_images(images: Sequence[Any], labels: Sequence[Any], title: str) -> Figure:
    """A row of grey images, (H, W) each, with their labels."""
    figure, row = plt.subplots(1, len(images), figsize=(6.8, 1.4), squeeze=False)
    for axes, image, label in zip(row[0], images, labels, strict=True):
        axes.imshow(image, cmap="gray")
        axes.set_xlabel(str(label))
        axes.set(xticks=[], yticks=[])
    figure.suptitle(title, fontweight="bold", x=0.01, ha="left")
    return figure


def draw_block(shortcut_label: str = "x, unchanged") -> Figure:
    """The residual block as a diagram: F(x) below, the shortcut over it, the addition and the last ReLU.

    Source: He et al. 2016, figure 2.
    """
    figure, axes = plt.subplots(figsize=(6.8, 2.1))
    steps = ["x", "3×3\nconv", "Batch-\nNorm", "ReLU", "3×3\nconv", "Batch-\nNorm", "+", "ReLU", "y"]
    half_widths = [0.1, 0.33, 0.4, 0.33, 0.33, 0.4, 0.2, 0.33, 0.1]
    ink = plt.rcParams["text.color"]
    for i, (step, half_width) in enumerate(zip(steps, half_widths, strict=True)):
        box = {"boxstyle": "round,pad=0.3", "facecolor": "none", "edgecolor": ink if step not in "xy" else "none"}
        if step == "+":
            box = {"boxstyle": "circle,pad=0.2", "facecolor": RESIDUAL, "edgecolor": RESIDUAL}
        axes.text(i, 0, step, ha="center", va="center", bbox=box, fontsize=10, color="white" if step == "+" else ink)
        if i:
            start = i - 1 + half_widths[i - 1]
            axes.annotate("", (i - half_width, 0), (start, 0), arrowprops={"arrowstyle": "-|>", "color": ink})
    axes.plot([0, 0, 6], [0.25, 0.95, 0.95], color=RESIDUAL)
    axes.annotate("", (6, 0.25), (6, 0.97), arrowprops={"arrowstyle": "-|>", "color": RESIDUAL, "linewidth": 2})
    axes.text(3, 1.05, shortcut_label, ha="center", va="bottom", color=RESIDUAL, weight="bold")
    axes.text(3, -0.7, "F(x)", ha="center", va="center")
    axes.set(xlim=(-0.3, 8.3), ylim=(-0.95, 1.5))
    axes.axis("off")
    axes.set_title("The input takes two ways, and the two are added")
    return figure
