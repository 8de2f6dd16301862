"""Argument checks: every refusal is one sentence that names the argument, what came and what would do."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch


def check_count(name: str, value: Any, at_least: int = 1) -> None:
    """Refuse anything but a whole number from ``at_least`` up.

    >>> check_count("stride", 2)
    >>> check_count("stride", 0)
    Traceback (most recent call last):
    ...
    ValueError: stride must be a whole number from 1 up, got 0
    """
    # bool is a subclass of int, and True channels would pass for one channel.
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number from {at_least} up, got {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be a whole number from {at_least} up, got {value}")


def check_counts(**counts: Any) -> None:
    """`check_count` for several arguments at once, given by name."""
    for name, value in counts.items():
        check_count(name, value)


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Refuse a value that is not among ``choices``.

    >>> check_choice("shortcut", "D", ["none", "A"])
    Traceback (most recent call last):
    ...
    ValueError: shortcut must be one of 'none', 'A', got 'D'
    """
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_flag(name: str, value: Any) -> None:
    """Refuse anything but True or False.

    >>> check_flag("augment", 1)
    Traceback (most recent call last):
    ...
    TypeError: augment must be True or False, got 1
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")


SHORTCUTS = ("none", "A", "B", "C")


def check_shortcut(shortcut: Any) -> None:
    """Refuse a shortcut that is not one of the paper's three, or "none"."""
    check_choice("shortcut", shortcut, SHORTCUTS)


def check_depth(depth: int) -> None:
    """Refuse a depth that is not 6n+2, and name its neighbours.

    >>> check_depth(55)
    Traceback (most recent call last):
    ...
    ValueError: depth must be 6n+2 (8, 14, 20, …), got 55: the nearest are 50 and 56
    """
    if isinstance(depth, bool) or not isinstance(depth, int):
        raise TypeError(f"depth must be 6n+2 (8, 14, 20, …), a whole number, got {depth!r}")
    if depth < 8 or depth % 6 != 2:
        below = max(8, depth - (depth - 2) % 6)
        raise ValueError(f"depth must be 6n+2 (8, 14, 20, …), got {depth}: the nearest are {below} and {below + 6}")


def check_block_class(block: Any) -> None:
    """Refuse anything but a block class, which knows its ``expansion``.

    >>> check_block_class("Bottleneck")
    Traceback (most recent call last):
    ...
    TypeError: block must be a block class such as BasicBlock or Bottleneck, got 'Bottleneck'
    """
    if not (isinstance(block, type) and hasattr(block, "expansion")):
        came = f"a {type(block).__name__} already built" if isinstance(block, torch.nn.Module) else repr(block)
        raise TypeError(f"block must be a block class such as BasicBlock or Bottleneck, got {came}")


def check_layers(layers: Any) -> None:
    """Refuse anything but four block counts.

    >>> check_layers([3, 4, 6])
    Traceback (most recent call last):
    ...
    ValueError: layers must hold 4 block counts, one a stage, such as [3, 4, 6, 3], got 3: [3, 4, 6]
    """
    wanted = "layers must hold 4 block counts, one a stage, such as [3, 4, 6, 3]"
    if isinstance(layers, str) or not isinstance(layers, Sequence):
        raise TypeError(f"{wanted}, got {layers!r}")
    if len(layers) != 4:
        raise ValueError(f"{wanted}, got {len(layers)}: {list(layers)!r}")
    for i, count in enumerate(layers):
        check_count(f"layers[{i}]", count)


def check_positive(name: str, value: Any) -> None:
    """Refuse anything but a finite number above zero.

    >>> check_positive("lr", -0.1)
    Traceback (most recent call last):
    ...
    ValueError: lr must be a finite number above 0, got -0.1
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a finite number above 0, got {value!r}")
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be a finite number above 0, got {value}")


def check_not_negative(name: str, value: Any) -> None:
    """Refuse anything but a finite number from zero up.

    >>> check_not_negative("momentum", -0.9)
    Traceback (most recent call last):
    ...
    ValueError: momentum must be a finite number from 0 up, got -0.9
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a finite number from 0 up, got {value!r}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a finite number from 0 up, got {value}")


def check_images(x: Any, channels: int) -> None:
    """Refuse anything but a batch of images, (batch, channels, height, width).

    >>> check_images(torch.rand(3, 32, 32), 3)
    Traceback (most recent call last):
    ...
    ValueError: the input must have 4 dimensions (batch, 3, height, width), got shape (3, 32, 32)
    """
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"the input must be a tensor (batch, {channels}, height, width), got {type(x).__name__}")
    if x.dim() != 4:
        raise ValueError(
            f"the input must have 4 dimensions (batch, {channels}, height, width), got shape {tuple(x.shape)}"
        )
    if x.shape[1] != channels:
        raise ValueError(f"the input must have {channels} channels in dimension 1, got shape {tuple(x.shape)}")
