"""The assignment as a student has it: a case of their own, what the automatic tests ask for, and what is handed in.

The notebook is notebooks/assignment/degradation.ipynb; its tests run in Otter-Grader, https://otter-grader.readthedocs.io.
"""

import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from resnet_lib.datasets import Dataset
from resnet_lib.files import write_whole
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


class Refusal(str):
    """Why something that was handed in is not taken, in the place of its value: `require` says so."""


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
        if isinstance(names[name], Refusal):
            raise AssertionError(str(names[name]))
        if names[name] is ...:
            raise AssertionError(f"`{name}` is still `...`: replace the dots by your code")
        if isinstance(names[name], (list, dict)) and not names[name]:
            raise AssertionError(f"`{name}` is empty")


@dataclass(frozen=True)
class Drawing:
    """What a figure shows, as far as it is graded."""

    heights: list[float]  # of the points of its lines, of its dots, bars and level strokes
    has_spread: bool  # whether it has error bars or a band
    labels: list[str]  # of its upright axes

    def shows(self, *errors: float) -> bool:
        """Whether it has a mark at the height of each error."""
        return all(any(abs(error - height) < 0.01 for height in self.heights) for error in errors)


def look_at(figure: "Figure | Drawing") -> Drawing:
    """What a figure shows.

    >>> figure = Figure()
    >>> lines = figure.subplots().plot([8, 56], [0.5, 60.0])
    >>> look_at(figure)
    Drawing(heights=[0.5, 60.0], has_spread=False, labels=[''])
    """
    if isinstance(figure, Drawing):
        return figure
    heights: list[float] = []
    for axes in figure.axes:
        drawn = axes.collections
        ys = [line.get_ydata() for line in axes.lines]
        ys += [np.asarray(dots.get_offsets())[:, 1] for dots in drawn if isinstance(dots, PathCollection)]
        strokes = [path[:, 1] for lines in drawn if isinstance(lines, LineCollection) for path in lines.get_segments()]
        ys += [stroke for stroke in strokes if len(stroke) and np.ptp(stroke) == 0]  # an error bar is upright
        ys += [[bar.get_height()] for bar in axes.patches if isinstance(bar, Rectangle)]
        heights += [float(y) for of_one in ys for y in np.asarray(of_one, dtype=float)]
    has_bars = any(getattr(container, "has_yerr", False) for axes in figure.axes for container in axes.containers)
    has_band = any(isinstance(band, PolyCollection) for axes in figure.axes for band in axes.collections)
    return Drawing(heights, has_bars or has_band, [axes.get_ylabel() for axes in figure.axes])


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
            claim = f"{record.recipe.name} says that its first epoch had the loss {told}, but training it anew gives"
            raise AssertionError(f"{claim} another: leave the records as run_grid makes them")


def public_tests() -> str:
    """The folder of the tests that a student sees, as `otter.Notebook` takes it."""
    here = Path(__file__).parent
    checkout = here.parents[1] / "notebooks" / "assignment" / "tests"
    return str(checkout if checkout.is_dir() else here / "tests")


# What is handed in

DRIVE = Path("/content/drive/MyDrive")  # where Colab shows a student's Google Drive, once that is mounted


def records_folder() -> str:
    """Where the records are kept: on Google Drive if Colab has it, since Colab's own disk is soon lost."""
    return str(DRIVE / "degradation-records" if DRIVE.is_dir() else Path("records"))


def pack_submission(student_number: int, notebook: str | None = None, records: str | None = None) -> Path:
    """Write ``submission-NUMBER.zip`` with the notebook and its records, and return its path.

    Args:
        student_number: the number that the case follows from.
        notebook: the file of the notebook; by default the only one in this folder, or in Colab the one that is open.
        records: the folder of the records, by default `records_folder`.

    Raises:
        ValueError: a wrong number, no records, or a notebook that can't be told, or was not saved since it was edited.
    """
    check_number("student_number", student_number)
    folder = Path(records or records_folder())
    found = sorted(filter(Path.is_file, folder.glob("*.json")))
    if not found:
        raise ValueError(f"records must be the folder of your runs, got {folder}, which has none: run the experiment")
    content = _open_in_colab() if notebook is None else None
    if content is None:
        content = _find_notebook(notebook).read_bytes()
    if is_unedited(content):
        why = f"{notebook or 'the notebook'} has no student number in its file: save it (Ctrl+S), then run this again"
        raise ValueError(f'{why}; or name the file that you work in, pack_submission(STUDENT_NUMBER, "FILE.ipynb")')
    path, packed = Path(f"submission-{student_number}.zip"), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("degradation.ipynb", content)
        for record in found:
            archive.writestr(f"records/{record.name}", record.read_bytes())  # whatever date the file has
    write_whole(path, packed.getvalue())
    return path


def _open_in_colab() -> bytes | None:
    """The notebook as it stands in the browser, where Colab gives it: there it is not a file."""
    if "google.colab" not in sys.modules:
        return None
    try:
        from google.colab import _message  # type: ignore[import-untyped,import-not-found,unused-ignore]

        return json.dumps(_message.blocking_request("get_ipynb", timeout_sec=60)["ipynb"]).encode()
    except Exception as error:
        raise ValueError(
            f"Colab did not give the notebook ({error}): download it by File, Download, Download .ipynb, put it into "
            'the Files panel, and name it: pack_submission(STUDENT_NUMBER, "degradation.ipynb")'
        ) from None


def _find_notebook(name: str | None) -> Path:
    there = sorted(Path().glob("*.ipynb"))
    if (name is not None and not Path(name).is_file()) or (name is None and len(there) != 1):
        names = ", ".join(path.name for path in there) or "none"
        why = f"notebook must be the file of the notebook that you work in, got {name}; this folder has {names}"
        raise ValueError(f'{why}: say pack_submission(STUDENT_NUMBER, "FILE.ipynb")')
    return there[0] if name is None else Path(name)


def is_unedited(notebook: bytes) -> bool:
    """Whether a notebook still has dots for the student number, or is none of this assignment."""
    try:
        cells = json.loads(notebook)["cells"]
        code = "".join("".join(cell["source"]).replace(" ", "") for cell in cells if cell["cell_type"] == "code")
    except (ValueError, TypeError, LookupError, RecursionError):
        return True
    return "STUDENT_NUMBER=..." in code or "STUDENT_NUMBER" not in code
