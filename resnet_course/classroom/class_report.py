"""The report on a class: a line for each student, and everybody's runs on one page, with outliers and copies named."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resnet_course.classroom import anomalies
from resnet_course.classroom.anomalies import describe_copies, find_copies, find_outliers, shorten
from resnet_course.classroom.assignment import variant
from resnet_course.classroom.submissions import Run, Student, group_by, read_class
from resnet_lib.figures import colour_of, draw_pictures, label_of
from resnet_lib.files import write_whole
from resnet_lib.recipes import Recipe, plain_text
from resnet_lib.records import format_error, load_records, results_folder, summarize
from resnet_lib.report import Section, finding, format_page, format_text, origin, tally

BOOK = ("digits", "digits-long", "chapters", "cifar10-jpg")  # the runs that come with the book
MOST_DEPTHS, DEEPEST = 12, 9999  # in the picture
FEWEST_STUDENTS = 3  # that a network has in the heading, where the class has so many
CLASS_MEAN: dict[str, Any] = {"marker": "s", "markersize": 4, "linewidth": 1}
MOST_LINES, MOST_LINES_PRINTED = 500, 5  # of a list, on the page and on the terminal


@dataclass(frozen=True)
class ClassRuns:
    """What a class handed in, and what stands out in it; ``counted`` are the runs that means are taken of."""

    size: str  # how much it is, in words
    students: list[list[str]]  # a line for each; a line of headings first
    runs: list[Run]
    counted: list[Run]
    named: dict[str, list[str]]  # copies and the like, a line each

    @property
    def drawn(self) -> dict[tuple[str, int], list[Run]]:
        """The runs in the picture, by network: at the depths with the most of them."""
        ended = [run for run in self.runs if run.network[1] <= DEEPEST and not run.record.diverged]
        depths = {depth for depth, _ in Counter(run.network[1] for run in ended).most_common(MOST_DEPTHS)}
        return _by_network(run for run in ended if run.network[1] in depths)


def make_class_report(folder: Path, out: Path) -> str:
    """Report on a class as one HTML page or, for a gradebook, as a table; return what to print: the lists' beginning.

    Args:
        folder: what the class handed in, as `read_class` reads it. A file that can't be used is named on the page,
            with the reason.
        out: the page (.html), or the table of students alone (.csv).

    Raises:
        ValueError: no such folder, no record in it, or an ``out`` that can't be.
        OSError: the page can't be written.
    """
    if out.suffix.lower() not in (".html", ".csv") or out.is_dir():
        raise ValueError(f"out must be a file that ends in .html or .csv, got {out}")
    of_class = examine(*read_class(folder))
    form = format_html if out.suffix.lower() == ".html" else format_csv
    write_whole(out, form(of_class).encode())
    lists = [
        {"heading": f"{name}: {len(lines):,}", "listed": shorten(lines, MOST_LINES_PRINTED)}
        for name, lines in of_class.named.items()
    ]
    table = {"heading": headline(of_class), "cells": by_network(of_class.counted)}
    return f"{of_class.size} of {folder} reported in {out}\n\n{format_text([table, *lists])}"


def examine(students: list[Student], unusable: list[str]) -> ClassRuns:
    """Find what stands out in what `read_class` has read."""
    runs = [run for student in students for run in student.runs]
    book = [Run("the book", record) for name in BOOK for record in load_records(results_folder(name))]
    handed_in = set(map(id, runs))
    copies = [(why, group) for why, group in find_copies([*book, *runs]) if handed_in & set(map(id, group))]
    repeated = {id(run) for _, group in copies for run in group[1:]}
    ended = [run for run in runs if not run.record.diverged]
    counted = [run for run in ended if id(run) not in repeated]
    named = {
        "Copies": describe_copies(copies),
        "Outliers": find_outliers(ended, counted),
        "Diverged": [str(run) for run in runs if run.record.diverged],
        "Missing runs": [],
        "Runs that are not the student's case": [],
        "Files not used": unusable,
    }
    copied = {run.student for _, group in copies for run in group}
    lines = [["student", "number", "complete", "points", "handed in", "remarks"]]
    numbers = Counter(student.number for student in students)
    for student in students:
        missing, strange = compare_with_case(student)
        named["Missing runs"] += [f"{student.name}: {recipe.name}" for recipe in missing]
        named["Runs that are not the student's case"] += map(str, strange)
        facts = {
            "no number found": not student.number,
            f"number {student.number} also of others": student.number and numbers[student.number] > 1,
            f"{len(strange)} runs of another case": strange,
            "no record": not student.runs,
            "copies": student.name in copied,
        }
        asked, done = len(recipes_of(student.number)), len(student.runs) - len(strange)
        complete = f"{done} of {asked}" if asked else f"{done} runs"
        points = "" if student.points is None else f"{student.points:g}"
        remarks = "; ".join([*student.remarks, *(fact for fact, holds in facts.items() if holds)])
        lines.append([student.name, str(student.number or ""), complete, points, student.handed_in, remarks])
    counts = {"student": len(students), "run": len(runs)}
    size = ", ".join(f"{count:,} {what}{'s' * (count != 1)}" for what, count in counts.items())
    return ClassRuns(size, lines, runs, counted, named)


def compare_with_case(student: Student) -> tuple[list[Recipe], list[Run]]:
    """The runs of the student's case that are not there, and those that are there and are not of it."""
    asked = recipes_of(student.number)
    done = {run.record.recipe for run in student.runs}
    strange = [run for run in student.runs if asked and run.record.recipe not in asked]
    return [recipe for recipe in asked if recipe not in done], strange


