"""The assignment: its points, what students get of it, its variants, and what its tests and its grading rest on."""

import json
import os
import re
import zipfile
from collections import Counter
from dataclasses import replace

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
import yaml
from assignment_files import FOLDER, SOURCE, folder_text, load_builder, questions, solution_lines
from nbclient import NotebookClient
from notebook_files import ROOT, code_cells, has_tag, read

from resnet_course.classroom import (
    Grading,
    describe_errors,
    drawn_heights,
    pack_submission,
    require,
    require_measured,
    restrict,
    shows_spread,
    variant,
)
from resnet_lib.datasets import load_dataset
from resnet_lib.experiments import run_grid
from resnet_lib.recipes import Recipe
from resnet_lib.records import load_records

QUESTIONS = questions()
REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
PAGE = (ROOT / "book" / "instructors.md").read_text(encoding="utf-8")
each_question = pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What `make assignment` makes."""
    target = tmp_path_factory.mktemp("assignment") / "built"
    load_builder().build(target)
    return target


# The source, and the page for instructors


def test_points_add_up_to_100_of_which_70_are_given_by_public_and_hidden_tests():
    assert sum(question.points for question in QUESTIONS) == 100
    assert sum(question.points for question in QUESTIONS if not question.manual) == 70
    hidden = Counter(settings.get("hidden", False) for question in QUESTIONS for settings, _ in question.tests)
    assert hidden[True] >= 5 and hidden[False] >= 5


@each_question
def test_each_question_is_graded_by_tests_of_its_points_or_by_a_rubric_of_them_as_the_page_says(question):
    hidden = sum(settings["points"] for settings, _ in question.tests if settings.get("hidden"))
    by_tests = f"tests, {hidden} of the points hidden" if hidden else "tests"
    assert f"| {question.name} | {question.points} | {'you' if question.manual else by_tests} |" in PAGE
    if question.manual:
        assert f"**Rubric ({question.points}).**" in question.solutions[0]
        rubric = question.solutions[0].partition("**Rubric")[2]
        points = re.findall(r"(?<=[ .])(\d+): ", rubric.partition("*Take off")[0])
        assert sum(map(int, points)) == question.points and rubric.partition(".** ")[2].strip() in PAGE
    else:
        assert sum(settings["points"] for settings, _ in question.tests) == question.points


def test_source_has_no_outputs_and_its_set_up_cell_installs_what_is_missing_from_the_repository():
    cells = code_cells(read(SOURCE))
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    assert has_tag(cells[0], "remove-cell") and f'"git+{REPOSITORY}"' in cells[0].source
    assert all(f'find_spec("{name}") is None' in cells[0].source for name in ("resnet_lib", "otter"))
    assert f"{REPOSITORY}/archive/" in (FOLDER / "requirements.txt").read_text(encoding="utf-8")


# What students and graders get


@each_question
def test_no_solution_and_no_hidden_test_reaches_a_student(built, question):
    student = folder_text(built / "student")
    cells = "\n".join(cell.source for cell in read(built / "student" / SOURCE.name).cells)
    secrets = [line for solution in question.solutions for line in solution_lines(solution)]
    assert secrets, "a question without a solution"
    secrets += re.findall(r"(?<=def )\w+", "".join(test for settings, test in question.tests if settings.get("hidden")))
    for secret in secrets:
        assert secret not in student and secret not in cells, secret


def test_student_has_the_public_tests_with_a_cell_and_the_points_for_each_and_the_same_as_a_zip(built):
    notebook = read(built / "student" / SOURCE.name)
    assert not re.search(r"SOLUTION|Rubric|Model answer|BEGIN TEST", folder_text(built / "student"))
    assert not any(cell.cell_type == "raw" or cell.get("outputs") for cell in notebook.cells)
    checked = [question.name for question in QUESTIONS if not question.manual]
    assert sorted(path.stem for path in (built / "student" / "tests").glob("*.py")) == sorted(checked)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert all(f'grader.check("{name}")' in text for name in checked)
    assert [int(points) for points in re.findall(r"_Points:_ (\d+)", text)] == [q.points for q in QUESTIONS]
    builder = load_builder()
    assert builder.read_zip(built / "degradation-student.zip") == builder.read_folder(built / "student")


def test_autograder_is_a_zip_as_gradescope_asks_with_all_tests_and_a_time_limit(built):
    files = load_builder().read_zip(built / "degradation-autograder.zip")
    assert {"setup.sh", "run_autograder", "otter_config.json", "environment.yml"} <= files.keys()
    text = "".join(content.decode() for name, content in files.items() if name.startswith("tests/"))
    for question in QUESTIONS:
        for _, test in question.tests:
            assert re.search(r"def \w+", test)[0] in text
    (plugin,) = json.loads(files["otter_config.json"])["plugins"]
    assert plugin["resnet_course.classroom.Grading"]["cell_seconds"] == 600


# Variants


def test_variants_of_a_class_of_200_differ():
    variants = [variant(number) for number in range(20_260_001, 20_260_201)]
    assert len({(case.depths, case.width, case.classes, case.seed) for case in variants}) == 200
    assert len({case.classes for case in variants}) > 100
    for name in ("depths", "held_out_depth", "width"):
        most = Counter(getattr(case, name) for case in variants).most_common(1)[0][1]
        assert most < 130, f"{name} is the same for {most} of 200 students"


@pytest.mark.parametrize("number", [1, 2, 20_260_001, 10**12])
def test_every_variant_can_be_trained(number):
    case = variant(number)
    digits = restrict(load_dataset("digits"), case.classes)
    for depth in (*case.depths, case.held_out_depth):
        for seed in case.seeds:
            Recipe(digits.name, depth, "A", seed, case.width)  # refuses what can't be trained
    assert case == variant(number) and case.depths[0] < case.depths[1] < case.held_out_depth


@pytest.mark.parametrize("number", [0, -3, "20260001", 2.0, None, ...])
def test_a_wrong_student_number_is_refused_in_one_sentence(number):
    with pytest.raises(ValueError, match=r"student_number .*got"):
        variant(number)


def test_restricted_data_set_holds_exactly_the_images_of_its_classes():
    digits = load_dataset("digits")
    few = restrict(digits, (9, 4))
    for part in ("train", "test"):
        all_images, all_labels = getattr(digits, f"{part}_images"), getattr(digits, f"{part}_labels")
        images, labels = getattr(few, f"{part}_images"), getattr(few, f"{part}_labels")
        for label, digit in enumerate((9, 4)):
            assert torch.equal(images[labels == label], all_images[all_labels == digit])
        assert len(images) == len(labels) == ((all_labels == 9) | (all_labels == 4)).sum()


@pytest.mark.parametrize("classes", [(3,), (3, 3), (3, 10), (-1, 3)])
def test_classes_that_are_not_there_or_too_few_are_refused(classes):
    with pytest.raises(ValueError, match=r"classes .* 0 to 9, got"):
        restrict(load_dataset("digits"), classes)


# What the tests rest on


def test_a_name_that_is_missing_is_told_from_one_that_is_still_dots_or_empty():
    names = {"records": [1], "figure": None, "none": [], "no": {}, "dots": ...}
    require(names, "records", "figure")
    for name, words in {"none": "empty", "no": "empty", "dots": "dots", "nowhere": "not defined"}.items():
        with pytest.raises(AssertionError, match=f"`{name}` is .*{words}"):
            require(names, "records", name)


DRAWINGS = {
    "error bars": (lambda axes, x, y: axes.errorbar(x, y, [1, 1]), True),
    "bars with error bars": (lambda axes, x, y: axes.bar(x, y, yerr=[1, 1]), True),
    "a band": (lambda axes, x, y: (axes.plot(x, y), axes.fill_between(x, [0, 0], y)), True),
    "a dot for each run": (lambda axes, x, y: axes.scatter([8, 8, 56, 56], [0, 2, 40, 60]), True),
    "a line": (lambda axes, x, y: axes.plot(x, y), False),
    "bars": (lambda axes, x, y: axes.bar(x, y), False),
}


@pytest.mark.parametrize("way", DRAWINGS)
def test_a_figure_is_read_whichever_way_it_is_drawn(way):
    draw, has_spread = DRAWINGS[way]
    figure, axes = plt.subplots()
    draw(axes, [8, 56], [1.0, 50.0])
    plt.close(figure)
    wanted = {0, 2, 40, 60} if way == "a dot for each run" else {1, 50}
    assert wanted <= set(drawn_heights(figure))
    assert shows_spread(figure, [0.0, 2.0, 40.0, 60.0]) == has_spread


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of records of two small runs, its records and their data set."""
    digits = restrict(load_dataset("digits"), (0, 1, 2))
    recipes = [Recipe(digits.name, 8, shortcut, 5, width=4, epochs=2) for shortcut in ("none", "A")]
    folder = tmp_path_factory.mktemp("student") / "records"
    return folder, run_grid(recipes, folder, "cpu", digits), digits


