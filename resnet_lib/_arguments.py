"""Argument checks: every refusal is one sentence that names the argument, what came and what would do."""

from collections.abc import Iterable
from typing import Any


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
