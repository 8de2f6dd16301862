"""What a run leaves behind: one JSON file, whole or not there.

A file that can't be used is named and set aside; nothing is deleted.
"""

import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from resnet_lib.files import refuse, write_whole
from resnet_lib.recipes import Recipe

FORMAT = "resnet_lib record 2"
LARGEST = 16_000_000  # bytes; of 100,000 epochs a record has ten million


@dataclass(frozen=True)
class Record:
    """The outcome of one run.

    Errors are top-1 errors in percent. The final figures come from the trained network in evaluation mode, over all
    images that it trained on, all test images, and all held-out images (None if there are none). The curves hold one
    value an epoch: ``train_loss`` and ``train_error`` over the batches as they were trained on, ``test_error`` and
    ``held_out_error`` after the epoch. A loss that is not finite is None; it ends the run, and the curves with it.
    """

    recipe: Recipe
    train_error: float
    test_error: float
    best_test_error: float  # the lowest of the curve; chosen by the test images themselves, so it flatters
    held_out_error: float | None
    train_loss: float | None
    curves: dict[str, list[float | None]]
    seconds: float  # wall time of training and evaluation
    images_per_second: float  # trained on, evaluation not counted
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def diverged(self) -> bool:
        """Whether a loss that is not finite has ended the run: its errors say nothing, and no mean takes them."""
        return self.train_loss is None


def finite_or_none(value: float) -> float | None:
    """JSON has no NaN and no infinity: they become None."""
    return value if math.isfinite(value) else None


def save_record(record: Record, folder: Path) -> Path:
    """Write a record into ``folder`` at once or not at all, and return its path."""
    path = folder / record.recipe.file_name
    text = json.dumps({"format": FORMAT, **asdict(record)}, indent=1, allow_nan=False)
    write_whole(path, f"{text}\n".encode())
    return path


def load_record(path: Path) -> Record:
    """Read one record. ValueError: the file is not a whole one; the sentence names it and says what is wrong."""
    if path.exists() and not path.is_file():  # a pipe would be waited for without end
        raise ValueError(f"{path} is not a record of a run: it is not a file")
    with path.open("rb") as file:
        return parse_record(file.read(LARGEST + 1), str(path))


def parse_record(content: bytes, name: str) -> Record:
    """The record in a file's content, as `load_record`, for those without a path, such as a zip file's members."""
    try:
        if len(content) > LARGEST:
            raise ValueError(f"it has more than {LARGEST:,} bytes")
        data = json.loads(content.decode("utf-8"))
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise ValueError(f"it does not say {FORMAT!r}")
        missing = {f.name for f in fields(Record)} - data.keys()
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        record = Record(**{**data, "recipe": Recipe(**data["recipe"])})
        _check_outcome(record)
        return record
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{name} is not a record of a run: {error}") from None


def _check_outcome(record: Record) -> None:
    """Refuse values that no run can have had: a table made of them would be wrong, or fail far from here."""
    highest: dict[str, float] = {"train_error": 100, "test_error": 100, "best_test_error": 100, "held_out_error": 100}
    highest |= {"train_loss": math.inf, "seconds": math.inf, "images_per_second": math.inf}
    for name, most in highest.items():
        value = getattr(record, name)
        may_be_null = name in ("held_out_error", "train_loss")
        if not (_is_number(value, most) or (value is None and may_be_null)):
            bound = "up" if most == math.inf else "to 100 %"
            raise ValueError(f"its {name} must be a number from 0 {bound}{' or null' * may_be_null}, got {value!r}")
    if not isinstance(record.curves, dict) or not isinstance(record.environment, dict):
        raise ValueError("its curves and its environment must be objects")
    lengths = set()
    for name in {"train_error", "test_error", *record.curves}:
        curve: Any = record.curves.get(name)
        most, null = (math.inf, None) if name == "train_loss" else (100, ...)
        is_curve = isinstance(curve, list) and all(value is null or _is_number(value, most) for value in curve)
        lengths.add(len(curve) if is_curve else 0)
    ended_early = record.diverged and len(lengths) == 1 and 0 < max(lengths) < record.recipe.epochs
    if lengths != {record.recipe.epochs} and not ended_early:
        raise ValueError("its curves must hold a loss, and errors from 0 to 100 %, for each of its epochs")
    curve = record.curves["test_error"]
    for name, value in {"test_error": curve[-1], "best_test_error": min(curve)}.items():
        if getattr(record, name) != value:
            raise ValueError(f"its {name} must be {value}, by its curve, got {getattr(record, name)!r}")