def recipes_of(number: int | None) -> list[Recipe]:
    """The twelve runs that the assignment asks of the student with this number; none without a number."""
    if not number:
        return []
    case = variant(number)
    name = "-".join(["digits", *map(str, case.classes)])
    networks = [(depth, kind) for kind in ("none", "A") for depth in case.depths]
    return [Recipe(name, *network, seed, case.width) for network in networks for seed in case.seeds]


def format_csv(of_class: ClassRuns) -> str:
    """The table of students for a spreadsheet, in which no name is a formula."""
    table = io.StringIO(newline="")
    for line in of_class.students:
        csv.writer(table).writerow([f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell for cell in line])
    return table.getvalue()


def headline(of_class: ClassRuns) -> str:
    """What the class's runs say about depth, as `finding` does, by the networks that several students have run."""
    networks = _by_network(of_class.counted)
    common = [runs for runs in networks.values() if len({run.student for run in runs}) >= FEWEST_STUDENTS]
    runs = [run for group in common or networks.values() for run in group]
    return finding(run.record for run in runs) if runs else "No run but copies of the book's, and runs that diverged"


def by_network(runs: Iterable[Run]) -> list[list[str]]:
    """A line for each network and depth, over all recipes; a line of headings first."""
    lines = [["network", "depth", "training error %", "test error %", "runs", "students", "recipes"]]
    for network, group in _by_network(runs).items():
        counts = [len(group), len({run.student for run in group}), len({run.recipe for run in group})]
        lines.append([*_name(*network), *_errors(group), *map(str, counts)])
    return lines


def _by_network(runs: Iterable[Run]) -> dict[tuple[str, int], list[Run]]:
    groups = group_by(runs, lambda run: run.network)
    return {network: groups[network] for network in sorted(groups, key=_plain_first)}


def _plain_first(network: tuple[str, int]) -> tuple[bool, str, int]:
    return network[0] != "none", *network


def _name(shortcut: str, depth: int) -> list[str]:
    return ["plain" if shortcut == "none" else f"residual, {shortcut}", plain_text(depth)]


def _errors(runs: Iterable[Run]) -> list[str]:
    """Training and test error of runs of one network: mean ± standard deviation."""
    (row,) = summarize(run.record for run in runs)
    return [format_error(row.train_error, row.train_std), format_error(row.test_error, row.test_std)]


# The page


