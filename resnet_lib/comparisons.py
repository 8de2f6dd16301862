"""A folder of records as comparisons: which runs may stand in one table, and what they say about depth.

A record may come from anywhere: what can't be used is named and passed over, and what it says is text of others.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resnet_lib.recipes import PAPER_CIFAR10, Recipe
from resnet_lib.records import Record, group_runs, load_record


@dataclass(frozen=True)
class Comparison:
    """Runs whose recipes differ in depth, shortcut and seed alone; ``recipe`` holds what they share."""

    recipe: Recipe
    records: list[Record]


def plain_text(value: Any) -> str:
    """What a record says, as at most 120 characters that can be printed on one line.

    >>> plain_text("red\\x1b[31m")
    'red?[31m'
    """
    text = str(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
    text = text if len(text) <= 120 else f"{text[:119]}…"
    return "".join(character if character.isprintable() else "?" for character in text)


def gather_records(folder: Path) -> tuple[list[Record], dict[str, str]]:
    """The records in a folder, one for each run, and of the other JSON files {the name: why it is not used}.

    Raises:
        ValueError: no such folder, or no record in it.
    """
    if not folder.is_dir():
        raise ValueError(f"DIR must be a folder of records, got {folder}, which is none")
    found: list[tuple[Path, Record]] = []
    unusable = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found.append((path, load_record(path)))
        except (ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error).removeprefix(f"{path} is not a record of a run: ")
            unusable[plain_text(path.name)] = plain_text(reason)
    used: dict[Recipe, tuple[Path, Record]] = {}
    # Two records of one run would count as two seeds. The one with the run's own name comes first.
    for path, record in sorted(found, key=lambda item: item[0].name != item[1].recipe.file_name):
        first, _ = used.setdefault(record.recipe, (path, record))
        if first is not path:
            unusable[plain_text(path.name)] = f"it is a record of the same run as {plain_text(first.name)}"
    if not used:
        why = "".join(f"; {name} is none, since {reason}" for name, reason in list(unusable.items())[:1])
        raise ValueError(f"{folder} holds no record of a run (*.json){why}")
    return [record for _, record in used.values()], unusable


def compare(records: Iterable[Record]) -> list[Comparison]:
    """The records in groups that may stand in one table each, in the order of what they share."""
    groups: dict[Recipe, list[Record]] = {}
    for record in records:
        groups.setdefault(_shared(record.recipe), []).append(record)
    return [Comparison(*group) for group in sorted(groups.items(), key=lambda item: describe_recipe(item[0]))]


def _shared(recipe: Recipe) -> Recipe:
    """The recipe without depth, shortcut and seed.

    The paper warms up at a depth of 110 alone; here ``warm_up`` says that a run in steps departs from that.
    """
    departs = recipe.schedule == "steps" and recipe.warm_up != (recipe.depth == 110)
    return replace(recipe, depth=8, shortcut="none", seed=0, warm_up=departs)


def departures(comparison: Comparison) -> list[str]:
    """The settings in which the runs depart from the paper's recipe for CIFAR-10; the precision may be any.

    >>> departures(Comparison(_shared(Recipe(width=16)), []))
    ['dataset', 'epochs', 'schedule', 'augment', 'held_out']
    """
    paper = _shared(replace(PAPER_CIFAR10, precision=comparison.recipe.precision))
    return [name for name, value in vars(comparison.recipe).items() if value != getattr(paper, name)]


def describe_recipe(recipe: Recipe) -> str:
    """What the runs of a comparison share, in one line.

    >>> describe_recipe(Recipe())
    'digits, width 8, 10 epochs, batch 128, learning rate 0.1 (one-cycle), momentum 0.9, weight decay 0.0001, float32'
    """
    steps = "steps, with a warm-up not as in the paper" if recipe.warm_up else "steps"
    parts = [
        recipe.dataset,
        f"width {recipe.width}",
        f"{recipe.epochs} epoch{'s' if recipe.epochs > 1 else ''}",
        f"batch {recipe.batch_size}",
        f"learning rate {recipe.lr:g} ({'one-cycle' if recipe.schedule == 'one-cycle' else steps})",
        f"momentum {recipe.momentum:g}",
        f"weight decay {recipe.weight_decay:g}",
        f"{recipe.images} training images" if recipe.images else "",
        f"{recipe.held_out} images held out" if recipe.held_out else "",
        "cropped and mirrored at random" if recipe.augment else "",
        recipe.precision,
    ]
    return ", ".join(map(plain_text, filter(None, parts)))


def origin(records: Sequence[Record]) -> dict[str, str]:
    """On what the runs were measured, with what and when; where they differ, each value and its number of runs."""

    def values_of(describe: Callable[[dict[str, Any]], Any]) -> str:
        counts = Counter(plain_text(describe(record.environment)) for record in records)
        if len(counts) == 1:
            return next(iter(counts))
        return "; ".join(f"{value} ({count} of {len(records)} runs)" for value, count in sorted(counts.items()))

    def entry(name: str) -> str:
        return values_of(lambda environment: environment.get(name) or "not recorded")

    return {
        "runs": str(len(records)),
        "hardware": values_of(_describe_hardware),
        "PyTorch": entry("torch"),
        "resnet_lib": entry("resnet_lib"),
        "commit": entry("commit"),
        "date": entry("date"),
    }


def _describe_hardware(environment: dict[str, Any]) -> str:
    name = plain_text(environment.get("device_name") or "not recorded")
    return f"{name}, {plain_text(environment.get('cores'))} cores" if environment.get("device") == "cpu" else name


def finding(records: Iterable[Record]) -> str:
    """What the final training errors say about depth, in a sentence that is true of these runs.

    It compares the shallowest and the deepest network that plain and residual ones share. The deeper one trains worse
    if each of its runs, at least two, ends with a higher training error than each of the shallower's; it does not if
    its mean is no higher. Where neither can be said, the sentence gives the means and claims nothing.
    """
    errors: dict[str, dict[int, list[float]]] = {}
    for (shortcut, depth), runs in group_runs(records).items():
        errors.setdefault(shortcut, {})[depth] = [run.train_error for run in runs]
    names = _short_names(errors)
    depths = sorted(set.intersection(*(set(by_depth) for by_depth in errors.values())))
    if len(depths) < 2:
        deepest = [f"{names[kind]}-{max(by)} {statistics.mean(by[max(by)]):.1f} %" for kind, by in errors.items()]
        return f"Training error: {', '.join(deepest)}"
    pairs = {kind: (by_depth[depths[0]], by_depth[depths[-1]]) for kind, by_depth in errors.items()}
    means = {kind: tuple(map(statistics.mean, pair)) for kind, pair in pairs.items()}
    verdicts = {kind: _compare_errors(*pair) for kind, pair in pairs.items()}
    shallow, deep = depths[0], depths[-1]
    if verdicts.pop("none", None) == "worse":
        if not verdicts:
            return f"{deep} plain layers train worse than {shallow}"
        if set(verdicts.values()) == {"no worse"}:
            return f"{deep} plain layers train worse than {shallow}; {deep} residual layers do not"
        if set(verdicts.values()) == {"worse"}:
            rises = [f"{names[kind]} by {end - start:.1f} points" for kind, (start, end) in means.items()]
            return f"{deep} layers train worse than {shallow}: {', '.join(rises)}"
    listed = [f"{names[kind]} {start:.1f} and {end:.1f} %" for kind, (start, end) in means.items()]
    return f"Training error at {shallow} and {deep} layers: {', '.join(listed)}"


def _compare_errors(shallow: Sequence[float], deep: Sequence[float]) -> str:
    """Whether the deeper network trains "worse", "no worse", or it is "unclear"."""
    if min(len(shallow), len(deep)) < 2:
        return "unclear"
    if min(deep) > max(shallow):
        return "worse"
    return "no worse" if statistics.mean(deep) <= statistics.mean(shallow) else "unclear"


def _short_names(shortcuts: Iterable[str]) -> dict[str, str]:
    """A name for each kind of network; the option stands in it where there are several."""
    options = [shortcut for shortcut in shortcuts if shortcut != "none"]
    return {"none": "plain"} | {option: f"residual {option}" if options[1:] else "residual" for option in options}
