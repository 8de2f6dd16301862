"""What the lesion explorer shows: the recorded test error of every subset of blocks of two trained networks."""

import statistics
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from resnet_course.probes import blocks_of, load_measurement
from resnet_lib import figures
from resnet_lib.datasets import load_dataset
from resnet_lib.networks import cifar_resnet
from resnet_lib.records import results_folder

COLOURS = {"plain": figures.PLAIN, "residual": figures.RESIDUAL}
PICTURE_TEXT = (
    "Test error against the number of blocks that are off, a dot for every subset of blocks. Of the residual network "
    "the dots rise step by step from below 5 % with no block off. Of the plain network nearly all dots with a block "
    "off lie above 70 %."
)


def rows() -> list[dict[str, Any]]:
    """One row of the record for each network."""
    return load_measurement(results_folder("probes") / "lesions.json")["rows"]


def data() -> dict[str, Any]:
    """Of each network and seed: the blocks that can be off, and for every mask of them the error in percent, and which
    of the first 40 test digits go wrong, a bit each; of each digit the pixels, from 0 to 16, as one letter each."""
    recorded = rows()
    depth = recorded[0]["unit"]["depth"]
    digits = load_dataset("digits").test_images[:40]
    networks: dict[str, dict[str, Any]] = {}
    for row in recorded:
        kind, seed = row["unit"]["kind"], str(row["unit"]["seed"])
        network = networks.setdefault(kind, {"removable": row["blocks"], "errors": {}, "wrong": {}, "byCount": {}})
        network["errors"][seed], network["wrong"][seed] = row["errors"], row["wrong"]
        network["byCount"][seed] = [_range(errors) for errors in by_count(row["errors"])]
    return {
        "start": {"seed": "0", "plain": "0", "residual": "0", "together": "1"},
        "depth": depth,
        "blocks": list(blocks_of(cifar_resnet(depth, width=1))),
        "seeds": [str(seed) for seed in sorted({row["unit"]["seed"] for row in recorded})],
        "networks": networks,
        "digits": ["".join("0123456789abcdefg"[value] for value in digit.flatten()) for digit in digits],
    }


def by_count(errors: list[float]) -> list[list[float]]:
    """The errors by the number of blocks that are off.

    >>> by_count([1.0, 20.0, 30.0, 90.0])
    [[1.0], [20.0, 30.0], [90.0]]
    """
    groups: list[list[float]] = [[] for _ in range((len(errors) - 1).bit_length() + 1)]
    for mask, error in enumerate(errors):
        groups[mask.bit_count()].append(error)
    return groups


def _range(errors: list[float]) -> list[float]:
    """How many there are, the lowest, the mean and the highest."""
    return [len(errors), min(errors), round(statistics.mean(errors), 3), max(errors)]


def picture() -> Figure:
    """Every subset of both networks, of the first seed."""
    figure, axes = plt.subplots()
    for row in [row for row in rows() if row["unit"]["seed"] == 0]:
        kind, groups = row["unit"]["kind"], by_count(row["errors"])
        side = -0.08 if kind == "plain" else 0.08
        points = [(count + side, error) for count, errors in enumerate(groups) for error in errors]
        axes.plot(*zip(*points, strict=True), "o", color=COLOURS[kind], alpha=0.35, markersize=4)
        axes.plot([statistics.mean(errors) for errors in groups], color=COLOURS[kind], label=f"{kind}, mean")
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, loc="lower right")
    axes.set(title="One block off ruins the plain network", xlabel="blocks off", ylabel="test error (%)")
    return figure


def table() -> list[list[str]]:
    """The errors by the number of blocks that are off, for a page without scripts; the first row is the head."""
    result = [["Network", "Seed", "Blocks off", "Subsets", "Lowest", "Mean", "Highest"]]
    for row in rows():
        kind, depth, seed = (row["unit"][name] for name in ("kind", "depth", "seed"))
        for count, errors in enumerate(by_count(row["errors"])):
            ways, lowest, mean, highest = _range(errors)
            shown = [f"{error:.1f} %" for error in (lowest, mean, highest)]
            result.append([f"{kind}-{depth}", str(seed), str(count), str(ways), *shown])
    return result
