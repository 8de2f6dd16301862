"""The report on a class: every student's runs on one page beside the book's, with outliers and copies named."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resnet_course.classroom.anomalies import (
    COPY_RULE,
    OUTLIER_RULE,
    describe_copies,
    find_copies,
    find_outliers,
    shorten,
)
from resnet_course.classroom.submissions import Run, group_by, group_by_network, read_class
from resnet_lib.figures import colour_of, draw_pictures, label_of
from resnet_lib.files import write_whole
from resnet_lib.recipes import Recipe
from resnet_lib.records import load_records, results_folder, summarize
from resnet_lib.report import (
    align,
    finding,
    format_error,
    format_page,
    origin,
    plain_text,
    tally,
)

BOOK = ("digits", "digits-long", "cifar10-jpg")  # the runs that come with the book
BOOK_RULE = (
    "The book's runs stand beside the class's of the same recipe, the seed aside. Where the class has none for a "
    "network and depth, they stand beside those of a similar recipe, which has other images or another width."
)
MOST_DEPTHS, DEEPEST = 12, 9999  # in the picture
FEWEST_STUDENTS = 3  # that a network has in the heading, where the class has so many
CLASS_MEAN = {"marker": "s", "markersize": 4, "linewidth": 1}
BOOK_MEAN = {**CLASS_MEAN, "marker": "D", "markerfacecolor": "none"}
MOST_LINES, MOST_LINES_PRINTED = 500, 5  # of a list, on the page and on the terminal


@dataclass(frozen=True)
class ClassRuns:
    """What a class handed in, and what stands out in it; ``counted`` are the runs that means are taken of."""

    students: dict[str, list[Run]]
    runs: list[Run]
    counted: list[Run]
    book: list[Run]
    copies: list[str]
    outliers: list[str]
    unusable: list[str]

    @property
    def size(self) -> str:
        """How much it is, in words."""
        return f"{_count(len(self.students), 'student')}, {_count(len(self.runs), 'run')}"


def make_class_report(folder: Path, out: Path) -> str:
    """Report on the records of a class as one HTML page.

    Args:
        folder: holds a folder or a zip file a student, and these hold records, however deep. A JSON file that can't
            be used is named on the page, with the reason.
        out: the page (.html).

    Returns:
        What to print: the table by network, and the first of the copies, outliers and files not used.

    Raises:
        ValueError: no such folder, no record in it, or an ``out`` that can't be.
        OSError: the page can't be written.
    """
    if out.suffix.lower() != ".html" or out.is_dir():
        raise ValueError(f"out must be a file that ends in .html, got {out}")
    of_class = examine(*read_class(folder))
    write_whole(out, format_html(of_class).encode())
    return f"{of_class.size} of {folder} reported in {out}\n\n{format_text(of_class)}"


def examine(students: dict[str, list[Run]], unusable: dict[str, str]) -> ClassRuns:
    """Find the copies and outliers in what `read_class` has read."""
    runs = [run for of_student in students.values() for run in of_student]
    book = [Run(None, record) for name in BOOK for record in load_records(results_folder(name))]
    copies = find_copies([*book, *runs])
    repeated = {id(run) for _, group in copies for run in group[1:]}
    counted = [run for run in runs if id(run) not in repeated]
    not_used = [f"{place}: {reason}" for place, reason in unusable.items()]
    not_used += [f"{name}: no record that can be used" for name, of_student in students.items() if not of_student]
    return ClassRuns(students, runs, counted, book, describe_copies(copies), find_outliers(runs, counted), not_used)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


# Tables and lists


def by_network(of_class: ClassRuns) -> list[list[str]]:
    """A line for each network and depth, over all recipes; a line of headings first."""
    lines = [["network", "depth", "training error %", "test error %", "runs", "students", "recipes"]]
    for (shortcut, depth), runs in group_by_network(of_class.counted).items():
        counts = [len(runs), len({run.student for run in runs}), len({run.recipe for run in runs})]
        lines.append([*_name(shortcut, depth), *_errors(runs), *map(str, counts)])
    return lines


def beside_the_book(of_class: ClassRuns) -> list[list[str]]:
    """Two lines for each of the book's recipes that the class has run; a line of headings first."""
    lines = [["network", "depth", "epochs", "recipe", "run by", "n", "training error %", "test error %"]]
    for ours, theirs, likeness in _beside(of_class):
        recipe = ours[0].recipe
        network = [*_name(recipe.shortcut, recipe.depth), str(recipe.epochs), likeness]
        lines += [[*network, who, str(len(runs)), *_errors(runs)] for who, runs in (("class", theirs), ("book", ours))]
    return lines


