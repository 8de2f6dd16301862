"""What stands out among the runs of a class: records made of one another, and errors far from everybody else's.

Source: B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers", 1993: 3.5 robust deviations.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from resnet_course.classroom.submissions import Run, group_by
from resnet_lib.report import plain_text

FEWEST_PEERS = 8  # runs that an outlier is told by
FARTHEST = 3.5  # robust deviations from the median
LEAST_DEVIATION = 0.5  # points: where most runs end at 0 %, they have no deviation of their own

COPY_RULE = (
    "No two trainings take the same time to the last digit, and other seeds or settings never give the same losses: "
    "such records come from one training, whoever ran it. The same recipe and seed may well give the same errors, "
    "which is no copy; so a copy of the same recipe whose times were changed by hand is not seen. "
    "In the means a training counts once, and one of the book's not at all."
)
OUTLIER_RULE = (
    f"A run stands out if its error is more than {FARTHEST} robust deviations from the median of the class: of the "
    f"runs of its recipe, the seed aside, or where these are fewer than {FEWEST_PEERS}, of those of its network and "
    f"depth, if at least {FEWEST_PEERS}. A robust deviation is 1.4826 times the median distance from the median, and "
    f"at least {LEAST_DEVIATION} points. That is a reason to look, not a fault; outliers count in the means."
)


def shorten(items: Sequence[str], most: int) -> list[str]:
    """At most so many of the items, and how many more there are.

    >>> shorten(["a", "b", "c"], 2)
    ['a', 'b', 'and 1 more']
    """
    return [*items[:most], f"and {len(items) - most:,} more"] if len(items) > most else list(items)


def find_copies(runs: Iterable[Run]) -> list[tuple[str, list[Run]]]:
    """The groups of runs that come from one training by `COPY_RULE`, each with what gives it away."""
    runs = list(runs)
    timed = [run for run in runs if _all_positive(*_times(run))]
    copies = [("the same times", group) for group in group_by(timed, _times).values() if len(group) > 1]
    known = [set(map(id, group)) for _, group in copies]
    trained = [run for run in runs if run.record.train_loss is not None and _all_positive(run.record.train_loss)]
    for group in group_by(trained, _outcome).values():
        if len(group_by(group, _deciding)) > 1 and not any(set(map(id, group)) <= ids for ids in known):
            copies.append(("the same losses from other settings", group))
    return [(evidence, group) for evidence, group in copies if any(run.student for run in group)]


def _all_positive(*values: float) -> bool:
    return all(0 < value < math.inf for value in values)  # false of NaN, too, which JSON as Python reads it may hold


def _times(run: Run) -> tuple[float, float]:
    return run.record.seconds, run.record.images_per_second


def _outcome(run: Run) -> tuple[float, ...]:
    return run.record.train_loss, *run.record.curves["train_error"], *run.record.curves["test_error"]


def _deciding(run: Run) -> Any:
    """The recipe without the images, which may have two names."""
    return replace(run.record.recipe, dataset="", images=None)


def describe_copies(copies: Iterable[tuple[str, list[Run]]]) -> list[str]:
    """A line for all copies among the same students by the same evidence, the longest first."""
    together: dict[tuple[str, str], list[list[Run]]] = {}
    for evidence, group in copies:
        names = list(dict.fromkeys(run.owner for run in group))
        together.setdefault((", ".join(shorten(names, 8)), evidence), []).append(group)
    lines = []
    for (names, evidence), groups in sorted(together.items(), key=lambda item: (-len(item[1]), item[0])):
        recipes = list(dict.fromkeys(plain_text(run.record.recipe.name) for group in groups for run in group))
        trainings = f"{len(groups)} training{'s' if len(groups) > 1 else ''}"
        of_what = ", ".join(shorten(recipes, 3))
        lines.append(f"{names}: {sum(map(len, groups))} records of {trainings}, told by {evidence} ({of_what})")
    return lines


def find_outliers(runs: Iterable[Run], counted: Iterable[Run]) -> list[str]:
    """A line for each error that stands out among the ``counted`` runs by `OUTLIER_RULE`, the farthest first."""
    counted = list(counted)
    by_recipe, by_network = group_by(counted, lambda run: run.recipe), group_by(counted, lambda run: run.network)
    measured: dict[Any, tuple[float, float]] = {}
    found = []
    for run in runs:
        peers, whose = by_recipe.get(run.recipe, []), "recipe"
        if len(peers) < FEWEST_PEERS:
            peers, whose = by_network.get(run.network, []), "network and depth"
        if len(peers) < FEWEST_PEERS:
            continue
        for name, words in (("train_error", "training error"), ("test_error", "test error")):
            if (id(peers), name) not in measured:
                measured[id(peers), name] = _median_and_deviation([getattr(peer.record, name) for peer in peers])
            median, deviation = measured[id(peers), name]
            error = getattr(run.record, name)
            distance = abs(error - median) / deviation
            if distance > FARTHEST:
                away = f"{distance:.1f} deviations from {median:.2f} %, the median of {len(peers)} runs of its {whose}"
                found.append((-distance, f"{run}: {words} {error:.2f} %, {away}"))
    return [line for _, line in sorted(found)]


def _median_and_deviation(errors: Sequence[float]) -> tuple[float, float]:
    median = statistics.median(errors)
    return median, max(LEAST_DEVIATION, 1.4826 * statistics.median(abs(error - median) for error in errors))
