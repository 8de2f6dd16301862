"""Measurements are recorded unit by unit: whole files, nothing done twice, nothing lost."""

import json

import pytest
import torch

from resnet_course.probes import (
    build_kind,
    lesion_table,
    load_record,
    measurements,
    record,
    record_all,
    removable_blocks,
)
from resnet_course.probes.measurements import MEASUREMENTS, Measurement
from resnet_course.probes.recording import rounded
from resnet_lib.datasets import load_dataset
from resnet_lib.recipes import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


class Squares:
    """The square of a number."""

    def __init__(self):
        self.called_with = []

    def __call__(self, number, fail_at=None):
        self.called_with.append(number)
        if number == fail_at:
            raise RuntimeError("cut off")
        return {"square": float(number**2)}


@pytest.fixture
def squares(monkeypatch):
    measure = Squares()
    monkeypatch.setitem(MEASUREMENTS, "squares", Measurement(measure, [{"number": n} for n in range(4)]))
    return measure


def results(path):
    return {row["unit"]["number"]: row["square"] for row in load_record(path)["rows"]}


def test_a_record_holds_every_unit_in_order_and_the_environment(squares, tmp_path):
    path = record("squares", tmp_path / "new")
    assert path == tmp_path / "new" / "squares.json"
    assert list(results(path).items()) == [(0, 0.0), (1, 1.0), (2, 4.0), (3, 9.0)]
    content = load_record(path)
    assert content["environment"]["torch"] == torch.__version__ and "date" in content["environment"]
    assert content["about"] == "The square of a number."


def test_a_record_has_one_row_a_line(squares, tmp_path):
    lines = record("squares", tmp_path).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith('{"unit"')] == lines[-5:-1]


def test_what_is_recorded_is_not_done_again(squares, tmp_path):
    record("squares", tmp_path)
    squares.called_with.clear()
    record("squares", tmp_path)
    assert squares.called_with == []


def test_a_record_that_was_cut_off_is_continued(monkeypatch, tmp_path):
    measure = Squares()
    units = [{"number": n, "fail_at": 2} for n in range(4)]
    monkeypatch.setitem(MEASUREMENTS, "squares", Measurement(measure, units))
    with pytest.raises(RuntimeError, match="cut off"):
        record("squares", tmp_path)
    done = set(results(tmp_path / "squares.json"))
    assert {0, 1} <= done
    measure.called_with.clear()
    with pytest.raises(RuntimeError, match="cut off"):
        record("squares", tmp_path)
    assert done.isdisjoint(measure.called_with)


def test_units_that_are_no_longer_asked_for_are_left_out(squares, monkeypatch, tmp_path):
    record("squares", tmp_path)
    monkeypatch.setitem(MEASUREMENTS, "squares", Measurement(squares, [{"number": n} for n in (2, 5)]))
    assert results(record("squares", tmp_path)) == {2: 4.0, 5: 25.0}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": "something else"}', '{"format": "resnet_lib probes 1"}']
)
def test_a_file_that_is_no_record_is_set_aside(squares, tmp_path, content):
    (tmp_path / "squares.json").write_text(content)
    with pytest.warns(UserWarning, match="it is now squares.json.set-aside"):
        path = record("squares", tmp_path)
    assert (tmp_path / "squares.json.set-aside").read_text() == content
    assert len(results(path)) == 4


def test_a_record_made_with_other_versions_is_not_mixed_in(squares, tmp_path):
    path = record("squares", tmp_path)
    content = json.loads(path.read_text())
    content["environment"]["torch"] = "1.0"
    path.write_text(json.dumps(content))
    squares.called_with.clear()
    with pytest.warns(UserWarning, match="was made with torch 1.0"):
        record("squares", tmp_path)
    assert sorted(squares.called_with) == [0, 1, 2, 3]


def test_a_later_date_is_no_reason_to_begin_anew(squares, tmp_path):
    path = record("squares", tmp_path)
    content = json.loads(path.read_text())
    content["environment"]["date"] = "2020-01-01"
    path.write_text(json.dumps(content))
    squares.called_with.clear()
    record("squares", tmp_path)
    assert squares.called_with == []


def test_no_unfinished_file_is_left(squares, tmp_path):
    record("squares", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["squares.json"]


def test_record_all_makes_the_records_that_are_named(squares, tmp_path):
    assert record_all(tmp_path, ["squares"]) == [tmp_path / "squares.json"]


def test_numbers_that_are_not_finite_become_none():
    assert rounded({"a": [float("nan"), float("inf"), 1.0]}) == {"a": [None, None, 1.0]}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_every_measurement_says_what_it_is_and_has_units_that_differ(name):
    measurement = MEASUREMENTS[name]
    assert measurement.measure.__doc__
    units = [json.dumps(unit, sort_keys=True) for unit in measurement.units]
    assert len(units) == len(set(units)) > 0
    seeds = {unit["seed"] for unit in measurement.units}
    assert len(seeds) >= 3, "no claim from fewer than three seeds"


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("starts", {"kind": "residual", "depth": 8, "seed": 0}),
        ("identity", {"blocks": 1, "shortcut": "A", "lr": 0.1, "seed": 0}),
        ("lesions", {"kind": "residual", "depth": 8, "seed": 0}),
    ],
)
def test_a_measurement_returns_what_json_can_hold(name, unit):
    result = rounded(MEASUREMENTS[name].measure(**unit))
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_the_errors_of_the_lesions_stand_in_the_order_of_the_masks(monkeypatch, kind):
    monkeypatch.setattr(measurements, "fit", lambda model, recipe, dataset: None)  # untrained will do
    digits = load_dataset("digits")
    model = build_kind(kind, 8, 1, digits.normalise(digits.train_images[:256]))
    result = MEASUREMENTS["lesions"].measure(kind, 8, 1)
    assert result["blocks"] == removable_blocks(model)
    assert list(enumerate(result["errors"])) == lesion_table(model, digits)


def test_the_lesions_are_of_networks_trained_for_ten_epochs(monkeypatch):
    recipes = []
    monkeypatch.setattr(measurements, "fit", lambda model, recipe, dataset: recipes.append(recipe))
    MEASUREMENTS["lesions"].measure("plain", 8, 2)
    assert recipes == [Recipe(lr=0.1, seed=2)] and recipes[0].epochs == 10


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda folder: record("nothing", folder), "name must be one of 'starts', .*, got 'nothing'"),
        (lambda folder: record_all(folder, ["nothing"]), "names must be one of"),
        (lambda folder: record("starts", folder / "file"), "out must be a folder, got .*file"),
        (lambda folder: load_record(folder / "file"), "file is not a record of a measurement"),
    ],
)
def test_what_can_t_be_done_is_refused_in_a_sentence(call, sentence, tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(ValueError, match=sentence):
        call(tmp_path)
