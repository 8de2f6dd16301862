"""Records to pictures. Plain is vermillion and residual is blue, in every figure of the book.

The two colours are from Okabe and Ito's palette, which colour-blind readers can tell apart; each has a contrast of at
least 3 to 1 on the white of a light page and on the dark grey of a dark one.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_lib.experiments import Summary, group_runs, summarize
from resnet_lib.records import Record
from resnet_lib.volumes import RESIDUAL
from resnet_lib.volumes import draw_network as draw_network  # here, too: all pictures under one name

PLAIN = "#D55E00"

CURVE_LABELS = {"train_loss": "training loss", "train_error": "training error (%)", "test_error": "test error (%)"}


def colour_of(shortcut: str) -> str:
    """The colour of a network: `PLAIN` without a shortcut, `RESIDUAL` with one.

    >>> colour_of("none")
    '#D55E00'
    """
    return PLAIN if shortcut == "none" else RESIDUAL


def label_of(shortcut: str) -> str:
    """The name of a network in a legend.

    >>> label_of("none"), label_of("A")
    ('plain', 'residual (option A)')
    """
    return "plain" if shortcut == "none" else f"residual (option {shortcut})"


def style(ink: str = "#1a1a1a", paper: str = "#ffffff") -> dict[str, Any]:
    """Settings for `matplotlib.pyplot.rcParams`: text and lines in ``ink`` on a background of ``paper``.

    >>> plt.rcParams.update(style())
    """
    return {
        "figure.figsize": (6.8, 3.8),  # inches; as wide as the book's text
        "figure.dpi": 110,
        "figure.facecolor": paper,
        "savefig.facecolor": paper,
        "axes.facecolor": paper,
        "figure.constrained_layout.use": True,
        "font.size": 11,
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 2,
        "svg.hashsalt": "resnet",  # the same picture is the same file
        **dict.fromkeys(
            ["text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"], ink
        ),
    }


def plot_error_against_depth(records: Iterable[Record], title: str) -> Figure:
    """Training error in percent against depth: a dot a run, and a line through the means over seeds."""
    records = list(records)
    figure, axes = plt.subplots()
    by_shortcut: dict[str, list[Summary]] = {}
    ends = []
    for row in summarize(records):
        by_shortcut.setdefault(row.shortcut, []).append(row)
    for shortcut, rows in by_shortcut.items():
        colour = colour_of(shortcut)
        runs = [record for record in records if record.recipe.shortcut == shortcut]
        axes.plot([run.recipe.depth for run in runs], [run.train_error for run in runs], "o", color=colour, alpha=0.5)
        axes.plot([row.depth for row in rows], [row.train_error for row in rows], color=colour)
        ends.append((rows[-1].depth, rows[-1].train_error, label_of(shortcut), colour))
    axes.set_xticks(sorted({record.recipe.depth for record in records}))
    axes.set_ylim(bottom=-2)
    _label_line_ends(axes, ends)
    axes.set(title=title, xlabel="depth (weight layers)", ylabel="training error (%)")
    return figure


def plot_curves(records: Iterable[Record], title: str, curve: str = "train_error") -> Figure:
    """One curve a run over its epochs: the error in percent, or the loss with ``curve="train_loss"``.

    Networks are told apart by colour (plain, residual) and depths by the weight of the line.

    Source: the manner of He et al. 2016, figure 6.
    """
    records = sorted(records, key=lambda record: record.recipe.depth)
    depths = sorted({record.recipe.depth for record in records})
    figure, axes = plt.subplots()
    for record in records:
        values = record.curves[curve]
        weight = 1.0 + 1.6 * depths.index(record.recipe.depth) / max(1, len(depths) - 1)
        colour = colour_of(record.recipe.shortcut)
        axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=weight, alpha=0.8)
    ends = []
    for (shortcut, depth), runs in group_runs(records).items():
        last = sum(run.curves[curve][-1] for run in runs) / len(runs)
        name = f"{'plain' if shortcut == 'none' else 'residual'}-{depth}"
        ends.append((len(runs[0].curves[curve]), last, name, colour_of(shortcut)))
    axes.set_ylim(bottom=0)
    _label_line_ends(axes, ends)
    axes.set(title=title, xlabel="epoch", ylabel=CURVE_LABELS[curve])
    return figure


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


def _label_line_ends(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write each (x, y, text, colour) beside its point, and move labels up where they would overlap."""
    bottom, top = axes.get_ylim()
    lowest_free = bottom
    for x, y, text, colour in sorted(ends, key=lambda end: end[1]):
        height = max(y, lowest_free)
        axes.annotate(
            text, (x, height), xytext=(8, 0), textcoords="offset points", color=colour, va="center", weight="bold"
        )
        lowest_free = height + 0.075 * (top - bottom)
