"""Records to pictures: plain is vermillion, residual is blue, and runs that diverged are left out.

The two colours are from Okabe and Ito's palette, which colour-blind readers can tell apart; each has a contrast of at
least 3 to 1 on the white of a light page and on the dark grey of a dark one.
"""

import base64
import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from resnet_lib.records import Record, group_runs, summarize

LIGHT_INK, DARK_INK = "#1a1a1a", "#e6e6e6"  # on light and on dark paper
PLAIN, RESIDUAL = "#D55E00", "#0072B2"
# From the shallowest network to the deepest; the ends are as light and as dark as the two contrasts allow.
SHADES = {"plain": ["#E8751A", PLAIN, "#A64700"], "residual": ["#4699D4", RESIDUAL, "#0067A1"]}

CURVE_LABELS = {"train_error": "training error (%)", "test_error": "test error (%)"}
# How each curve is drawn: the eye belongs to the test error, as in the paper's figure.
TRAINING_CURVES: dict[str, dict[str, Any]] = {
    "train_error": {"linewidth": 1.0, "linestyle": (0, (4, 2))},
    "test_error": {"linewidth": 2.2, "linestyle": "-"},
}


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


def style(ink: str = LIGHT_INK, paper: str = "#ffffff") -> dict[Any, Any]:
    """Settings for `matplotlib.pyplot.rcParams`: text and lines in ``ink`` on a background of ``paper``."""
    return {
        "figure.figsize": (6.8, 3.8),  # inches; as wide as the book's text
        "figure.dpi": 110,
        **dict.fromkeys(["figure.facecolor", "savefig.facecolor", "axes.facecolor"], paper),
        "figure.constrained_layout.use": True,
        "font.size": 11,
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        **dict.fromkeys(["axes.spines.top", "axes.spines.right"], False),
        "lines.linewidth": 2,
        "svg.hashsalt": "resnet",  # the same picture is the same file
        "text.usetex": False,  # which needs a LaTeX
        **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor"], ink),
        **dict.fromkeys(["xtick.color", "ytick.color"], ink),
    }


def plot_error_against_depth(records: Iterable[Record], title: str) -> Figure:
    """Training error in percent against depth: a dot a run, and a line through the means over seeds."""
    ended = [record for record in records if not record.diverged]
    rows = summarize(ended)
    figure, axes = plt.subplots()
    ends = []
    for shortcut in dict.fromkeys(row.shortcut for row in rows):
        colour = colour_of(shortcut)
        runs = [(run.recipe.depth, run.train_error) for run in ended if run.recipe.shortcut == shortcut]
        means = [(row.depth, row.train_error) for row in rows if row.shortcut == shortcut]
        axes.plot(*zip(*runs, strict=True), "o", color=colour, markeredgecolor=plt.rcParams["axes.facecolor"], zorder=3)
        axes.plot(*zip(*means, strict=True), {"B": "--", "C": "-."}.get(shortcut, "-"), color=colour)
        ends.append((*means[-1], label_of(shortcut), colour))
    axes.set_xticks(sorted({row.depth for row in rows}))
    axes.set_ylim(bottom=-2)
    _label_line_ends(axes, ends)
    axes.set(title=title, xlabel="depth (weight layers)", ylabel="training error (%)")
    return figure


def plot_curves(records: Iterable[Record], title: str) -> Figure:
    """The training error in percent over the epochs, a curve a run.

    Networks are told apart by colour and depths by the weight of the line, in the manner of the paper's figure 6.
    """
    networks = group_runs(record for record in records if not record.diverged)
    depths = sorted({depth for _, depth in networks})
    figure, axes = plt.subplots()
    ends = []
    for (shortcut, depth), runs in sorted(networks.items(), key=lambda item: item[0][1]):
        values = _curves(runs, "train_error")  # (runs, epochs)
        epochs = range(1, values.shape[1] + 1)
        weight = 1.0 + 1.6 * depths.index(depth) / max(1, len(depths) - 1)
        axes.plot(epochs, values.T, color=colour_of(shortcut), linewidth=weight, alpha=0.8)
        name = f"{'plain' if shortcut == 'none' else 'residual'}-{depth}"
        ends.append((epochs[-1], values[:, -1].mean(), name, colour_of(shortcut)))
    axes.set_ylim(bottom=0)
    _label_line_ends(axes, ends)
    axes.set(title=title, xlabel="epoch", ylabel=CURVE_LABELS["train_error"])
    return figure


