"""What stands out among the runs of a class: records made of one another, and errors far from everybody else's.

Source: B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers", 1993: 3.5 robust deviations.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from resnet_course.classroom.submissions import Run, group_by
from resnet_lib.recipes import plain_text

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

Copies = list[tuple[str, list[Run]]]  # what gives them away, and the runs that come from one training


def shorten(items: Sequence[str], most: int) -> list[str]:
    """At most so many of the items, and how many more there are.

    >>> shorten(["a", "b", "c"], 2)
    ['a', 'b', 'and 1 more']
    """
    return [*items[:most], f"and {len(items) - most:,} more"] if len(items) > most else list(items)


def find_copies(runs: Sequence[Run]) -> Copies:
    """The groups of runs that come from one training by `COPY_RULE`."""
    timed = [run for run in runs if _all_positive(*_times(run))]
    copies = [("the same times", group) for group in group_by(timed, _times).values() if len(group) > 1]
    known = [set(map(id, group)) for _, group in copies]
    # A network that diverged has no loss, and the same errors as all of its kind.
    trained = [run for run in runs if not run.record.diverged and _all_positive(run.record.train_loss)]
    for group in group_by(trained, _outcome).values():
        if len(group_by(group, _deciding)) > 1 and not any(set(map(id, group)) <= ids for ids in known):
            copies.append(("the same losses from other settings", group))
    return copies


def _all_positive(*values: Any) -> bool:
    return all(0 < value < math.inf for value in values)


def _times(run: Run) -> tuple[float, float]:
    return run.record.seconds, run.record.images_per_second


def _outcome(run: Run) -> tuple[Any, ...]:
    return run.record.train_loss, *run.record.curves["train_error"], *run.record.curves["test_error"]


def _deciding(run: Run) -> Any:
    """The recipe without the images, which may have two names."""
    return replace(run.record.recipe, dataset="", images=None)


def describe_copies(copies: Copies) -> list[str]:
    """A line for all copies among the same students by the same evidence, the longest first."""
    together: dict[tuple[str, str], list[list[Run]]] = {}
    for evidence, group in copies:
        names = ", ".join(shorten(list(dict.fromkeys(run.student for run in group)), 8))
        together.setdefault((names, evidence), []).append(group)
    lines = []
    for (names, evidence), groups in sorted(together.items(), key=lambda item: (-len(item[1]), item[0])):
        recipes = list(dict.fromkeys(plain_text(run.record.recipe.name) for group in groups for run in group))
        trainings = f"{len(groups)} training{'s' * (len(groups) > 1)}"
        found = f"{sum(map(len, groups))} records of {trainings}, told by {evidence}"
        lines.append(f"{names}: {found} ({', '.join(shorten(recipes, 3))})")
    return lines


def find_outliers(runs: Sequence[Run], counted: Iterable[Run]) -> list[str]:
    """A line for each error that stands out among the ``counted`` runs by `OUTLIER_RULE`, the farthest first."""
    counted = list(counted)
    groups = {**group_by(counted, lambda run: run.recipe), **group_by(counted, lambda run: run.network)}
    peers = {key: group for key, group in groups.items() if len(group) >= FEWEST_PEERS}
    found = []
    for name, words in {"train_error": "training error", "test_error": "test error"}.items():
        usual = {key: _median_and_deviation([getattr(peer.record, name) for peer in peers[key]]) for key in peers}
        for run in runs:
            key, whose = (run.recipe, "recipe") if run.recipe in peers else (run.network, "network and depth")
            if key not in peers:
                continue
            error, (median, deviation) = getattr(run.record, name), usual[key]
            away = abs(error - median) / deviation
            if away > FARTHEST:
                beside = f"{median:.2f} %, the median of {len(peers[key])} runs of its {whose}"
                found.append((-away, f"{run}: {words} {error:.2f} %, {away:.1f} deviations from {beside}"))
    return [line for _, line in sorted(found)]


def _median_and_deviation(errors: Sequence[float]) -> tuple[float, float]:
    median = statistics.median(errors)
    return median, max(LEAST_DEVIATION, 1.4826 * statistics.median(abs(error - median) for error in errors))
