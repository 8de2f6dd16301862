"""What a run was asked to do and what it leaves behind: recipes and records.

A record is one JSON file a run. It is written under another name first and then moved into place, so a run that is
cut off leaves either a whole record or none.
"""

import hashlib
import itertools
import json
import math
import os
import platform
import warnings
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from resnet_lib._arguments import (
    check_count,
    check_counts,
    check_depth,
    check_not_negative,
    check_positive,
    check_shortcut,
)

FORMAT = "resnet_lib record 1"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's outcome, the machine aside.

    SGD with momentum under a one-cycle schedule: the learning rate climbs to ``lr`` over the first 30% of the steps
    and falls to nearly zero over the rest.

    Raises:
        TypeError, ValueError: a value out of range.

    >>> Recipe(depth=56, shortcut="none").name
    'digits-plain-56-seed0'
    """

    dataset: str = "digits"
    depth: int = 20  # weight layers, 6n+2
    shortcut: str = "A"  # "none", "A", "B" or "C"
    seed: int = 0  # decides the initial weights and the order of the images
    width: int = 8  # channels of the first stage
    epochs: int = 10  # passes over the training images
    batch_size: int = 128
    lr: float = 0.1  # the highest learning rate
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        check_depth(self.depth)
        check_shortcut(self.shortcut)
        check_count("seed", self.seed, at_least=0)
        check_counts(width=self.width, epochs=self.epochs, batch_size=self.batch_size)
        check_positive("lr", self.lr)
        check_not_negative("momentum", self.momentum)
        check_not_negative("weight_decay", self.weight_decay)
        for name in ("lr", "momentum", "weight_decay"):  # so that lr=1 and lr=1.0 are the same recipe
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def name(self) -> str:
        """A name for people: data set, kind of network, depth, seed."""
        kind = "plain" if self.shortcut == "none" else f"residual-{self.shortcut}"
        return f"{self.dataset}-{kind}-{self.depth}-seed{self.seed}"

    @property
    def file_name(self) -> str:
        """The name of the run's record: `name` and a digest of the whole recipe."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.name}-{digest[:8]}.json"


@dataclass(frozen=True)
class Record:
    """The outcome of one run.

    Errors are top-1 errors in percent. The three final figures come from the trained network in evaluation mode, over
    all images. The curves hold one value an epoch: ``train_loss`` and ``train_error`` over the batches as they were
    trained on, ``test_error`` after the epoch. A loss that is not finite is None.
    """

    recipe: Recipe
    train_error: float
    test_error: float
    train_loss: float | None
    curves: dict[str, list[float | None]]
    seconds: float  # wall time of training and evaluation
    environment: dict[str, Any] = field(default_factory=dict)


def finite_or_none(value: float) -> float | None:
    """JSON has no NaN and no infinity: they become None.

    >>> finite_or_none(float("nan")), finite_or_none(0.5)
    (None, 0.5)
    """
    return value if math.isfinite(value) else None


def describe_environment(device: torch.device) -> dict[str, Any]:
    """What one must know to judge a figure: hardware, versions and date, and nothing that names the machine's owner."""
    from resnet_lib import __version__

    return {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor_name(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "resnet_lib": __version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():  # Linux, where platform.processor() is empty or just "x86_64"
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def save_record(record: Record, folder: Path) -> Path:
    """Write a record into ``folder`` at once or not at all, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / record.recipe.file_name
    text = json.dumps({"format": FORMAT, **asdict(record)}, indent=1, allow_nan=False)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def load_record(path: Path) -> Record:
    """Read one record.

    Raises:
        ValueError: the file is not a whole record; the sentence names it and says what is wrong.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise ValueError(f"it does not say {FORMAT!r}")
        missing = {f.name for f in fields(Record)} - data.keys()
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        _check_outcome(data)
        return Record(**{**data, "recipe": Recipe(**data["recipe"])})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a record of a run: {error}") from None


def _check_outcome(data: dict[str, Any]) -> None:
    """Refuse values that no run can have had: a table made of them would be wrong, or fail far from here."""
    for name in ("train_error", "test_error"):
        if not (_is_number(data[name]) and 0 <= data[name] <= 100):
            raise ValueError(f"its {name} must be from 0 to 100 %, got {data[name]!r}")
    if not (data["train_loss"] is None or _is_number(data["train_loss"])):
        raise ValueError(f"its train_loss must be a number or null, got {data['train_loss']!r}")
    if not _is_number(data["seconds"]):
        raise ValueError(f"its seconds must be a number, got {data['seconds']!r}")
    for name in ("curves", "environment"):
        if not isinstance(data[name], dict):
            raise ValueError(f"its {name} must be an object, got {data[name]!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def find_record(recipe: Recipe, folder: Path) -> Record | None:
    """The record of ``recipe`` in ``folder``, or None.

    A file in its place that is not its record is set aside, under a name that says so, with a warning.
    """
    path = folder / recipe.file_name
    if not path.exists():
        return None
    try:
        record = load_record(path)
        if record.recipe != recipe:
            raise ValueError(f"{path} is the record of another recipe, {record.recipe.name}")
        return record
    except ValueError as error:
        aside = _free_name(path.with_suffix(".set-aside"))
        os.replace(path, aside)
        warnings.warn(f"{error}; it is now {aside.name}, and the run is done again", stacklevel=2)
        return None


def _free_name(path: Path) -> Path:
    """The path itself or, where something lies there already, the path with the next free number."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(free for free in itertools.chain([path], numbered) if not free.exists())


def load_records(folder: Path) -> list[Record]:
    """All records in ``folder``, by name.

    Raises:
        ValueError: there is no record, or a JSON file that is not one.
    """
    records = [load_record(path) for path in sorted(folder.glob("*.json"))]
    if not records:
        raise ValueError(f"{folder} holds no record of a run (*.json)")
    return records
