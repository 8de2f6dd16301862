"""What the gradient explorer shows: the recorded norm of every layer's gradient, from the loss back to the image.

And, in residual networks, the gradient that each block hands back by its shortcut and by its branch.
"""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from resnet_course.probes import load_measurement
from resnet_lib import figures
from resnet_lib.records import results_folder

COLOURS = {"plain": figures.PLAIN, "residual": figures.RESIDUAL}
MOMENTS = {"0": "before training", "1": "after 1 epoch", "3": "after 3 epochs", "10": "after 10 epochs"}
WAYS = ("shortcut", "branch")
PICTURE_TEXT = (
    "The norm of the gradient of each convolution in networks of 56 layers before training, on a logarithmic scale. "
    "From the loss to the image it grows more than a thousandfold in the plain network, a few times in the other."
)


def data() -> dict[str, Any]:
    """The norms by depth, kind, seed and moment; the convolution next to the image first, without the linear layer.

    Those of shortcut and branch by depth, seed and moment; the block next to the image first.
    """
    norms: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = {}
    for row in load_measurement(results_folder("probes") / "trained.json")["rows"]:
        depth, kind, seed = (row["unit"][name] for name in ("depth", "kind", "seed"))
        if kind in COLOURS:
            by_moment = {moment: [float(f"{norm:.3g}") for norm in row["norms"][moment][:-1]] for moment in MOMENTS}
            norms.setdefault(str(depth), {}).setdefault(kind, {})[str(seed)] = by_moment
    ways: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = {}
    for row in load_measurement(results_folder("probes") / "ways.json")["rows"]:
        by_seed = ways.setdefault(str(row["unit"]["depth"]), {})
        by_seed[str(row["unit"]["seed"])] = {
            moment: {way: [float(f"{norms[i]:.3g}") for norms in by_block] for i, way in enumerate(WAYS)}
            for moment, by_block in row["ways"].items()
        }
    start = {"depth": "56", "moment": "0", "seed": "0", "guess": "0", "played": "0"}
    return {"start": start, "moments": MOMENTS, "norms": norms, "ways": ways}


def picture() -> Figure:
    figure, axes = plt.subplots()
    for kind, seeds in data()["norms"]["56"].items():
        axes.semilogy(seeds["0"]["0"][::-1], color=COLOURS[kind], label=kind)
    axes.legend(frameon=False)
    names = {"xlabel": "layers from the loss to the image", "ylabel": "norm of the gradient"}
    axes.set(title="At the start the plain network's gradient explodes", **names)
    return figure


def table() -> list[list[str]]:
    """The first layer's gradient against the last's, for a page without scripts; the first row is the head."""
    rows = [["Network", "Seed", *MOMENTS.values()]]
    for depth, kinds in data()["norms"].items():
        for kind, seeds in kinds.items():
            for seed, by_moment in seeds.items():
                ratios = [f"{norms[0] / norms[-1]:.3g} times" if norms[-1] else "–" for norms in by_moment.values()]
                rows.append([f"{kind}-{depth}", seed, *ratios])
    return rows