def _name(shortcut: str, depth: int) -> list[str]:
    return ["plain" if shortcut == "none" else f"residual, {shortcut}", plain_text(depth)]


def _beside(of_class: ClassRuns) -> list[tuple[list[Run], list[Run], str]]:
    """The book's runs, the class's, and whether by the same recipe: by `BOOK_RULE`."""
    found: list[tuple[list[Run], list[Run], str]] = []
    for likeness, key in (("same", lambda run: run.recipe), ("similar", _without_variant)):
        ours, theirs = group_by(of_class.book, key), group_by(of_class.counted, key)
        there = {runs[0].network for runs, _, _ in found}
        both = [(runs, theirs[shared]) for shared, runs in ours.items() if shared in theirs]
        found += [(*pair, likeness) for pair in both if pair[0][0].network not in there]
    return sorted(found, key=lambda item: (item[0][0].network[0] != "none", item[0][0].network))


def _without_variant(run: Run) -> Recipe:
    return replace(run.recipe, dataset="", width=1)


def _errors(runs: Iterable[Run]) -> list[str]:
    """Training and test error of runs of one network: mean ± standard deviation."""
    (row,) = summarize(run.record for run in runs)
    return [format_error(row.train_error, row.train_std), format_error(row.test_error, row.test_std)]


def headline(of_class: ClassRuns) -> str:
    """What the class's runs say about depth, as `finding` does, by the networks that several students have run."""
    networks = group_by_network(of_class.counted)
    common = [runs for runs in networks.values() if len({run.student for run in runs}) >= FEWEST_STUDENTS]
    runs = [run for group in common or networks.values() for run in group]
    return finding(run.record for run in runs) if runs else "No run but copies of the book's"


def settings(of_class: ClassRuns) -> tuple[str, dict[str, str]]:
    """What all recipes share, in a line, and the values of what differs between them, {setting: values}."""
    recipes = [vars(run.record.recipe) for run in of_class.runs]
    names = [name for name in recipes[0] if name not in ("depth", "shortcut", "seed")]
    values = {name: [plain_text(str(recipe[name])) for recipe in recipes] for name in names}
    shared = ", ".join(f"{name} {of_runs[0]}" for name, of_runs in values.items() if len(set(of_runs)) == 1)
    return shared, {name: tally(of_runs) for name, of_runs in values.items() if len(set(of_runs)) > 1}


def format_text(of_class: ClassRuns) -> str:
    """The report for a terminal: the table by network, and the beginning of each list."""
    lines = [headline(of_class), "", *align(by_network(of_class))]
    lists = {"Copies": of_class.copies, "Outliers": of_class.outliers, "Not used": of_class.unusable}
    for name, items in lists.items():
        lines += ["", f"{name}: {len(items):,}", *(f"  {item}" for item in shorten(items, MOST_LINES_PRINTED))]
    return "\n".join(lines)


# The picture


def draw_runs(figure: Figure, of_class: ClassRuns, stacked: bool) -> None:
    """A dot for each run's training error in percent, by network and depth, beside the means of class and book."""
    depths = drawn_depths(of_class)
    every, counted = group_by_network(of_class.runs), group_by_network(of_class.counted)
    book = [ours for ours, _, _ in _beside(of_class)]
    shortcuts = list(dict.fromkeys(shortcut for shortcut, depth in every if depth in depths))
    rows, columns = (len(shortcuts), 1) if stacked else (1, len(shortcuts))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, shortcut in zip(panels.flat, shortcuts, strict=True):
        for x, depth in enumerate(depths):
            _draw_dots(axes, x, every.get((shortcut, depth), []), colour_of(shortcut))
            _draw_mean(axes, x + 0.25, counted.get((shortcut, depth), []), CLASS_MEAN)
            for ours in (ours for ours in book if ours[0].network == (shortcut, depth)):
                _draw_mean(axes, x + 0.4, ours, BOOK_MEAN)
        axes.set_title(label_of(shortcut), fontsize=11, fontweight="normal")
        axes.set_xticks(range(len(depths)), map(str, depths), fontsize=9)
        axes.set_xlabel("depth (weight layers)")
        axes.label_outer()
    highest = max(run.record.train_error for runs in every.values() for run in runs)
    panels[0, 0].set(xlim=(-0.5, len(depths) - 0.4), ylim=(-0.02 * highest - 0.1, 1.05 * highest + 1))
    for axes in panels[:, 0]:
        axes.set_ylabel("training error (%)")
    _explain_marks(figure, bool(book), columns=1 if stacked else 3)