def test_records_made_by_training_are_taken_and_others_refused(runs):
    _, records, digits = runs
    require_measured(records, digits)
    for loss in (0.9 * records[0].curves["train_loss"][0], None):
        typed = replace(records[0], curves={**records[0].curves, "train_loss": [loss, 0.1]})
        with pytest.raises(AssertionError, match="leave the records as run_grid makes them"):
            require_measured([typed, records[1]], digits)
    another_seed = replace(records[0], recipe=replace(records[0].recipe, seed=6))
    with pytest.raises(AssertionError, match="seed6 says that its first epoch had the loss"):
        require_measured([another_seed], digits)


def test_submission_holds_the_notebook_and_records_that_can_be_read_again(runs, tmp_path, monkeypatch):
    folder, records, _ = runs
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="run the experiment"):
        pack_submission(7)
    (tmp_path / "degradation.ipynb").write_text("{}")
    packed = pack_submission(7, records=folder)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert packed.name == "submission-7.zip" and (tmp_path / "unpacked" / "degradation.ipynb").exists()
    assert {r.recipe for r in load_records(tmp_path / "unpacked" / "records")} == {r.recipe for r in records}


# Grading


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such timer")
def test_an_endless_loop_ends_with_a_sentence_and_the_cells_after_it_run():
    sources = [
        "# forever\nwhile True:\n    pass",
        "def forever():\n    while True:\n        pass",
        # As a test runs a student's function: it goes on after an error, and calls the function again.
        "for _ in range(2):\n    try:\n        forever()\n    except Exception as error:\n        print(error)",
        "import time; time.sleep(0.3); print('done')",
    ]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    plugin = Grading("degradation.ipynb", {}, {"cell_seconds": 1})
    notebook = plugin.before_execution(nbformat.v4.new_notebook(cells=cells))
    settings = {"timeout": 60, "allow_errors": True, "extra_arguments": ["--log-level=ERROR"]}
    NotebookClient(notebook, kernel_name="python3", **settings).execute()
    told = describe_errors(notebook)
    assert "The cell that begins with `while True:` ended with TimeoutError: stopped after 1 seconds" in told
    assert told.count("\n") == 1
    printed = "".join(output.text for output in notebook.cells[3].outputs)
    assert printed.count("stopped after 1 seconds") == 2
    assert notebook.cells[4].outputs[0].text == "done\n"


def test_records_that_were_handed_in_are_set_aside_before_grading(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plugin = Grading("degradation.ipynb", {}, {})
    plugin.before_grading(None)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "typed.json").write_text("{}")
    plugin.before_grading(None)
    assert not (tmp_path / "records").exists() and (tmp_path / "records-handed-in" / "typed.json").exists()


def test_feedback_names_each_cell_that_ended_with_an_error():
    class Results:
        """What Otter-Grader hands to a plugin, as far as ours uses it."""

        notebook = None

        def set_output(self, output):
            self.output = output

    error = nbformat.v4.new_output("error", ename="NameError", evalue="name 'x' is not defined", traceback=[])
    good, bad = nbformat.v4.new_code_cell("1 + 1"), nbformat.v4.new_code_cell("# mine\n\ny = x", outputs=[error])
    results, plugin = Results(), Grading("", {}, {})
    results.notebook = nbformat.v4.new_notebook(cells=[good, bad])
    plugin.after_grading(results)
    assert results.output == plugin.generate_report()
    assert results.output.endswith("`y = x` ended with NameError: name 'x' is not defined")
    assert describe_errors(nbformat.v4.new_notebook(cells=[good])).endswith("without an error.")
