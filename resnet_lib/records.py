"""What a run leaves behind: one JSON file, whole or not there.

A file that can't be used is named and set aside; nothing is deleted.
"""

import json
import math
import os
import platform
import subprocess
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from resnet_lib.files import set_aside, write_whole
from resnet_lib.recipes import Recipe

FORMAT = "resnet_lib record 2"


@dataclass(frozen=True)
class Record:
    """The outcome of one run.

    Errors are top-1 errors in percent. The final figures come from the trained network in evaluation mode, over all
    images that it trained on, all test images, and all held-out images (None if there are none). The curves hold one
    value an epoch: ``train_loss`` and ``train_error`` over the batches as they were trained on, ``test_error`` and
    ``held_out_error`` after the epoch. A loss that is not finite is None.
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
        "instructions": torch.backends.cpu.get_cpu_capability(),  # figures from AVX2 are not those from AVX-512
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "resnet_lib": __version__,
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():  # Linux, where platform.processor() is empty or just "x86_64"
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of this library: of the checkout that it runs from, or of the one that pip installed it from.

    A checkout whose files were changed since says so. None where neither is known.
    """
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        # Only if this very file is under version control: an installed package may lie within another checkout.
        subprocess.run([*git[:3], "ls-files", "--error-unmatch", __file__], capture_output=True, check=True)
        return subprocess.run(git, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pass
    try:
        installed_from = metadata.distribution("resnet-lib").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    return json.loads(installed_from or "{}").get("vcs_info", {}).get("commit_id")


def save_record(record: Record, folder: Path) -> Path:
    """Write a record into ``folder`` at once or not at all, and return its path."""
    path = folder / record.recipe.file_name
    text = json.dumps({"format": FORMAT, **asdict(record)}, indent=1, allow_nan=False)
    write_whole(path, f"{text}\n".encode())
    return path


def load_record(path: Path) -> Record:
    """Read one record.

    Raises:
        ValueError: the file is not a whole record; the sentence names it and says what is wrong.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for without end
        raise ValueError(f"{path} is not a record of a run: it is not a file")
    return parse_record(path.read_bytes(), str(path))


def parse_record(content: bytes, name: str) -> Record:
    """The record in a file's content, for files that have no path, such as a zip file's members.

    Raises:
        ValueError: it is not a whole record; the sentence begins with ``name`` and says what is wrong.
    """
    try:
        data = json.loads(content.decode("utf-8"))
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise ValueError(f"it does not say {FORMAT!r}")
        missing = {f.name for f in fields(Record)} - data.keys()
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        _check_outcome(data)
        record = Record(**{**data, "recipe": Recipe(**data["recipe"])})
        _check_curves(record)
        return record
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{name} is not a record of a run: {error}") from None


def _check_outcome(data: dict[str, Any]) -> None:
    """Refuse values that no run can have had: a table made of them would be wrong, or fail far from here."""
    if data["held_out_error"] is None:
        data = {**data, "held_out_error": 0}
    for name in ("train_error", "test_error", "best_test_error", "held_out_error"):
        if not (_is_number(data[name]) and 0 <= data[name] <= 100):
            raise ValueError(f"its {name} must be from 0 to 100 %, got {data[name]!r}")
    if not (data["train_loss"] is None or _is_number(data["train_loss"])):
        raise ValueError(f"its train_loss must be a number or null, got {data['train_loss']!r}")
    for name in ("seconds", "images_per_second"):
        if not _is_number(data[name]):
            raise ValueError(f"its {name} must be a number, got {data[name]!r}")
    for name in ("curves", "environment"):
        if not isinstance(data[name], dict):
            raise ValueError(f"its {name} must be an object, got {data[name]!r}")


def _check_curves(record: Record) -> None:
    """Refuse curves that a picture can't be made of."""
    for name in ("train_error", "test_error"):
        curve = record.curves.get(name)
        is_whole = isinstance(curve, list) and len(curve) == record.recipe.epochs
        if not is_whole or not all(_is_number(value) and 0 <= value <= 100 for value in curve):
            raise ValueError(f"its curve {name} must hold an error from 0 to 100 % for each of its epochs")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


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
    except FileNotFoundError:  # another process has just set it aside
        return None
    except ValueError as error:
        with suppress(FileNotFoundError):  # another process has just set it aside
            aside = set_aside(path)
            warnings.warn(f"{error}; it is now {aside.name}, and the run is done again", stacklevel=2)
        return None


def load_records(folder: Path) -> list[Record]:
    """All records in ``folder``, by name.

    Raises:
        ValueError: there is no record, or a JSON file that is not one.
    """
    records = [load_record(path) for path in sorted(folder.glob("*.json"))]
    if not records:
        raise ValueError(f"{folder} holds no record of a run (*.json)")
    return records


def results_folder(name: str) -> Path:
    """The folder of that name among the measurements that come with the book.

    Raises:
        ValueError: there is none of that name.

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