def drawn_depths(of_class: ClassRuns) -> list[int]:
    """The depths in the picture: those with the most runs."""
    runs = Counter(run.record.recipe.depth for run in of_class.runs if run.record.recipe.depth <= DEEPEST)
    return sorted(depth for depth, _ in runs.most_common(MOST_DEPTHS))


def _draw_dots(axes: Axes, x: int, runs: Sequence[Run], colour: str) -> None:
    """The dots beside one another, as far as they fit."""
    errors = sorted(run.record.train_error for run in runs)
    places = [x - 0.4 + 0.5 * (0.618 * i % 1) for i in range(len(errors))]  # the golden section leaves no gaps
    # One line with gaps takes a fifth of the space of a shape for each dot; of no length at all it isn't drawn.
    xs = [value for place in places for value in (place, place + 0.01, math.nan)]
    ys = [value for error in errors for value in (error, error, math.nan)]
    axes.plot(xs, ys, color=colour, linewidth=2.5, solid_capstyle="round")


def _draw_mean(axes: Axes, x: float, runs: Sequence[Run], mark: dict[str, Any]) -> None:
    """Mean ± standard deviation."""
    if runs:
        (row,) = summarize(run.record for run in runs)
        axes.errorbar(x, row.train_error, row.train_std, color=plt.rcParams["text.color"], capsize=2, **mark)


def _explain_marks(figure: Figure, has_book: bool, columns: int) -> None:
    handles = [Line2D([], [], color="grey", marker="o", markersize=3, linestyle="", label="a run")]
    for label, mark in [("class: mean ± deviation", CLASS_MEAN), ("book", BOOK_MEAN)][: 1 + has_book]:
        handles.append(Line2D([], [], color=plt.rcParams["text.color"], label=label, **mark))
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, frameon=False, fontsize=9)


# The page


def format_html(of_class: ClassRuns) -> str:
    """The report as one page, light or dark as its reader's system, for screens from 360 pixels on."""
    shared, differing = settings(of_class)
    book = beside_the_book(of_class)
    errors = "Errors after the last epoch, over all recipes: mean ± standard deviation."
    lists = {"Copies": (COPY_RULE, of_class.copies), "Outliers": (OUTLIER_RULE, of_class.outliers)}
    sections: list[dict[str, Any]] = [
        {"heading": headline(of_class), **_picture(of_class), "cells": by_network(of_class), "notes": [errors]},
        {"heading": "Beside the book", **({"cells": book} if book[1:] else {"lead": "The book has none of them."})}
        | {"notes": [BOOK_RULE]},
    ]
    for heading, (rule, lines) in (lists | {"Files not used": ("", of_class.unusable)}).items():
        sections.append({"heading": heading, "lead": rule, "listed": shorten(lines or ["None."], MOST_LINES)})
    sections += [
        {"heading": "The recipes", "lead": f"All have {shared or 'nothing in common'}.", "facts": differing},
        {"heading": "Where they were run", "facts": origin(run.record for run in of_class.runs)},
    ]
    return format_page(f"Class report: {of_class.size}", sections)


def _picture(of_class: ClassRuns) -> dict[str, Any]:
    if not drawn_depths(of_class):
        return {"lead": f"No network of at most {DEEPEST:,} layers to draw."}
    panels = len({run.record.recipe.shortcut for run in of_class.runs})
    means = [f"{line[0]}, {line[1]} layers: {line[2]}" for line in by_network(of_class)[1:]]
    listed = "; ".join(shorten(means, 2 * MOST_DEPTHS))
    alt = f"A dot for each run's training error. Means of the class in percent: {listed}."
    return {"picture": draw_pictures(lambda figure, stacked: draw_runs(figure, of_class, stacked), panels), "alt": alt}