def _is_number(value: Any, highest: float) -> bool:
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and math.isfinite(value) and 0 <= value <= highest


def find_record(recipe: Recipe, folder: Path) -> Record | None:
    """The record of ``recipe`` in ``folder``, or None; another file in its place is set aside, with a warning."""
    path = folder / recipe.file_name
    try:
        record = load_record(path)
        if record.recipe != recipe:
            raise ValueError(f"{path} is the record of another recipe, {record.recipe.name}")
        return record
    except FileNotFoundError:
        pass
    except ValueError as error:
        refuse(path, str(error), "the run is done again")
    return None


def load_records(folder: str | Path) -> list[Record]:
    """All records in ``folder``, by name. ValueError: there is none, or a JSON file that is not one."""
    records = [load_record(path) for path in sorted(Path(folder).glob("*.json"))]
    if not records:
        raise ValueError(f"{folder} holds no record of a run (*.json)")
    return records


def results_folder(name: str) -> Path:
    """The folder of that name among the measurements that come with the book. ValueError: there is none.

    >>> len(load_records(results_folder("digits")))
    18
    """
    here = Path(__file__).parent
    checkout, installed = here.parent / "book" / "results", here / "results"
    folder = (checkout if checkout.is_dir() else installed) / name
    if not folder.is_dir():
        there = ", ".join(sorted(repr(other.name) for other in folder.parent.glob("*/")))
        raise ValueError(f"the book holds no results called {name!r}; it holds {there or 'none'}")
    return folder


@dataclass(frozen=True)
class Summary:
    """The runs of one network, over its seeds: mean and standard deviation of the errors, in percent.

    The standard deviation is the sample's, with n-1 in the denominator; of one run it is None. Runs that diverged are
    counted apart; where all did, n is 0 and the errors are NaN.
    """

    depth: int
    shortcut: str
    n: int
    train_error: float
    train_std: float | None
    test_error: float
    test_std: float | None
    diverged: int = 0

    @property
    def network(self) -> str:
        """The kind of network, as a table names it."""
        return "plain" if self.shortcut == "none" else f"residual, {self.shortcut}"


def group_runs(records: Iterable[Record]) -> dict[tuple[str, int], list[Record]]:
    """The runs of each network, {(shortcut, depth): runs}: plain networks first, then by shortcut and depth."""
    groups: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        groups.setdefault((record.recipe.shortcut, record.recipe.depth), []).append(record)
    return dict(sorted(groups.items(), key=lambda item: (item[0][0] != "none", item[0])))


def summarize(records: Iterable[Record]) -> list[Summary]:
    """One `Summary` a network, in the order of `group_runs`."""
    rows = []
    for (shortcut, depth), runs in group_runs(records).items():
        ended = [run for run in runs if not run.diverged]
        train_error, train_std = _mean_and_std([run.train_error for run in ended])
        test_error, test_std = _mean_and_std([run.test_error for run in ended])
        diverged = len(runs) - len(ended)
        rows.append(Summary(depth, shortcut, len(ended), train_error, train_std, test_error, test_std, diverged))
    return rows


def _mean_and_std(values: list[float]) -> tuple[float, float | None]:
    if not values:
        return math.nan, None
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None


def format_table(records: Iterable[Record]) -> str:
    """The summaries as a table for a terminal or a notebook, errors in percent; it names what but seeds differs."""
    records = list(records)
    lines = ["network       depth   n   training error %     test error %"]
    for row in summarize(records):
        train, test = format_error(row.train_error, row.train_std, 5), format_error(row.test_error, row.test_std, 5)
        line = f"{row.network:<12}  {row.depth:>5} {row.n:>3}   {train:>16} {test:>16}"
        lines.append(f"{line}   {row.diverged} of {row.n + row.diverged} runs diverged" if row.diverged else line)
    settings = [[asdict(run.recipe).items() for run in runs] for runs in group_runs(records).values()]
    mixed = {name for ours in settings for own in ours for name, value in own - ours[0] if name != "seed"}
    lines += [f"means over runs that differ in {', '.join(sorted(mixed))}, too"] * bool(mixed)
    return "\n".join(lines)


def format_error(mean: float, std: float | None, width: int = 0) -> str:
    """Mean ± standard deviation, which takes at least ``width`` characters; of one run, the run; of none, a dash.

    >>> format_error(1.0, 0.25), format_error(1.0, 0.25, width=5), format_error(1.0, None), format_error(math.nan, None)
    ('1.00 ± 0.25', '1.00 ±  0.25', '1.00', '–')
    """
    if math.isnan(mean):
        return "–"
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:{width or ''}.2f}"
