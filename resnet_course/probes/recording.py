"""Run a measurement unit by unit and keep what it gives: one JSON file a measurement, whole after every unit.

A record says what was measured, when, on which machine and with which versions. A record that is cut off is continued
by the next call; one made elsewhere, or with other versions, is set aside and made anew, so that no record mixes two.
"""

import inspect
import json
import threading
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from resnet_course.probes.plans import MEASUREMENTS
from resnet_course.probes.sweeps import Plan, Unit
from resnet_lib.environment import describe_environment
from resnet_lib.files import make_folder, set_aside, write_whole
from resnet_lib.parallel import one_per_core

FORMAT = "resnet_lib probes 1"
MAY_DIFFER = ("date", "commit")  # within one record


def record_measurements(out: str | Path, names: Iterable[str] = tuple(MEASUREMENTS)) -> list[Path]:
    """Make or continue the records of these `MEASUREMENTS` in the folder ``out``, NAME.json, and return their paths.

    On each core one unit runs in one thread. A file is written anew after each unit; what is in it is not done again.
    An interrupt (Ctrl-C) keeps the units that are done. An ``out`` that is a file is a ValueError.
    """
    folder = make_folder(Path(out))
    return [_record(name, folder / f"{name}.json") for name in names]


def _record(name: str, path: Path) -> Path:
    measure, planned = MEASUREMENTS[name]
    plan: Plan = planned if callable(planned) else lambda rows: planned
    about = inspect.getdoc(measure) or ""
    environment = describe_environment(torch.device("cpu"))
    content = {"format": FORMAT, "name": name, "about": about, "environment": environment}
    rows = _rows_to_keep(path, environment, plan)
    writing = threading.Lock()

    def run(unit: Unit) -> None:
        start = time.perf_counter()
        result = measure(**unit)
        with writing:
            rows.append({"unit": unit, "seconds": round(time.perf_counter() - start, 1), **rounded(result)})
            order = plan(rows)
            rows.sort(key=lambda row: order.index(row["unit"]))
            write_whole(path, _as_text(content, rows).encode())
            bar.update()

    with tqdm(initial=len(rows), desc=name) as bar:
        while todo := _missing(plan(rows), rows):
            bar.total = len(rows) + len(todo)
            one_per_core(run, todo[: torch.get_num_threads()])  # no more: what comes out may change the plan
    return path


def _missing(units: list[Unit], rows: list[dict[str, Any]]) -> list[Unit]:
    done = [row["unit"] for row in rows]
    return [unit for unit in units if unit not in done]


def _as_text(content: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """JSON with one row a line, so that a change of one row is a change of one line."""
    lines = ",\n".join(json.dumps(row, allow_nan=False) for row in rows)
    return f'{json.dumps(content, indent=1)[:-2]},\n "rows": [\n{lines}\n]}}\n'


def _rows_to_keep(path: Path, environment: dict[str, Any], plan: Plan) -> list[dict[str, Any]]:
    """What a file holds of these units; a file that can't be continued is set aside."""
    if not path.exists():
        return []
    try:
        content = load_measurement(path)
        for key, value in environment.items():
            then = content["environment"].get(key)
            if key not in MAY_DIFFER and then != value:
                raise ValueError(f"{path} was made with {key} {then}, and here it is {value}")
        units = plan(content["rows"])
        return [row for row in content["rows"] if row["unit"] in units]
    except (ValueError, LookupError, TypeError) as error:
        aside = set_aside(path)
        warnings.warn(f"{error}; it is now {aside.name}, and the measurement is made anew", stacklevel=3)
        return []


def load_measurement(path: str | Path) -> dict[str, Any]:
    """Read the record of a measurement: its name, what it is about, the environment, and one row a unit.

    Raises:
        ValueError: the file is not such a record; the sentence names it.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"it does not say {FORMAT!r}")
        if not (isinstance(content.get("environment"), dict) and isinstance(content.get("rows"), list)):
            raise ValueError("it lacks its environment or its rows")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a record of a measurement: {error}") from None
    return content


def rounded(value: Any) -> Any:
    """Every number in nested dictionaries and lists, rounded to four significant digits; not finite: None.

    >>> rounded({"a": [1234567.0, 0.000123456, float("inf")], "b": 3})
    {'a': [1235000.0, 0.0001235, None], 'b': 3}
    """
    text = json.dumps(value)
    return json.loads(text, parse_float=lambda digits: float(f"{float(digits):.4g}"), parse_constant=lambda name: None)
