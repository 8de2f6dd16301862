"""Run a measurement unit by unit and keep what it gives: one JSON file a measurement, whole after every unit.

A record says what was measured, when, on which machine and with which versions. A record that is cut off is continued
by the next call; one made elsewhere, or with other versions, is set aside and made anew, so that no record mixes two.
"""

import inspect
import json
import math
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from resnet_course.probes.measurements import MEASUREMENTS, Unit
from resnet_lib._arguments import check_choice
from resnet_lib.environment import describe_environment
from resnet_lib.files import make_folder, set_aside, write_whole
from resnet_lib.parallel import one_per_core

FORMAT = "resnet_lib probes 1"
MAY_DIFFER = ("date", "commit")  # within one record


def record_all(out: str | Path, names: Sequence[str] = tuple(MEASUREMENTS)) -> list[Path]:
    """Make the records of all measurements in the folder ``out``, and return their paths.

    Raises:
        ValueError: an unknown name, or an ``out`` that is a file.
    """
    for name in names:
        check_choice("names", name, MEASUREMENTS)
    return [record(name, out) for name in names]


def record(name: str, out: str | Path) -> Path:
    """Make or continue the record of one measurement, ``out``/``name``.json, and return its path.

    On each core one unit runs in one thread. The file is written anew after each unit; what is in it is not done
    again. An interrupt (Ctrl-C) keeps the units that are done.

    Raises:
        ValueError: an unknown name, or an ``out`` that is a file.
    """
    check_choice("name", name, MEASUREMENTS)
    path = make_folder(Path(out)) / f"{name}.json"
    measurement = MEASUREMENTS[name]
    about = inspect.getdoc(measurement.measure) or ""
    content = {"format": FORMAT, "name": name, "about": about, "environment": describe_environment(torch.device("cpu"))}
    rows = _rows_to_keep(path, content["environment"], measurement.units)
    missing = [unit for unit in measurement.units if unit not in [row["unit"] for row in rows]]
    order = {json.dumps(unit): place for place, unit in enumerate(measurement.units)}
    writing = threading.Lock()

    def run(unit: Unit) -> None:
        start = time.perf_counter()
        result = measurement.measure(**unit)
        with writing:
            rows.append({"unit": unit, "seconds": round(time.perf_counter() - start, 1), **rounded(result)})
            rows.sort(key=lambda row: order[json.dumps(row["unit"])])
            write_whole(path, _as_text(content, rows).encode())
            bar.update()

    with tqdm(total=len(measurement.units), initial=len(rows), desc=name) as bar:
        one_per_core(run, missing)
    return path


def _as_text(content: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """JSON with one row a line, so that a change of one row is a change of one line."""
    lines = ",\n".join(json.dumps(row, allow_nan=False) for row in rows)
    return f'{json.dumps(content, indent=1)[:-2]},\n "rows": [\n{lines}\n]}}\n'


def _rows_to_keep(path: Path, environment: dict[str, Any], units: list[Unit]) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        content = load_record(path)
        for key, value in environment.items():
            if key not in MAY_DIFFER and content["environment"].get(key) != value:
                raise ValueError(
                    f"{path} was made with {key} {content['environment'].get(key)}, and here it is {value}"
                )
    except ValueError as error:
        aside = set_aside(path)
        warnings.warn(f"{error}; it is now {aside.name}, and the measurement is made anew", stacklevel=3)
        return []
    return [row for row in content["rows"] if row["unit"] in units]


def load_record(path: str | Path) -> dict[str, Any]:
    """Read the record of a measurement: its name, what it is about, the environment, and one row a unit.

    Raises:
        ValueError: the file is not such a record; the sentence names it.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a record of a measurement: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is not a record of a measurement: it does not say {FORMAT!r}")
    if not (isinstance(content.get("environment"), dict) and isinstance(content.get("rows"), list)):
        raise ValueError(f"{path} is not a record of a measurement: it lacks its environment or its rows")
    return content


def rounded(value: Any, digits: int = 4) -> Any:
    """Every number in nested dictionaries and lists, rounded to so many significant digits; not finite: None.

    >>> rounded({"a": [1234567.0, 0.000123456, float("inf")], "b": 3})
    {'a': [1235000.0, 0.0001235, None], 'b': 3}
    """
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item, digits) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value
