"""The assignment: its points, what is published of it, its variants, and what is handed in."""

import csv
import io
import json
import os
import re
import sys
import zipfile
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
import torch
import yaml
from assignment_files import FOLDER, SOURCE, STUDENT, load_script, questions, solution_lines
from notebook_files import ROOT, code_cells, has_tag, read

from resnet_course.classroom import assignment as the_assignment
from resnet_lib.datasets import load_dataset
from resnet_lib.experiments import run_grid
from resnet_lib.recipes import Recipe
from resnet_lib.records import load_records

if not SOURCE.exists():
    pytest.skip("the answer key is kept elsewhere", allow_module_level=True)

QUESTIONS = questions()
REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
PAGE = (ROOT / "book" / "instructors.md").read_text(encoding="utf-8")
BUILD = load_script("build")
each_question = pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What `make assignment` makes, and what of it is published."""
    target = tmp_path_factory.mktemp("assignment") / "built"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSIGNMENT_SECRET", "a secret of tests")
        return target, BUILD.build(target)


# The source, and the page for instructors


def test_points_add_up_to_100_of_which_70_are_given_by_public_and_hidden_tests():
    assert sum(question.points for question in QUESTIONS) == 100
    assert sum(question.points for question in QUESTIONS if not question.manual) == 70
    hidden = Counter(settings.get("hidden", False) for question in QUESTIONS for settings, _ in question.tests)
    assert hidden[True] >= 5 and hidden[False] >= 5


@each_question
def test_each_question_is_graded_by_tests_of_its_points_or_by_a_rubric_of_them_as_the_page_says(question, built):
    hidden = sum(settings["points"] for settings, _ in question.tests if settings.get("hidden"))
    by_tests = f"tests, {hidden} of the points hidden" if hidden else "tests"
    assert f"| {question.name} | {question.points} | {'you' if question.manual else by_tests} |" in PAGE
    if question.manual:
        lines = csv.DictReader(io.StringIO((built[0] / "rubric.csv").read_text(encoding="utf-8")))
        given = [int(line["points"]) for line in lines if line["question"] == question.name]
        assert sum(points for points in given if points > 0) == question.points
        rubric = question.solutions[0].partition("**Rubric")[2].partition(".** ")[2].strip()
        assert rubric and rubric[:40] not in PAGE  # which students read, too
    else:
        assert sum(settings["points"] for settings, _ in question.tests) == question.points


def test_source_has_no_outputs_and_its_set_up_cell_installs_what_is_missing_from_the_repository():
    cells = code_cells(read(SOURCE))
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    assert has_tag(cells[0], "remove-cell") and f'"git+{REPOSITORY}"' in cells[0].source
    assert all(f'find_spec("{name}") is None' in cells[0].source for name in ("resnet_lib", "otter"))
    requirements = (SOURCE.parent / "requirements.txt").read_text(encoding="utf-8")
    assert f"{REPOSITORY}/archive/" in requirements
    torch_there = re.search(r"(?m)^torch==([\d.]+)\+cpu$", requirements)[1]
    assert f"\ntorch=={torch_there}" in (ROOT / "requirements.txt").read_text(encoding="utf-8")


# What is published, and what is not


def test_what_is_published_is_what_the_source_gives(built):
    there = {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in [STUDENT, *FOLDER.glob("tests/*")]}
    assert built[1] == {name: content for name, content in there.items() if "__pycache__" not in name}
    assert the_assignment.public_tests() == str(FOLDER / "tests")


@each_question
def test_no_solution_and_no_hidden_test_is_published(built, question):
    published = "\n".join(content.decode() for content in built[1].values())
    published += "\n".join(cell.source for cell in read(STUDENT).cells)
    secrets = [line for solution in question.solutions for line in solution_lines(solution)]
    assert secrets, "a question without a solution"
    secrets += re.findall(r"(?<=def )\w+", "".join(test for settings, test in question.tests if settings.get("hidden")))
    assert not [secret for secret in secrets if secret in published]
    assert not re.search(r"SOLUTION|Rubric|Model answer|BEGIN TEST|a secret of tests", published)


def test_autograder_is_a_zip_as_gradescope_asks_with_all_tests_the_secret_and_limits_below_ten_minutes(built):
    files = BUILD.read_zip(built[0] / "degradation-autograder.zip")
    needed = "setup.sh run_autograder run_otter.py otter_config.json environment.yml grading.py definitions.py"
    assert set(needed.split()) <= files.keys()
    text = "".join(content.decode() for name, content in files.items() if name.startswith("tests/"))
    assert all(re.search(r"def \w+", test)[0] in text for question in QUESTIONS for _, test in question.tests)
    settings = json.loads(files["otter_config.json"])
    ours = settings["plugins"][0]["grading.Grading"]
    assert ours["secret"] == "a secret of tests" and ours["roster"] == {} and settings["show_hidden"]
    assert ours["cell_seconds"] < ours["notebook_seconds"] <= 420


def test_nothing_is_built_for_students_before_the_library_has_an_address_and_the_key_is_private(tmp_path):
    assert "make repository URL=https://github.com/OWNER/NAME" in BUILD.why_not(ROOT, SOURCE.parent)
    config = "repository: {url: https://github.com/ada/a-book}"
    (tmp_path / "_config.yml").write_text(config, encoding="utf-8")
    BUILD.subprocess.run(["git", "init", "-q", tmp_path], check=True)
    key = tmp_path / "key"
    key.mkdir()
    for name in ("degradation.ipynb", "requirements.txt"):
        assert f"{name}, which is not there: say export ASSIGNMENT_KEY=FOLDER" in BUILD.why_not(tmp_path, key)
        (key / name).write_text("https://github.com/YOUR_ACCOUNT/a-book", encoding="utf-8")
        assert f"{name} must install the library from https://github.com/ada/a-book" in BUILD.why_not(tmp_path, key)
        (key / name).write_text("https://github.com/ada/a-book", encoding="utf-8")
    assert BUILD.why_not(tmp_path, key) == ""
    BUILD.subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    assert "Move it to a private folder" in BUILD.why_not(tmp_path, key)


def test_a_folder_that_holds_anything_else_is_left_as_it_is(tmp_path):
    BUILD.write_folder(tmp_path, {"rubric.csv": b"1"})
    BUILD.write_folder(tmp_path, {"rubric.csv": b"2"})
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"thesis\.tex that was not made here"):
        BUILD.write_folder(tmp_path, {"rubric.csv": b"3"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "rubric.csv": b"2", "thesis.tex": b"years of work"}  # fmt: skip


def test_a_secret_is_made_once_and_a_roster_is_read_as_a_spreadsheet_writes_it(tmp_path, monkeypatch):
    monkeypatch.delenv("ASSIGNMENT_SECRET", raising=False)
    (tmp_path / "secret.txt").touch()  # cut off while it was written
    assert len(first := BUILD.find_secret(tmp_path)) == 32 and BUILD.find_secret(tmp_path) == first
    assert BUILD.read_roster(tmp_path / "roster.csv") == {}
    (tmp_path / "roster.csv").write_text("\ufeffname,email,number\r\nAda,Ada@x.org,7\r\n", encoding="utf-8")
    assert BUILD.read_roster(tmp_path / "roster.csv") == {"ada@x.org": 7}
    in_each = r"an email and a whole number from 1 up in each line, got .*Ada"
    wrong = dict.fromkeys(["Ada;Ada@x.org;7", "Ada,Ada@x.org,n/a", "Ada", "Ada,,7", "Ada,Ada@x.org,0"], in_each)
    for line, words in (wrong | {"Ada,a@x.org,7\nAda,A@x.org,8": "two numbers for a@x.org", "Zo\xeb": "UTF-8"}).items():
        (tmp_path / "roster.csv").write_text(f"name,email,number\n{line}\n", encoding="latin-1")
        with pytest.raises(SystemExit, match=words):
            BUILD.read_roster(tmp_path / "roster.csv")


# Variants


def test_variants_of_a_class_of_200_differ():
    variants = [the_assignment.variant(number) for number in range(20_260_001, 20_260_201)]
    assert len({(case.depths, case.width, case.classes, case.seed) for case in variants}) == 200
    assert len({case.classes for case in variants}) > 100
    assert all(case.depths[0] < case.depths[1] < case.held_out_depth for case in variants)
    for name in ("depths", "held_out_depth", "width"):
        most = Counter(getattr(case, name) for case in variants).most_common(1)[0][1]
        assert most < 130, f"{name} is the same for {most} of 200 students"


def test_restricted_data_set_holds_exactly_the_images_of_its_classes():
    digits = load_dataset("digits")
    few = the_assignment.restrict(digits, (9, 4))
    for part in ("train", "test"):
        all_images, all_labels = getattr(digits, f"{part}_images"), getattr(digits, f"{part}_labels")
        images, labels = getattr(few, f"{part}_images"), getattr(few, f"{part}_labels")
        for label, digit in enumerate((9, 4)):
            assert torch.equal(images[labels == label], all_images[all_labels == digit])
        assert len(images) == len(labels) == ((all_labels == 9) | (all_labels == 4)).sum()


@pytest.mark.parametrize("classes", [(3,), (3, 3), (3, 10)])
def test_classes_that_are_not_there_or_too_few_are_refused(classes):
    with pytest.raises(ValueError, match=r"classes .* 0 to 9, got"):
        the_assignment.restrict(load_dataset("digits"), classes)


# What the tests rest on


@pytest.mark.parametrize(
    ("names", "words"), [({}, "`x` is not defined"), ({"x": []}, "`x` is empty"), ({"x": {}}, "`x` is empty")]
)
def test_a_name_that_is_missing_is_told_from_one_that_is_still_dots_or_empty(names, words):
    the_assignment.require({"records": [1], "figure": None}, "records", "figure")
    with pytest.raises(AssertionError, match=words):
        the_assignment.require(names, "x")


DRAWINGS = {
    "error bars": (lambda axes, x, y: axes.errorbar(x, y, [1, 1]), True),
    "bars with error bars": (lambda axes, x, y: axes.bar(x, y, yerr=[1, 1]), True),
    "a band": (lambda axes, x, y: (axes.plot(x, y), axes.fill_between(x, [0, 0], y)), True),
    "level strokes": (lambda axes, x, y: axes.hlines(y, [0, 50], [20, 60]), False),
    "dots": (lambda axes, x, y: axes.scatter(x, y), False),
    "bars": (lambda axes, x, y: axes.bar(x, y), False),
}


@pytest.mark.parametrize("way", DRAWINGS)
def test_a_figure_is_read_whichever_way_it_is_drawn(way):
    draw, has_spread = DRAWINGS[way]
    figure, axes = plt.subplots()
    draw(axes, [8, 56], [1.0, 50.0])
    axes.set_ylabel("training error (%)")
    plt.close(figure)
    drawing = the_assignment.look_at(figure)
    assert drawing.shows(1.0, 50.0) and not drawing.shows(30.0) and drawing.has_spread == has_spread
    assert drawing.labels == ["training error (%)"] and the_assignment.look_at(drawing) is drawing


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of records of two small runs, its records and their data set."""
    digits = the_assignment.restrict(load_dataset("digits"), (0, 1, 2))
    recipes = [Recipe(digits.name, 8, shortcut, 5, width=4, epochs=2) for shortcut in ("none", "A")]
    folder = tmp_path_factory.mktemp("student") / "records"
    return folder, run_grid(recipes, folder, "cpu", digits), digits


