"""Measurements are recorded unit by unit: whole files, nothing done twice, nothing lost."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from resnet_course.probes import (
    MEASUREMENTS,
    build_kind,
    lesion_table,
    load_measurement,
    measurements,
    record_measurements,
    removable_blocks,
)
from resnet_course.probes.sweeps import best_inside, best_rate, next_units
from resnet_lib.datasets import load_dataset
from resnet_lib.recipes import Recipe
from resnet_lib.records import results_folder

pytestmark = pytest.mark.usefixtures("one_thread")


class Squares:
    """The square of a number."""

    def __init__(self) -> None:
        self.called_with: list[int] = []
        self.fail_at: int | None = None

    def __call__(self, number: int) -> dict[str, float]:
        self.called_with.append(number)
        if number == self.fail_at:
            raise RuntimeError("cut off")
        return {"square": float(number**2)}


@pytest.fixture
def squares(monkeypatch):
    measure = Squares()
    monkeypatch.setitem(MEASUREMENTS, "squares", (measure, [{"number": n} for n in range(4)]))
    return measure


def record(folder: Path) -> dict[int, float]:
    (path,) = record_measurements(folder, ["squares"])
    assert path == folder / "squares.json" and not list(folder.glob("*.tmp"))
    return {row["unit"]["number"]: row["square"] for row in load_measurement(path)["rows"]}


def test_a_record_holds_every_unit_in_order_a_line_each_and_the_environment(squares, tmp_path):
    assert list(record(tmp_path / "new").items()) == [(0, 0.0), (1, 1.0), (2, 4.0), (3, 9.0)]
    path = tmp_path / "new" / "squares.json"
    content = load_measurement(path)
    assert content["format"] == "resnet_lib probes 1" and content["about"] == "The square of a number."
    assert content["environment"]["torch"] == torch.__version__ and "date" in content["environment"]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith('{"unit"')] == lines[-5:-1]


def test_a_record_that_was_cut_off_is_continued_and_what_is_done_is_not_done_again(squares, monkeypatch, tmp_path):
    squares.fail_at = 2
    with pytest.raises(RuntimeError, match="cut off"):
        record(tmp_path)
    done = {row["unit"]["number"] for row in load_measurement(tmp_path / "squares.json")["rows"]}
    assert {0, 1} <= done <= {0, 1, 3}
    squares.fail_at, squares.called_with = None, []
    assert record(tmp_path) == {0: 0.0, 1: 1.0, 2: 4.0, 3: 9.0}
    assert sorted(squares.called_with) == sorted({0, 1, 2, 3} - done)
    monkeypatch.setitem(MEASUREMENTS, "squares", (squares, [{"number": n} for n in (5, 2)]))
    squares.called_with = []
    assert list(record(tmp_path).items()) == [(5, 25.0), (2, 4.0)], "what nobody asks for any more is left out"
    assert squares.called_with == [5]


@pytest.mark.parametrize("content", ["", "[" * 99_999, '{"format": "other"}', '{"format": "resnet_lib probes 1"}'])
def test_a_file_that_is_no_record_is_named_and_set_aside(squares, tmp_path, content):
    (tmp_path / "squares.json").write_text(content)
    with pytest.raises(ValueError, match=r"squares\.json is not a record of a measurement"):
        load_measurement(tmp_path / "squares.json")
    with pytest.warns(UserWarning, match=r"it is now squares\.json\.set-aside"):
        assert len(record(tmp_path)) == 4
    assert (tmp_path / "squares.json.set-aside").read_text() == content
    record(tmp_path)
    content = json.loads((tmp_path / "squares.json").read_text())
    (tmp_path / "squares.json").write_text(json.dumps({**content, "rows": [{}]}))
    with pytest.warns(UserWarning, match=r"it is now squares\.json\.set-aside-2"):
        assert len(record(tmp_path)) == 4


@pytest.mark.parametrize(("key", "anew"), [("torch", True), ("device_name", True), ("date", False), ("commit", False)])
def test_a_record_made_elsewhere_or_with_other_versions_is_not_mixed_in(squares, tmp_path, recwarn, key, anew):
    record(tmp_path)
    content = json.loads((tmp_path / "squares.json").read_text())
    content["environment"][key] = "another"
    (tmp_path / "squares.json").write_text(json.dumps(content))
    squares.called_with = []
    record(tmp_path)
    assert sorted(squares.called_with) == ([0, 1, 2, 3] if anew else [])
    assert [f"made with {key} another" in str(warning.message) for warning in recwarn] == ([True] if anew else [])


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_every_measurement_is_the_one_that_the_book_has_on_record(name):
    measure, planned = MEASUREMENTS[name]
    content = load_measurement(results_folder("probes") / f"{name}.json")
    units = [row["unit"] for row in content["rows"]]
    plan = planned(content["rows"]) if callable(planned) else planned
    assert units == [unit for unit in plan if unit in units], "what the plan asks for, in its order"
    assert callable(planned) or units == planned, "a sweep may go on, anything else is complete"
    assert content["about"].splitlines()[0] == measure.__doc__.splitlines()[0]
    assert len({json.dumps(unit, sort_keys=True) for unit in units}) == len(units)
    assert len({unit["seed"] for unit in units}) >= 3, "no claim from fewer than three seeds"


def swept(errors: dict[float, float]) -> list[dict]:
    return [{"unit": {"k": 1, "lr": lr, "seed": 0}, "train_error": e, "loss": 1.0} for lr, e in errors.items()]


@pytest.mark.parametrize(
    ("errors", "best"),
    [
        ({1: 5, 2: 3, 5: 4}, (2, True)),
        ({1: 5, 2: 3}, (2, False)),
        ({1: 2, 2: 3, 5: None}, (1, False)),
    ],
)
def test_the_best_rate_is_inside_only_between_two_that_are_worse(errors, best):
    assert best_rate(swept(errors)) == best
    with pytest.raises(ValueError, match="1 of 3 seeds" if best[1] else "at the edge"):
        best_inside(swept(errors))


def test_a_sweep_goes_on_at_an_edge_as_far_as_it_may_and_then_takes_the_other_seeds():
    def plan(errors):
        return [(unit["lr"], unit["seed"]) for unit in next_units(swept(errors), {"k": 1}, [0.1, 0.2], (0.02, 0.5))]

    assert plan({}) == plan({0.1: 5}) == [(0.1, 0), (0.2, 0)]
    assert plan({0.1: 5, 0.2: 3}) == [(0.1, 0), (0.2, 0), (0.5, 0)]
    assert plan({0.1: 3, 0.2: 4}) == [(0.1, 0), (0.2, 0), (0.05, 0)]
    at_limit = [(0.1, 0), (0.2, 0), (0.5, 0), (0.5, 1), (0.5, 2)]
    assert plan({0.1: 5, 0.2: 3, 0.5: 1}) == at_limit
    assert plan({0.1: 5, 0.2: 3, 0.5: 4})[-2:] == [(0.2, 1), (0.2, 2)]


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("starts", {"kind": "residual", "depth": 8, "seed": 0}),
        ("trained", {"kind": "plain", "depth": 14, "seed": 0, "lr": 0.1}),
        ("sweeps", {"kind": "residual, zero-gamma", "depth": 8, "width": 4, "epochs": 1, "seed": 0, "lr": 0.1}),
        ("even_steps", {"kind": "plain", "depth": 8, "seed": 0, "lr": 0.02}),
        ("ways", {"kind": "residual", "depth": 8, "seed": 0, "lr": 0.1}),
        ("orderings", {"ordering": "full pre-activation", "depth": 8, "seed": 0, "lr": 0.1}),
        ("identity", {"blocks": 1, "shortcut": "A", "lr": 0.1, "seed": 0, "steps": 3}),
    ],
)
def test_a_measurement_returns_what_the_book_s_record_holds_as_json_can_hold_it(monkeypatch, name, unit):
    digits = load_dataset("digits")
    few = replace(digits, train_images=digits.train_images[:256], train_labels=digits.train_labels[:256])
    few_digits = few, few.normalise(few.train_images), few.train_labels
    monkeypatch.setattr(measurements, "_digits", lambda: few_digits)
    result = MEASUREMENTS[name][0](**unit)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    row = load_measurement(results_folder("probes") / f"{name}.json")["rows"][0]
    assert result.keys() == row.keys() - {"unit", "seconds"}
    if name in ("even_steps", "orderings"):
        assert result["train_error"] < 60, "twenty steps learn something"


@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_the_errors_of_the_lesions_stand_in_the_order_of_the_masks(monkeypatch, kind):
    recipes: list[Recipe] = []
    monkeypatch.setattr(measurements, "fit", lambda model, recipe, dataset: recipes.append(recipe))  # untrained will do
    result = measurements.measure_lesions(kind, 8, 1)
    assert recipes == [Recipe(lr=0.1, seed=1)] and recipes[0].epochs == 10
    digits = load_dataset("digits")
    model = build_kind(kind, 8, 1, digits.normalise(digits.train_images[:256]))
    assert result["blocks"] == removable_blocks(model)
    for mask, wrong in lesion_table(model, digits).items():
        assert result["errors"][mask] == pytest.approx(100 * wrong.double().mean().item())
        assert [result["wrong"][mask] >> i & 1 for i in range(40)] == wrong[:40].long().tolist()


def test_learning_the_identity_gets_nearer_repeats_and_may_diverge():
    def error(shortcut, steps, seed=0, lr=0.1):
        return measurements.measure_identity(1, shortcut, lr, seed, steps, channels=2)["train_error"]

    assert error("A", 60) < 0.2 * error("A", 1)
    assert error("none", 3) == error("none", 3) != error("none", 3, seed=1)
    assert error("none", 3) != error("A", 3)
    assert math.isinf(error("none", 8, lr=1e30))
