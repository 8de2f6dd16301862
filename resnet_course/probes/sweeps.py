"""Sweeps of the learning rate: which runs decide a comparison, and whether they may.

Two ways of training are compared at each one's best rate, and a rate is the best only if there are worse ones on
either side of it. So a sweep begins with some rates and one seed, goes on where the best lies at an edge, and takes
the other seeds where it has found the best.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Unit = dict[str, Any]
Row = dict[str, Any]
Plan = Callable[[list[Row]], list[Unit]]

# 1, 2, 5, 10, … from 0.000001 to 50
LADDER = [float(f"{digit}e{power}") for power in range(-6, 2) for digit in (1, 2, 5)]
SEEDS = (0, 1, 2)


def rates(lowest: float, highest: float) -> list[float]:
    """The rates of the ladder 1, 2, 5, 10, … between two of them.

    >>> rates(0.02, 0.2)
    [0.02, 0.05, 0.1, 0.2]
    """
    return [rate for rate in LADDER if lowest <= rate <= highest]


def of_network(rows: Iterable[Row], network: Unit) -> list[Row]:
    """The rows of one network: all that its units say, the rate and the seed aside."""
    return [row for row in rows if {**row["unit"], "lr": 0, "seed": 0} == {**network, "lr": 0, "seed": 0}]


def _badness(row: Row) -> list[float]:
    """Orders runs by training error and, where that is equal, by the loss; one without end (None) comes last."""
    return [math.inf if row[key] is None else row[key] for key in ("train_error", "loss") if key in row]


def best_rate(rows: Sequence[Row]) -> tuple[float, bool]:
    """The rate at which the first seed ends best, and whether it lies inside the sweep: a higher error at either end.

    >>> sweep = [{"unit": {"lr": lr, "seed": 0}, "train_error": e, "loss": 1.0} for lr, e in [(1, 9), (2, 3), (5, 4)]]
    >>> best_rate(sweep), best_rate(sweep[:2])
    ((2, True), (2, False))
    """
    first = {row["unit"]["lr"]: _badness(row) for row in rows if row["unit"]["seed"] == SEEDS[0]}
    best = min(first, key=first.__getitem__)
    return best, all(first[edge][0] > first[best][0] for edge in (min(first), max(first)))


def best_inside(rows: Sequence[Row]) -> list[float]:
    """The seeds' training errors at the best rate of a sweep, which must lie inside and be tried with every seed.

    Raises:
        ValueError: it lies at an edge, or a seed is missing; the sentence says of which network.
    """
    best, inside = best_rate(rows)
    at_best = [row for row in rows if row["unit"]["lr"] == best]
    if not inside or len(at_best) < len(SEEDS):
        why = f"has {len(at_best)} of {len(SEEDS)} seeds" if inside else "lies at the edge of its sweep"
        raise ValueError(f"the best rate {best:g} of {rows[0]['unit']} {why}: no comparison rests on it")
    return [row["train_error"] for row in at_best]


def next_units(rows: Sequence[Row], network: Unit, start: Sequence[float], limits: Sequence[float]) -> list[Unit]:
    """The runs that a network's sweep asks for once ``rows`` are there; none are left where these are all there.

    First the rates ``start`` with the first seed, then the next rate of the ladder beyond an end that is not worse than
    the best, as far as the two ``limits``, and then the other seeds at the best one.
    """
    done = of_network(rows, network)
    tried = sorted({row["unit"]["lr"] for row in done} | set(start))
    units = [{**network, "lr": lr, "seed": SEEDS[0]} for lr in tried]
    if len({row["unit"]["lr"] for row in done}) < len(tried):
        return units
    errors = {row["unit"]["lr"]: _badness(row)[0] for row in done if row["unit"]["seed"] == SEEDS[0]}
    below = [lr for lr in rates(*limits) if lr < tried[0] and errors[tried[0]] <= min(errors.values())]
    above = [lr for lr in rates(*limits) if lr > tried[-1] and errors[tried[-1]] <= min(errors.values())]
    beyond = [*below[-1:], *above[:1]]
    if beyond:
        return [*units, {**network, "lr": beyond[0], "seed": SEEDS[0]}]
    return units + [{**network, "lr": best_rate(done)[0], "seed": seed} for seed in SEEDS[1:]]