def test_records_made_by_training_are_taken_and_others_refused_without_the_right_number(runs):
    _, records, digits = runs
    the_assignment.require_measured(records, digits)
    right = records[0].curves["train_loss"][0]
    for loss in (0.9 * right, None):
        typed = replace(records[0], curves={**records[0].curves, "train_loss": [loss, 0.1]})
        with pytest.raises(AssertionError, match="leave the records as run_grid makes them") as refused:
            the_assignment.require_measured([typed, records[1]], digits)
        assert f"{right:.3f}" not in str(refused.value)
    another_seed = replace(records[0], recipe=replace(records[0].recipe, seed=6))
    with pytest.raises(AssertionError, match="seed6 says that its first epoch had the loss"):
        the_assignment.require_measured([another_seed], digits)


# What is handed in


@pytest.fixture
def handing_in(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def save(name, number="7"):
        cell = {"cell_type": "code", "source": [f"STUDENT_NUMBER = {number}"]}
        (tmp_path / name).write_text(json.dumps({"cells": [cell]}), encoding="utf-8")

    return runs[0], save


def test_submission_holds_the_notebook_and_records_that_can_be_read_again(handing_in, runs, tmp_path):
    folder, save = handing_in
    for take, number in product((the_assignment.variant, the_assignment.pack_submission), (0, ...)):
        with pytest.raises(ValueError, match=r"student_number .*got"):
            take(number)
    with pytest.raises(ValueError, match="run the experiment"):
        the_assignment.pack_submission(7)
    save("我的作业 🙂.ipynb")
    os.utime(next(folder.iterdir()), (0, 0))  # 1970, whose dates no zip file knows
    with zipfile.ZipFile(the_assignment.pack_submission(7, records=folder)) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert "STUDENT_NUMBER = 7" in (tmp_path / "unpacked" / "degradation.ipynb").read_text(encoding="utf-8")
    assert {r.recipe for r in load_records(tmp_path / "unpacked" / "records")} == {r.recipe for r in runs[1]}


def test_a_notebook_that_was_not_saved_or_can_not_be_told_is_refused(handing_in):
    folder, save = handing_in
    with pytest.raises(ValueError, match="this folder has none"):
        the_assignment.pack_submission(7, records=folder)
    save("degradation.ipynb", "...")
    for content in (Path("degradation.ipynb").read_text(encoding="utf-8"), "", "[]", "{}", '{"cells": [{}]}'):
        Path("degradation.ipynb").write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match="save it"):
            the_assignment.pack_submission(7, records=folder)
    save("mine.ipynb")
    with pytest.raises(ValueError, match=r"degradation\.ipynb, mine\.ipynb: say pack_submission"):
        the_assignment.pack_submission(7, records=folder)
    with pytest.raises(ValueError, match=r"got you\.ipynb"):
        the_assignment.pack_submission(7, "you.ipynb", folder)
    assert the_assignment.pack_submission(7, "mine.ipynb", folder).name == "submission-7.zip"


def test_in_colab_the_open_notebook_is_packed_and_the_records_lie_on_drive(handing_in, tmp_path, monkeypatch):
    folder, save = handing_in
    save("blank.ipynb", "...")  # which lies there and is not what the student sees
    cell = {"cell_type": "code", "source": ["STUDENT_NUMBER = 8"]}
    message = SimpleNamespace(blocking_request=lambda what, timeout_sec: {"ipynb": {"cells": [cell]}})
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace(_message=message))
    monkeypatch.setattr(the_assignment, "DRIVE", tmp_path)
    (tmp_path / "degradation-records").mkdir()
    for record in folder.iterdir():
        (tmp_path / "degradation-records" / record.name).write_bytes(record.read_bytes())
    assert the_assignment.records_folder() == str(tmp_path / "degradation-records")
    with zipfile.ZipFile(the_assignment.pack_submission(8)) as archive:
        assert b"STUDENT_NUMBER = 8" in archive.read("degradation.ipynb") and len(archive.namelist()) == 3
    message.blocking_request = lambda what, timeout_sec: None
    with pytest.raises(ValueError, match=r"put it into the Files panel, and name it"):
        the_assignment.pack_submission(8)