def format_html(of_class: ClassRuns) -> str:
    """The report as one page, light or dark as its reader's system, for screens from 360 pixels on."""
    networks = by_network(of_class.counted)
    drawn, pictures = of_class.drawn, {}
    if drawn:
        panels = len({shortcut for shortcut, _ in drawn})
        pictures = draw_pictures(lambda figure, stacked: draw_runs(figure, of_class, stacked), panels)
    means = shorten([f"{line[0]}, {line[1]} layers: {line[2]}" for line in networks[1:]], 2 * MOST_DEPTHS)
    recipes = [vars(run.record.recipe) for run in of_class.runs]
    names = [name for name in recipes[0] if name not in ("depth", "shortcut", "seed")]
    values = {name: [plain_text(str(recipe[name])) for recipe in recipes] for name in names}
    shared = [f"{name} {of_runs[0]}" for name, of_runs in values.items() if len(set(of_runs)) == 1]
    rules = {"Copies": anomalies.COPY_RULE, "Outliers": anomalies.OUTLIER_RULE}
    sections: list[Section] = [
        {
            "heading": headline(of_class),
            "lead": "" if drawn else f"No run to draw: none of at most {DEEPEST:,} layers ended with a finite loss.",
            "picture": pictures,
            "alt": f"A dot for each run's training error. Means of the class in percent: {'; '.join(means)}.",
            "cells": networks,
            "notes": ["Errors after the last epoch, over all recipes: mean ± standard deviation."],
        },
        {"heading": "The students", "cells": of_class.students},
        *(
            {"heading": name, "lead": rules.get(name, ""), "listed": shorten(lines or ["None."], MOST_LINES)}
            for name, lines in of_class.named.items()
        ),
        {
            "heading": "The recipes",
            "lead": f"All have {', '.join(shared) or 'nothing in common'}.",
            "facts": {name: tally(of_runs) for name, of_runs in values.items() if len(set(of_runs)) > 1},
        },
        {"heading": "Where they were run", "facts": origin(run.record for run in of_class.runs)},
    ]
    return format_page(f"Class report: {of_class.size}", sections)


def draw_runs(figure: Figure, of_class: ClassRuns, stacked: bool) -> None:
    """A dot for each run's training error in percent, by network and depth, beside the means of the class."""
    networks, counted = of_class.drawn, _by_network(of_class.counted)
    depths = sorted({depth for _, depth in networks})
    shortcuts = list(dict.fromkeys(shortcut for shortcut, _ in networks))
    rows, columns = (len(shortcuts), 1) if stacked else (1, len(shortcuts))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = dict(zip(shortcuts, grid.flat, strict=True))
    for shortcut, axes in panels.items():
        axes.set_title(label_of(shortcut), fontsize=11, fontweight="normal")
        axes.set_xticks(range(len(depths)), map(str, depths), fontsize=9)
        axes.set(xlabel="depth (weight layers)", ylabel="training error (%)")
        axes.label_outer()
    for (shortcut, depth), runs in networks.items():
        _draw_dots(panels[shortcut], depths.index(depth), runs)
        if (shortcut, depth) in counted:
            _draw_mean(panels[shortcut], depths.index(depth) + 0.3, counted[shortcut, depth])
    highest = max(run.record.train_error for runs in networks.values() for run in runs)
    panels[shortcuts[0]].set(xlim=(-0.5, len(depths) - 0.4), ylim=(-0.02 * highest - 0.1, 1.05 * highest + 1))
    handles = [Line2D([], [], color="grey", marker="o", markersize=3, linestyle="", label="a run")]
    handles.append(Line2D([], [], color=plt.rcParams["text.color"], label="mean ± deviation", **CLASS_MEAN))
    figure.legend(handles=handles, loc="outside lower left", ncols=1 if stacked else 3, frameon=False, fontsize=9)


def _draw_dots(axes: Axes, x: int, runs: Sequence[Run]) -> None:
    """The dots of a network beside one another, as far as they fit."""
    errors = sorted(run.record.train_error for run in runs)
    places = [x - 0.4 + 0.5 * (0.618 * i % 1) for i in range(len(errors))]  # the golden section leaves no gaps
    # One line with gaps takes a fifth of the space of a shape for each dot; of no length at all it isn't drawn.
    xs = [value for place in places for value in (place, place + 0.01, math.nan)]
    ys = [value for error in errors for value in (error, error, math.nan)]
    axes.plot(xs, ys, color=colour_of(runs[0].network[0]), linewidth=2.5, solid_capstyle="round")


def _draw_mean(axes: Axes, x: float, runs: Sequence[Run]) -> None:
    """Mean ± standard deviation."""
    (row,) = summarize(run.record for run in runs)
    axes.errorbar(x, row.train_error, row.train_std, color=plt.rcParams["text.color"], capsize=2, **CLASS_MEAN)
