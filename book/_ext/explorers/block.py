"""What the block builder knows: the cost of every tile, what PyTorch says of a sum that doesn't fit, and the levels."""

from itertools import product
from typing import Any

import torch
from matplotlib.figure import Figure

from resnet_course.pictures import draw_block
from resnet_lib.arithmetic import batchnorm_parameters, conv_macs, conv_parameters, output_size

CHANNELS, SIDES, KERNELS = (64, 128, 256), (56, 28, 14, 7), (1, 3)
PICTURE_TEXT = (
    "The residual block as a diagram: convolution, BatchNorm, ReLU, convolution and BatchNorm in a row, over them the "
    "shortcut, which carries x to the sum in front of the last ReLU."
)
# A level: its title, what comes in and must come out (channels, side), and the branch's steps if they are asked for.
LEVELS: dict[str, dict[str, Any]] = {
    "same": {"title": "1. The same shape", "in": (64, 56), "out": (64, 56), "steps": "3 b r 3 b + r"},
    "double": {"title": "2. Halve and double", "in": (64, 56), "out": (128, 28), "steps": "3 b r 3 b + r"},
    "narrow": {"title": "3. Under 70,000 weights", "in": (256, 56), "out": (256, 56), "most": 70_000},
    "before": {"title": "4. Pre-activation", "in": (64, 56), "out": (64, 56), "steps": "b r 3 b r 3 +"},
}


def refusal(branch: tuple[int, int], shortcut: tuple[int, int]) -> str:
    """PyTorch's own words for the sum of two maps of these channels and sides.

    >>> refusal((128, 28), (64, 28))
    'The size of tensor a (128) must match the size of tensor b (64) at non-singleton dimension 1'
    """
    a, b = (torch.empty(1, channels, side, side) for channels, side in (branch, shortcut))
    try:
        a + b
    except RuntimeError as error:
        return str(error)
    raise ValueError(f"{branch} and {shortcut} can be added")


def data() -> dict[str, Any]:
    pairs = list(product(KERNELS, CHANNELS, CHANNELS))
    shapes = list(product(CHANNELS, SIDES))
    return {
        "start": {"level": "same", "branch": "", "shortcut": "none", "after": "0"},
        "channels": CHANNELS,
        "halved": {side: output_size(side, 3, stride=2, padding=1) for side in SIDES[:-1]},
        "norm": {channels: batchnorm_parameters(channels) for channels in CHANNELS},
        "weights": {f"{k}.{c_in}.{c_out}": conv_parameters(c_in, c_out, k) for k, c_in, c_out in pairs},
        "macs": {
            f"{k}.{c_in}.{c_out}.{side}": conv_macs(c_in, c_out, k, side**2)
            for (k, c_in, c_out), side in product(pairs, SIDES)
        },
        "refusals": {f"{a[0]}.{a[1]}+{b[0]}.{b[1]}": refusal(a, b) for a in shapes for b in shapes if a != b},
        "levels": LEVELS,
    }


def picture() -> Figure:
    return draw_block()


def table() -> list[list[str]]:
    """The tiles' costs at 56×56 pixels, for a page without scripts; the first row is the head."""
    rows = [["Tile", "Parameters", "Multiply-adds at 56×56"]]
    for k, c_in, c_out in product(KERNELS, CHANNELS, CHANNELS):
        macs = conv_macs(c_in, c_out, k, SIDES[0] ** 2)
        rows.append([f"{k}×{k}, {c_in} → {c_out}", f"{conv_parameters(c_in, c_out, k):,}", f"{macs:,}"])
    return rows
