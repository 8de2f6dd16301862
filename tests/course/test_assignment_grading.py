"""The solution and seven planted submissions, graded as on Gradescope: ``otter run`` on the built autograder.

Each trains its twelve networks, so these tests take minutes: `make test-all` runs them.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from assignment_files import SOURCE, load_builder
from notebook_files import read

pytestmark = pytest.mark.slow

FULL = {"q0": 0, "q1": 20, "q2": 15, "q3": 15, "q4": 14, "q6": 6}

STYLE_RUNS = """
import itertools
recipes = []
for seed, depth, kind in itertools.product(case.seeds, case.depths, ["A", "none"]):
    recipes.append(Recipe(dataset=digits.name, width=case.width, shortcut=kind, depth=depth, seed=seed))
records = run_grid(tuple(recipes), dataset=digits, out="records", device="cpu")
"""
STYLE_PLOT = """
import numpy as np
groups = {}
for r in records:
    groups.setdefault((r.recipe.shortcut, r.recipe.depth), []).append(r.train_error)
training_error = {k: (np.mean(v), np.std(v, ddof=1)) for k, v in groups.items()}
figure = figures.plot_error_against_depth(records, "Deeper is worse, unless there is a shortcut")
"""
TYPED_RECORDS = """
from resnet_lib.records import Record
recipes = [Recipe(digits.name, d, k, s, case.width) for k in ("none", "A") for d in case.depths for s in case.seeds]
typed = {"none": 55.0, "A": 0.2}
records = []
for r in recipes:
    error = typed[r.shortcut] + r.seed % 10 if r.depth > 20 else 0.1 * (r.seed % 10)
    curves = {"train_loss": [1.6] * 10, "train_error": [error] * 10, "test_error": [error + 1] * 10}
    records.append(Record(r, error, error + 1, error + 1, None, 1.0, curves, 1.0, 1.0))
"""


def replace_cell(cells, begins, source):
    (cell,) = [cell for cell in cells if cell.cell_type == "code" and begins in cell.source]
    cell.source = source


def in_another_style(cells):
    replace_cell(cells, "recipes = [", STYLE_RUNS)
    replace_cell(cells, "training_error = {}", STYLE_PLOT)


def patch(cells, old, new):
    """Change one piece of code, which must be there."""
    found = [cell for cell in cells if cell.cell_type == "code" and old in cell.source]
    assert found, f"the solution no longer has {old!r}"
    for cell in found:
        cell.source = cell.source.replace(old, new)


def without_shortcut(cells):
    patch(cells, "torch.relu(out + self.shortcut(x))", "torch.relu(out)")


def wrong_error(cells):
    patch(cells, "record.train_error", "record.test_error")


def hard_coded(cells):
    replace_cell(cells, "recipes = [", TYPED_RECORDS)


def crashing(cells):
    patch(cells, 'out="records", dataset=digits', 'out="records", data=digits')


def endless(cells):
    patch(
        cells,
        'records = run_grid(recipes, out="records", dataset=digits)',
        "records = []\nwhile len(records) < 12:\n    pass",
    )


# How each is made from the solution, what it is to get, and what its author is to read.
PLANTED = {
    "solution": (lambda cells: None, FULL, ["without an error"]),
    "correct in another style": (in_another_style, FULL, ["without an error"]),
    "no shortcut": (without_shortcut, {**FULL, "q1": 4 + 3}, ["addition: Block(6, 6, 1): the shortcut is never added"]),
    "test error for training error": (wrong_error, {**FULL, "q4": 3},
     ["is a test error", "the figure shows the test error"]),
    "hard-coded results": (hard_coded, {**FULL, "q3": 4 + 4, "q4": 3},
     ["says that its first epoch had the loss 1.6", "leave the records as run_grid makes them"]),
    "crashing": (crashing, {**FULL, "q3": 4, "q4": 0},
     ["unexpected keyword argument 'data'", "`records` is not defined: its cell was not run, or ended with an error"]),
    "endless loop": (endless, {**FULL, "q3": 4, "q4": 0},
     ["TimeoutError: stopped after 60 seconds. Does a loop never end", "`records` is empty"]),
    "empty": (None, dict.fromkeys(FULL, 0),
     ["`STUDENT_NUMBER` is still `...`", "forward must return the output", "`prediction` is still `...`"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What `make assignment` makes, with a shorter limit, so that the endless loop does not take ten minutes."""
    target = tmp_path_factory.mktemp("assignment") / "built"
    builder = load_builder()
    builder.build(target)
    autograder = target / "degradation-autograder.zip"
    files = builder.read_zip(autograder)
    settings = json.loads(files["otter_config.json"])
    settings["plugins"][0]["resnet_course.classroom.Grading"]["cell_seconds"] = 60
    builder.write_zip(target / "short.zip", {**files, "otter_config.json": json.dumps(settings).encode()})
    return target


def grade(submission: Path, autograder: Path, out: Path) -> tuple[dict[str, float], str]:
    """The points of each question, and all that the student reads on Gradescope."""
    command = [sys.executable, "-m", "otter", "run", "--no-logo", "-a", autograder, "-o", out, submission]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(command, env=environment, cwd=out, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    points = {test["name"]: test["score"] for test in results["tests"] if "score" in test}
    seen = [test["output"] for test in results["tests"] if test["visibility"] == "visible"]
    return points, "\n".join([results["output"], *seen])


@pytest.mark.parametrize("planted", PLANTED)
def test_submission_gets_its_points_and_feedback(planted, built, tmp_path):
    change, expected, feedback = PLANTED[planted]
    notebook = read(built / ("student" if change is None else "solution") / SOURCE.name)
    if change is not None:
        change(notebook.cells)
    nbformat.write(notebook, tmp_path / SOURCE.name)
    limit = "short" if planted == "endless loop" else "degradation-autograder"
    points, text = grade(tmp_path / SOURCE.name, built / f"{limit}.zip", tmp_path)
    assert points == expected, text
    for sentence in feedback:
        assert sentence in text, text


def test_the_same_source_gives_the_same_files(built, tmp_path):
    builder = load_builder()
    builder.build(tmp_path / "again")
    first = builder.read_folder(built)
    first.pop("short.zip")
    assert builder.read_folder(tmp_path / "again") == first


def test_student_notebook_runs_outside_the_grader(built, tmp_path):
    """With a student's files alone, from top to bottom, and no cell but the unfinished ones ends with an error."""
    from nbclient import NotebookClient

    shutil.copytree(built / "student", tmp_path / "student")
    notebook = read(tmp_path / "student" / SOURCE.name)
    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=60,
        allow_errors=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(tmp_path / "student")}},
    ).execute()
    checks = [cell for cell in notebook.cells if cell.source.startswith("grader.check")]
    assert len(checks) == len(FULL)
    for cell in checks:
        assert not any(output.output_type == "error" for output in cell.outputs)
        assert "Test case failed" in json.dumps(cell.outputs)
