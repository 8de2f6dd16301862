"""The assignment: each student's own case, what the automatic tests ask for, and what is handed in.

The notebook is notebooks/assignment/degradation.ipynb; its tests run in Otter-Grader, https://otter-grader.readthedocs.io.
"""

import hashlib
import signal
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from resnet_lib.datasets import Dataset
from resnet_lib.recipes import check_number
from resnet_lib.records import Record
from resnet_lib.training import Run

# Each student's own case

SHALLOW, DEEP, DEEPER = (8, 14), (50, 56), (74, 80)
WIDTHS = (6, 8, 10)
CLASSES = 6  # of the ten digits


@dataclass(frozen=True)
class Variant:
    """What one student trains: two depths, a width, some of the digits and three seeds; and a depth to predict."""

    depths: tuple[int, int]  # weight layers of the shallow and of the deep network
    held_out_depth: int  # weight layers of the network to predict, deeper than both
    width: int  # channels of the first stage
    classes: tuple[int, ...]  # digits, ascending
    seed: int  # the first of three

    @property
    def seeds(self) -> tuple[int, int, int]:
        return self.seed, self.seed + 1, self.seed + 2


def variant(student_number: int) -> Variant:
    """The variant of a student: always the same for one number, and another for nearly every other number.

    There are 210 choices of digits, 24 of depths and width, and 100,000 of seeds, so that results can't be copied.

    Raises:
        ValueError: not a whole number from 1 up.

    >>> variant(1)
    Variant(depths=(8, 56), held_out_depth=74, width=10, classes=(0, 2, 4, 6, 7, 9), seed=937770)
    """
    check_number("student_number", student_number)
    # A digest, since Python's own random choices may change from release to release.
    rest = int.from_bytes(hashlib.sha256(f"degradation {student_number}".encode()).digest()[:8], "big")

    def draw(choices: Sequence[Any]) -> Any:
        nonlocal rest
        rest, index = divmod(rest, len(choices))
        return choices[index]

    return Variant(
        depths=(draw(SHALLOW), draw(DEEP)),
        held_out_depth=draw(DEEPER),
        width=draw(WIDTHS),
        classes=draw(list(combinations(range(10), CLASSES))),
        seed=draw(range(10, 1_000_010, 10)),
    )


def restrict(dataset: Dataset, classes: Sequence[int]) -> Dataset:
    """The images of these classes alone, with labels from 0 up in the classes' order; its name lists the classes.

    Raises:
        ValueError: fewer than two classes, one of them twice, or one that the data set does not have.

    >>> from resnet_lib.datasets import load_dataset
    >>> few = restrict(load_dataset("digits"), (1, 4, 7))
    >>> few.name, few.num_classes, few.train_labels.unique().tolist()
    ('digits-1-4-7', 3, [0, 1, 2])
    """
    there = range(dataset.num_classes)
    if len(classes) < 2 or len(set(classes)) < len(classes) or not set(classes) <= set(there):
        raise ValueError(f"classes must be two or more different ones from 0 to {there[-1]}, got {tuple(classes)}")
    new_label = torch.full((dataset.num_classes,), -1)
    new_label[list(classes)] = torch.arange(len(classes))
    in_train, in_test = (new_label[labels] >= 0 for labels in (dataset.train_labels, dataset.test_labels))
    return replace(
        dataset,
        name="-".join([dataset.name, *map(str, classes)]),
        num_classes=len(classes),
        train_images=dataset.train_images[in_train],
        train_labels=new_label[dataset.train_labels[in_train]],
        test_images=dataset.test_images[in_test],
        test_labels=new_label[dataset.test_labels[in_test]],
    )


# What the automatic tests ask for


def require(names: Mapping[str, Any], *wanted: str) -> None:
    """Refuse a notebook that lacks one of the names that a test asks for.

    Raises:
        AssertionError: a name that is not defined, still stands for `...`, or is an empty list or dictionary.

    >>> require({"records": ...}, "records")
    Traceback (most recent call last):
    ...
    AssertionError: `records` is still `...`: replace the dots by your code
    """
    for name in wanted:
        if name not in names:
            raise AssertionError(f"`{name}` is not defined: its cell was not run, or ended with an error")
        if names[name] is ...:
            raise AssertionError(f"`{name}` is still `...`: replace the dots by your code")
        if isinstance(names[name], (list, dict)) and not names[name]:
            raise AssertionError(f"`{name}` is empty")


def drawn_heights(figure: Figure) -> list[float]:
    """The heights that a figure shows: of the points of its lines, of its dots and of its bars.

    >>> figure = Figure()
    >>> lines = figure.subplots().plot([8, 56], [0.5, 60.0])
    >>> drawn_heights(figure)
    [0.5, 60.0]
    """
    heights: list[float] = []
    for axes in figure.axes:
        dots = [artist.get_offsets() for artist in axes.collections if isinstance(artist, PathCollection)]
        for ys in [*(line.get_ydata() for line in axes.lines), *(np.asarray(places)[:, 1] for places in dots)]:
            heights += np.asarray(ys, dtype=float).tolist()
        heights += [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]
    return heights