def _curves(runs: Sequence[Record], name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A curve of each run, (runs, epochs)."""
    return np.array([run.curves[name] for run in runs], dtype=np.float64)


def plot_training(records: Iterable[Record], title: str) -> Figure:
    """Training and test error in percent over the epochs, plain networks beside residual ones.

    Each line is the mean over the seeds, in a band from the lowest to the highest run. ValueError: no records, or runs
    of different lengths. Source: the manner of He et al. 2016, figure 6: dashed is training, bold is test error.
    """
    figure = plt.figure(figsize=(6.8, 3.9))
    draw_training(figure, records)
    add_title(figure, title)
    return figure


def add_title(figure: Figure, title: str) -> None:
    """A title over all panels, on as many lines as it needs at a width of 6.8 inches."""
    figure.suptitle(textwrap.fill(title, 62), x=0.01, ha="left", fontsize=12, fontweight="bold")


def draw_training(figure: Figure, records: Iterable[Record], stacked: bool = False) -> None:
    """Fill a figure with `plot_training`'s panels, side by side or, for a narrow page, ``stacked``.

    The scale ends at 20 %, as in the paper, or at 50 or 100 where a network ends higher; what lies above is cut off.
    """
    networks = group_runs(record for record in records if not record.diverged)
    lengths = {len(run.curves["test_error"]) for runs in networks.values() for run in runs}
    if len(lengths) != 1:
        raise ValueError(f"records must hold runs of one length, got {sorted(lengths) or 'no'} epochs")
    kinds: dict[str, list[tuple[str, int]]] = {}
    for shortcut, depth in networks:
        kinds.setdefault("plain" if shortcut == "none" else "residual", []).append((shortcut, depth))
    shape = (len(kinds), 1) if stacked else (1, len(kinds))
    panels = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False)
    highest_end = max(_curves(runs, name)[:, -1].mean() for runs in networks.values() for name in TRAINING_CURVES)
    panels[0, 0].set_ylim(0, next(top for top in (20, 50, 100) if highest_end <= 0.8 * top or top == 100))
    for axes, (kind, members) in zip(panels.flat, kinds.items(), strict=True):
        several_options = len({shortcut for shortcut, _ in members}) > 1
        ends = []
        for member, colour in zip(members, _shades(kind, len(members)), strict=True):
            _draw_runs(axes, networks[member], colour)
            axes.set_xlim(0, 1.02 * max(lengths))
            text = f"{member[1]} layers{f', {member[0]}' if several_options else ''}"
            ends.append((max(lengths), _curves(networks[member], "test_error")[:, -1].mean(), text, colour))
        _label_line_ends(axes, ends)
        axes.set_title(f"{kind} networks", fontsize=11, fontweight="normal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.set(xlabel="epoch", ylabel="error (%)")
        axes.label_outer()
    _explain_lines(figure, any(len(runs) > 1 for runs in networks.values()), columns=1 if stacked else 3)


def _shades(kind: str, count: int) -> list[str]:
    """Colours of ``count`` networks of one kind, from the shallowest to the deepest; of one alone the kind's own."""
    ramp = LinearSegmentedColormap.from_list(kind, SHADES[kind])
    return [to_hex(ramp(i / (count - 1) if count > 1 else 0.5)) for i in range(count)]


def _draw_runs(axes: Axes, runs: Sequence[Record], colour: str) -> None:
    """The runs of one network: the mean of each curve, and a band where there are several runs."""
    for name, line in TRAINING_CURVES.items():
        values = _curves(runs, name)
        epochs = range(1, values.shape[1] + 1)
        marker = "o" if len(epochs) == 1 else None  # a line of one point can't be seen
        axes.plot(epochs, values.mean(0), color=colour, marker=marker, markersize=3 * line["linewidth"], **line)
        if len(runs) > 1:
            axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.18, linewidth=0)


def _explain_lines(figure: Figure, has_bands: bool, columns: int) -> None:
    ink = plt.rcParams["text.color"]
    handles: list[Artist] = [
        Line2D([], [], color=ink, label=CURVE_LABELS[name].removesuffix(" (%)"), **TRAINING_CURVES[name])
        for name in ("test_error", "train_error")
    ]
    if has_bands:
        handles.append(Patch(color=ink, alpha=0.18, linewidth=0, label="from the lowest to the highest run"))
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, frameon=False, fontsize=9)


def _label_line_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each (x, y, text, colour) beside its point, and move labels up where they would overlap."""
    if not ends:
        raise ValueError("records must hold a run that has not diverged: there is none to draw")
    axes.spines["bottom"].set_bounds(axes.get_xlim()[0], max(x for x, *_ in ends))  # and not below the labels
    bottom, top = axes.get_ylim()
    lowest_free = bottom
    for x, y, text, colour in sorted(ends, key=lambda end: end[1]):
        height = max(y, lowest_free)
        beside: dict[str, Any] = {"xytext": (8, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(text, (x, height), color=colour, weight="bold", **beside)
        lowest_free = height + 0.075 * (top - bottom)


def draw_pictures(draw: Callable[[Figure, bool], None], panels: int) -> dict[str, str]:
    """What ``draw`` fills a figure with, as addresses of two SVGs, wide and narrow, that turn with the page's mode.

    Its second argument is whether the ``panels`` are to be stacked, for a screen of a phone's width.
    """
    pictures = {}
    ink = f"<style>svg{{color:{LIGHT_INK}}}@media(prefers-color-scheme:dark){{svg{{color:{DARK_INK}}}}}</style>"
    for width, size in {"wide": (6.8, 3.8), "narrow": (3.4, 1.2 + 2.4 * panels)}.items():
        with plt.style.context(["default", style(paper="none")]), warnings.catch_warnings():  # not the user's own
            # A name may have letters that the font lacks: they are drawn as boxes, and the table has them in full.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure, file = Figure(figsize=size), io.BytesIO()
            draw(figure, width == "narrow")
            figure.savefig(file, format="svg", metadata=dict.fromkeys(["Creator", "Date", "Format", "Type"]))
        # Two decimals of the curves' coordinates are finer than a screen, and half of the file.
        svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), file.getvalue().decode())
        svg = svg.replace("<defs>", f"{ink}<defs>", 1).replace(f": {LIGHT_INK}", ": currentColor")
        pictures[width] = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    return pictures