def shows_spread(figure: Figure, runs: Sequence[float]) -> bool:
    """Whether a figure has error bars or a band, or else a mark at the height of each run."""
    has_bars = any(getattr(container, "has_yerr", False) for axes in figure.axes for container in axes.containers)
    has_band = any(isinstance(band, PolyCollection) for axes in figure.axes for band in axes.collections)
    heights = drawn_heights(figure)
    return has_bars or has_band or all(any(abs(run - height) < 0.01 for height in heights) for run in runs)


def require_measured(records: Sequence[Record], dataset: Dataset) -> None:
    """Refuse records that were not made by training: a first epoch whose loss is not what its training gives.

    The first epoch of the shallowest runs is trained anew. After so few steps of so few layers, rounding has not yet
    led two machines apart by more than a few tenths of a percent.

    Raises:
        AssertionError: a loss that is more than 2 % away.
    """
    least = min(record.recipe.depth for record in records)
    for record in (record for record in records if record.recipe.depth == least):
        told = record.curves["train_loss"][0]
        run = Run(record.recipe, dataset, torch.device("cpu"))
        run.train_epoch()
        loss = run.curves["train_loss"][0]
        if told is None or not abs(told - loss) <= 0.02 * loss:
            raise AssertionError(
                f"{record.recipe.name} says that its first epoch had the loss {told}, but training gives {loss:.4f}: "
                "leave the records as run_grid makes them"
            )


# What is handed in


def pack_submission(
    student_number: int, notebook: Path = Path("degradation.ipynb"), records: Path = Path("records")
) -> Path:
    """Write ``submission-NUMBER.zip`` with the notebook as it was last saved and its records, and return its path.

    Where the notebook is not a file beside the records, as in Colab, the zip holds the records alone.

    Raises:
        ValueError: a wrong student number, or there are no records yet.
    """
    check_number("student_number", student_number)
    found = sorted(records.glob("*.json"))
    if not found:
        raise ValueError(f"records must be the folder of your runs, got {records}, which has none: run the experiment")
    path = Path(f"submission-{student_number}.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if notebook.exists():
            archive.write(notebook, notebook.name)
        for record in found:
            archive.write(record, f"records/{record.name}")
    return path


# While a submission is graded


def limit_cells(seconds: float) -> None:
    """Let every further cell of this notebook end with a TimeoutError after so many seconds.

    The error comes again after a tenth of that time, 2 seconds at least, until the cell ends, for code that goes on
    after an error. It needs the system's timer, which Windows lacks: there nothing is limited.
    """
    from IPython import get_ipython  # here, since only notebooks have it

    if not hasattr(signal, "setitimer"):
        return
    shell = get_ipython()

    def stop_cell(number: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_globals is not shell.user_ns:
            frame = frame.f_back
        if frame is not None:  # else the cell's own code has ended, and an error now would hit the kernel
            raise TimeoutError(
                f"stopped after {seconds:g} seconds. Does a loop never end, or did you train more than was asked?"
            )

    def start_timer(info: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds, max(2, seconds / 10))

    def stop_timer(result: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    signal.signal(signal.SIGALRM, stop_cell)
    shell.events.register("pre_run_cell", start_timer)
    shell.events.register("post_run_cell", stop_timer)


class Grading:
    """A plugin of Otter-Grader: submissions are run anew, no cell for longer than a limit, and errors are named.

    Otter has no limit of its own. The limit in seconds is ``cell_seconds`` of the plugin's settings.
    """

    def __init__(self, submission_path: str, metadata: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        self.seconds = settings.get("cell_seconds", 600)
        self.errors = ""

    def before_grading(self, config: object) -> None:
        """Set the records that were handed in aside, so that all that is graded is measured here."""
        folder = Path("records")
        if folder.is_dir():
            folder.rename("records-handed-in")

    def before_execution(self, notebook: Any) -> Any:
        import nbformat  # here, since only grading needs it

        source = f"from resnet_course.classroom import limit_cells\nlimit_cells({self.seconds})"
        notebook.cells.insert(0, nbformat.v4.new_code_cell(source))
        return notebook

    def after_grading(self, results: Any) -> None:
        self.errors = describe_errors(results.notebook)
        results.set_output(self.errors)

    def generate_report(self) -> str:
        return self.errors


def describe_errors(notebook: Any) -> str:
    """Which cells of a notebook that was run ended with an error: for each, its first line of code and the error."""
    found = []
    for cell in notebook.cells:
        errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
        for error in errors:
            lines = [line for line in cell.source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            found.append(f"- The cell that begins with `{lines[0]}` ended with {error.ename}: {error.evalue}")
    if not found:
        return "Your notebook ran from its first to its last cell without an error."
    return "\n".join(["Your notebook was run from top to bottom. These cells ended with an error:", *found])
