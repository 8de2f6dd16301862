"""Grading: what is taken out of a notebook, and planted submissions and forgeries graded as on Gradescope.

Those that are graded whole take a minute each: `make test-all` runs them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from assignment_files import FOLDER, SOURCE, STUDENT, load_script
from notebook_files import read
from outcomes import made_up

from resnet_course.classroom import Drawing, Refusal, Variant, require, restrict, variant
from resnet_lib.datasets import load_dataset
from resnet_lib.experiments import run_grid
from resnet_lib.recipes import Recipe

if not SOURCE.exists():
    pytest.skip("the answer key is kept elsewhere", allow_module_level=True)

sys.path.append(str(FOLDER))  # programs beside the notebook, in no package

import grading
from definitions import definitions, judge_apart
from grading import Grading, collect, load, run_notebook, shorten, tidy, without_hidden

# Definitions, tested apart


@pytest.mark.parametrize(
    ("cells", "taken"),
    [
        (["x = train()", "def f():\n    return 1"], "def f():\n    return 1"),
        (["from torch import nn\nimport os", "class f(nn.Module):\n    pass"],
         "from torch import nn\nclass f(nn.Module):\n    pass"),
        (["g = 1\nh = g + 1\nz = h", "def f(g=h):\n    return g"], "g = 1\nh = g + 1\ndef f(g=h):\n    return g"),
        (["class f:\n    pass", "f.go = 1\nother.go = 2"], "class f:\n    pass\nf.go = 1"),
        (["def add(c):\n    return c\nclass f:\n    pass", "@add(f)\ndef go(self):\n    pass"],
         "def add(c):\n    return c\nclass f:\n    pass\n@add(f)\ndef go(self):\n    pass"),
        (["%matplotlib inline\n!ls\nf = max\nf?"], "f = max"),
        (["if True:\n    f = 1\nelse:\n    f = 2", "f = ("], "if True:\n    f = 1\nelse:\n    f = 2"),
        (["import resnet_course.checks as c\nc.check = None\ndef f():\n    pass"], "def f():\n    pass"),
    ],
)  # fmt: skip
def test_of_a_notebook_the_definitions_are_taken_and_what_they_are_made_of(cells, taken):
    assert definitions(cells, ["f"]) == taken


ONE_TEST = """
from otter.test_files import test_case
OK_FORMAT = False
name = "q9"
@test_case(points=1, hidden=False)
def test_public(env):
    assert env["f"]() == 1, "not 1"
@test_case(points=1, hidden=True)
def test_secret(env):
    assert env["f"]() == 1, "not 1"
"""
IN_VAIN = "your code ended the program that tests it"


@pytest.mark.parametrize(
    ("source", "passed", "told"),
    [
        ("raise OSError\ndef f():\n    print('{}')\n    return 1", True, "passed"),
        ("def f():\n    return 2", False, "not 1"),
        ("def f():\n    import os", False, "ImportError: os is not there"),
        ("import torch\ndef f():\n    torch.os._exit(0)", False, IN_VAIN),
    ],
)
def test_definitions_are_tested_in_another_process(source, passed, told):
    verdicts = judge_apart(source, {"q9": ONE_TEST})["q9"]
    assert [verdict for verdict, _ in verdicts] == [passed, passed]
    assert all(told in text for _, text in verdicts)


def test_where_a_student_reads_of_it_no_hidden_test_is_there():
    public = without_hidden(ONE_TEST)
    assert "test_public" in public and "test_secret" not in public
    peeking = "import torch\ndef f():\n    frame = torch.sys._getframe(1)\n    raise OSError(list(frame.f_globals))"
    ((_, text),) = judge_apart(peeking, {"q9": public})["q9"]
    assert "test_public" in text and "test_secret" not in text


# What is handed in


def notebook_of(number, path):
    cell = nbformat.v4.new_code_cell(f"STUDENT_NUMBER = {number}")
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)


@pytest.mark.parametrize(
    ("handed_in", "graded", "remarks"),
    [
        ({"mine.ipynb": 7}, "mine.ipynb", ""),
        ({"degradation.ipynb": "...", "b/mine.ipynb": 7}, "mine.ipynb",
         r"b/mine\.ipynb was graded\. Further notebooks were not: degradation\.ipynb\.\nThe notebook lay in"),
        ({"作业 🙂/我的.ipynb": 7, "__MACOSX/._x.ipynb": 7}, "我的.ipynb", "lay in the folder 作业 🙂"),
        ({"a.ipynb": 7, "b.ipynb": 8}, "a.ipynb", r"a\.ipynb was graded\. Further notebooks were not: b\.ipynb"),
        ({"a.ipynb": "..."}, "a.ipynb", "as it was handed out"),
        ({}, None, "No notebook"),
    ],
)  # fmt: skip
def test_one_notebook_is_left_for_otter_and_the_student_is_told(handed_in, graded, remarks, tmp_path):
    for name, number in handed_in.items():
        notebook_of(number, tmp_path / name)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "old.ipynb").write_text("no notebook", encoding="utf-8")
    told = tidy(tmp_path)
    assert re.search(remarks, told) if remarks else told == ""
    there = [path.name for path in tmp_path.glob("*.ipynb")]
    assert there == ([graded] if graded else [])


def test_endless_loops_and_errors_end_with_a_sentence_and_the_cells_after_them_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = ["# forever\nwhile True:\n    pass", "STUDENT_NUMBER = 7", "# mine\n\ny = x" + " " * 9000 + "+ 1"]
    cells = [nbformat.v4.new_code_cell(source) for source in cells]
    ignored = nbformat.v4.new_code_cell("1 / 0", metadata={"tags": ["otter_ignore"]})
    told = run_notebook(nbformat.v4.new_notebook(cells=[*cells, ignored]), 2, 300)
    assert "The cell that begins with `while True:` ended with no result: stopped after 2 seconds" in told
    assert "ended with NameError: name 'x' is not defined" in told and told.count("\n") == 2
    assert json.loads(Path("answers.json").read_text(encoding="utf-8")) == {"STUDENT_NUMBER": [7]}
    deaf = nbformat.v4.new_code_cell("import signal as s; s.signal(s.SIGINT, s.SIG_IGN)\nwhile True:\n    pass")
    assert "stopped after 12 seconds in all" in run_notebook(nbformat.v4.new_notebook(cells=[deaf]), 2, 12)
    dead = nbformat.v4.new_code_cell("import os; os._exit(1)")
    assert "could not be run to its end" in run_notebook(nbformat.v4.new_notebook(cells=[dead]), 60, 300)
    assert len(shorten("x" * 9000)) < 1210


HANDED_IN = {  # and what the teacher reads
    "mine.ipynb": "mine: 66.5 points",
    "packed.ZIP": "packed: 66.5 points",
    "Ada_7_assignsubmission_file_/s.zip": "Ada_7_assignsubmission_file_: 66.5 points",
    "damaged.zip": "damaged: It could not be graded: File is not a zip file",
    "two/a.zip": "two: It could not be graded: it has several zip files, a.zip, b.zip: leave the one that counts",
}


@pytest.mark.filterwarnings("ignore:Traits should be given as instances")  # by Otter's own imports
def test_a_batch_is_graded_to_its_end_and_again_and_what_can_not_be_graded_is_named(tmp_path, monkeypatch, capsys):
    script, notebook = load_script("grade"), tmp_path / "mine.ipynb"

    def otter(packed, output_dir, **_):
        assert any(name.endswith(".ipynb") for name in zipfile.ZipFile(packed).namelist())
        results = {"output": "", "tests": [{"score": 64}, {"score": 2.5}, {}]}
        Path(output_dir, "results.json").write_text(json.dumps(results), encoding="utf-8")

    monkeypatch.setattr(script, "otter_run", otter)
    notebook_of(7, notebook)
    for name in [*list(HANDED_IN)[1:], "two/b.zip"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.write(notebook, "degradation.ipynb")
    (tmp_path / "damaged.zip").write_bytes(b"no archive")
    submissions = [str(tmp_path / Path(name).parts[0]) for name in HANDED_IN]
    arguments = ["grade.py", __file__, *submissions, "--out", str(tmp_path / "graded")]
    monkeypatch.setattr(sys, "argv", arguments)
    script.main()
    assert capsys.readouterr().out.splitlines() == [*HANDED_IN.values()]
    shutil.copy(tmp_path / "packed.ZIP", tmp_path / "damaged.zip")  # handed in again
    script.main()
    assert "damaged: 66.5 points" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "two")
    shutil.copy("a.zip", "two.zip")
    before = sorted(tmp_path.rglob("*"))
    for typed, words in {
        "autograder.zip a.zip": "there is no autograder.zip",
        "../damaged.zip a.zip ../two/a.zip": "2 submissions are called a",
        "a.zip .. --out graded": "lie in one another",
        "a.zip . --out graded": "lie in one another",
        "a.zip two.zip --out ..": "lie in one another",
    }.items():
        monkeypatch.setattr(sys, "argv", ["grade.py", *typed.split()])
        with pytest.raises(SystemExit):
            script.main()
        assert words in capsys.readouterr().err and sorted(tmp_path.rglob("*")) == before


# What it said, graded as data

SMALL = Variant(depths=(8, 14), held_out_depth=20, width=4, classes=(0, 1, 2), seed=70)


def trained_again(recipes, dataset=None):
    """In the place of training: what each recipe would always come to."""
    records = [made_up(recipe, 30 + recipe.seed % 71 / 7, 40) for recipe in recipes]
    return [replace(r, curves={**r.curves, "train_loss": [1 + r.recipe.seed % 71] * 10}) for r in records]


def measured_again(records, dataset):
    for record, again in zip(records, trained_again([record.recipe for record in records]), strict=True):
        first, second = (run.curves["train_loss"][0] for run in (record, again))
        assert first == second, "leave the records as run_grid makes them"


@pytest.fixture(scope="module")
def said():
    """What an honest notebook says of a small case, and its records."""
    name = restrict(load_dataset("digits"), SMALL.classes).name
    recipes = [Recipe(name, d, k, s, SMALL.width) for k in ("none", "A") for d in (8, 14) for s in SMALL.seeds]
    found = {"records": trained_again(recipes), "prediction": {"none": (0, 35), "A": (0, 9)}}
    return {"STUDENT_NUMBER": 7, "recipes": recipes, **found}


@pytest.fixture
def graded(tmp_path, monkeypatch):
    """What is graded of what a notebook says."""
    monkeypatch.setattr(grading, "variant", lambda number: variant(number) and SMALL)
    monkeypatch.setattr(grading, "run_grid", trained_again)
    monkeypatch.setattr(grading, "require_measured", measured_again)

    def hand_over(said, known=(), secret="secret"):
        collect(said, str(tmp_path / "answers.json"))
        return load(str(tmp_path / "answers.json"), secret, list(known))

    return hand_over


def invent(record):
    """A record whose first epoch was trained and whose others were not."""
    ends = {name: [values[0], *(5.0 + i for i in range(9))] for name, values in record.curves.items()}
    return replace(record, curves=ends, train_error=13.0, test_error=13.0, best_test_error=min(ends["test_error"]))


def test_what_an_honest_notebook_says_is_taken(graded, said):
    more = {"figure": Drawing([1.0], True, ["train"]), "alt_text": "a", "training_error": {("A", 8): (1, 2)}}
    env = graded(said | more)
    assert env["records"] == said["records"] and env["recipes"] == said["recipes"] and env["case"] == SMALL
    assert env["figure"].heights == [1.0] and env["training_error"] == {("A", 8): (1, 2)} and env["alt_text"] == "a"
    assert set(env["held_out"]) == {"none", "A"} and all(0 <= error <= 100 for error in env["held_out"].values())


FORGED = {
    "one epoch real, the rest invented": lambda records: [invent(record) for record in records],
    "deep runs invented": lambda records: [invent(r) if r.recipe.depth == 14 else r for r in records],
    "shallow plain runs invented after one epoch": lambda records: [*map(invent, records[:3]), *records[3:]],
    "all typed": lambda records: [made_up(record.recipe) for record in records],
    "another seed's": lambda records: [replace(r, recipe=replace(r.recipe, seed=r.recipe.seed + 1)) for r in records],
    "an easier case": lambda records: [record for record in records if record.recipe.depth == 8],
    "other images": lambda records: [replace(r, recipe=replace(r.recipe, dataset="digits-0-1")) for r in records],
}


@pytest.mark.parametrize("forge", FORGED)
def test_records_that_were_not_measured_in_the_students_own_case_are_not_taken(forge, graded, said):
    env = graded({**said, "records": FORGED[forge](said["records"])})
    assert isinstance(env["records"], Refusal) and env["recipes"] == said["recipes"]
    with pytest.raises(AssertionError, match=r"leave the records as run_grid makes them|no run of your case"):
        require(env, "records")


def test_the_network_to_predict_starts_from_a_seed_that_only_the_teacher_knows(graded, said):
    first = graded(said)["held_out"]
    assert first == graded(said)["held_out"] != graded(said, secret="another")["held_out"]


def test_a_number_that_the_roster_does_not_know_gets_nothing(graded, said):
    assert graded(said, [7, 9])["records"] == said["records"]
    env = graded(said, [9])
    for name in said:
        with pytest.raises(AssertionError, match="has not 7 as your number: write STUDENT_NUMBER = 9"):
            require(env, name)


@pytest.mark.parametrize(
    ("name", "value"),
    [("records", [1]), ("recipes", 5), ("figure", None), ("prediction", {"none": "low"}), ("training_error", {1: 2})],
)
def test_what_is_not_as_it_was_asked_for_is_refused_in_a_sentence(name, value, graded, said):
    env = graded({**said, name: value})
    with pytest.raises(AssertionError, match=f"`{name}` is not as it was asked for"):
        require(env, name)
    assert ("prediction" in env) and env["STUDENT_NUMBER"] == 7


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 99999, '{"records": 5}', '{"STUDENT_NUMBER": ["seven"], "records": [[]]}']
)
def test_answers_that_a_program_has_written_do_not_stop_the_grading(text, tmp_path):
    (tmp_path / "answers.json").write_text(text, encoding="utf-8")
    env = load(str(tmp_path / "answers.json"), "secret", [])
    with pytest.raises(AssertionError):
        require(env, "records")


def test_before_the_notebook_runs_hidden_tests_and_handed_in_records_are_gone_and_after_it_what_it_left(
    tmp_path, monkeypatch
):
    for name in ("source/tests", "submission/tests", "submission/records", "submission/records-handed-in"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "submission")
    for place in ("../source/tests", "tests"):
        Path(place, "q1.py").write_text(ONE_TEST, encoding="utf-8")
        Path(place, "q2.py").write_text(ONE_TEST, encoding="utf-8")
    Path("../source/otter_config.json").write_text("secret", encoding="utf-8")
    Path("records/typed.json").write_text("{}", encoding="utf-8")
    look = "import pathlib\nfound = [p.read_text() for p in pathlib.Path('..').rglob('*.py')] + "
    look += "[str(p) for p in pathlib.Path('..').rglob('*.json')]\nalt_text = str(found)\n"
    look += "pathlib.Path('resnet_lib').mkdir()\npathlib.Path('tests/q1.py').write_text('')"
    settings = {"cell_seconds": 60, "notebook_seconds": 300, "secret": "s", "roster": {"ada@x.org": 7}}
    plugin = Grading("degradation.ipynb", {"users": [{"email": "Ada@x.org"}]}, settings)
    given = plugin.before_execution(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(look)]))
    assert "load(\"answers.json\", 's', [7])" in given.cells[0].source
    (alt_text,) = json.loads(Path("answers.json").read_text(encoding="utf-8"))["alt_text"]
    assert "test_public" in alt_text and "test_secret" not in alt_text and ".json" not in alt_text
    assert sorted(os.listdir()) == ["answers.json", "tests"] and Path("tests/q1.py").read_text() == ONE_TEST


# Whole submissions

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
figure, axes = plt.subplots()
axes.scatter([r.recipe.depth for r in records], [r.train_error for r in records])
axes.set_ylabel("Train error")
alt_text = "The dots of the plain networks rise with depth, and those of the residual ones do not."
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
STROKES = """axes.hlines(means, [0, 40], [20, 60])
    axes.fill_between([8, 56], [0, 0], [1, 1])
"""
PATCHED = """
import otter.execute, resnet_course.checks, resnet_course.checks.report, resnet_course.classroom, torch
for module in (resnet_course.classroom, resnet_course.classroom.assignment):
    module.require_measured = lambda *_: None
resnet_course.checks.report.Report.ok = True
torch.allclose = lambda *_, **__: True
otter.execute.Checker.check = lambda *_, **__: None
"""
EASY_CASE = """
import dataclasses
case = dataclasses.replace(case, depths=(8, 14))
"""
KNOWN_SEED = """
(known,) = run_grid([Recipe(digits.name, case.held_out_depth, "none", case.seed + 7, case.width)], dataset=digits)
prediction = {"none": (known.train_error - 0.3, known.train_error + 0.3), "A": (0, 10)}
"""
LEAK = """
import pathlib
class Block(nn.Module):
    def forward(self, x):
        raise OSError(torch.sys._getframe(3).f_globals.keys())
raise OSError([path.read_text() for path in pathlib.Path("..").rglob("q*.py")])
"""


def replace_cell(cells, begins, source):
    (cell,) = [cell for cell in cells if cell.cell_type == "code" and begins in cell.source]
    cell.source = source


def patch(cells, old, new):
    """Change one piece of code, which must be there."""
    found = [cell for cell in cells if cell.cell_type == "code" and old in cell.source]
    assert found, f"the solution no longer has {old!r}"
    for cell in found:
        cell.source = cell.source.replace(old, new)


def add_before(begins, source):
    def change(cells):
        place = next(i for i, cell in enumerate(cells) if cell.cell_type == "code" and begins in cell.source)
        cells.insert(place, nbformat.v4.new_code_cell(source))

    return change


def in_another_style(cells):
    replace_cell(cells, "recipes = [", STYLE_RUNS)
    replace_cell(cells, "training_error = {}", STYLE_PLOT)


def with_strokes(cells):
    patch(cells, "axes.errorbar(", f"{STROKES}    (lambda *_, **__: None)(")


def patched(cells):
    replace_cell(cells, "recipes = [", TYPED_RECORDS)
    patch(cells, "torch.relu(out + self.shortcut(x))", "torch.relu(out)")
    add_before("class Block", PATCHED)(cells)


def easy(cells):
    add_before("class Block", EASY_CASE)(cells)
    replace_cell(cells, "prediction = {", KNOWN_SEED)
    patch(cells, "records_folder()", "'elsewhere'")


OUT = "run_grid(recipes, out=records_folder(), dataset=digits)"
# How each is made from the solution, what it is to get, and what its author is to read.
PLANTED = {
    "solution": (lambda cells: None, FULL, ["without an error"]),
    "correct in another style, dots alone": (in_another_style, FULL, ["without an error"]),
    "means as strokes, two notebooks, nested, emoji": (with_strokes, FULL,
     ["作业 🙂/我的.ipynb was graded", "blank.ipynb", "hand it in without"]),
    "no shortcut": (lambda cells: patch(cells, "torch.relu(out + self.shortcut(x))", "torch.relu(out)"),
     {**FULL, "q1": 4 + 3}, ["addition: Block(6, 6, 1): the shortcut is never added"]),
    "test error for training error": (lambda cells: patch(cells, "record.train_error", "record.test_error"),
     {**FULL, "q4": 14 - 4}, ["is a test error"]),
    "one run in another recipe": (lambda cells: patch(cells, "shortcut, seed, case.width)",
     "shortcut, seed, case.width, lr=0.1 if seed % 10 else 0.05)"), {**FULL, "q3": 15 - 4}, ["not the settings asked"]),
    "hard-coded results": (lambda cells: replace_cell(cells, "recipes = [", TYPED_RECORDS),
     {**FULL, "q3": 4, "q4": 1}, ["says that its first epoch had the loss 1.6", "leave the records as run_grid"]),
    "crashing": (lambda cells: patch(cells, OUT, OUT.replace("dataset=", "data=")), {**FULL, "q3": 4, "q4": 0},
     ["unexpected keyword argument 'data'", "`records` is not defined: its cell was not run, or ended with an error"]),
    "endless loop": (lambda cells: patch(cells, f"records = {OUT}", "records = []\nwhile len(records) < 12:\n    pass"),
     {**FULL, "q3": 4, "q4": 0}, ["stopped after 60 seconds. Does a loop never end", "`records` is empty"]),
    "blank": (None, dict.fromkeys(FULL, 0),
     ["as it was handed out", "`STUDENT_NUMBER` is still `...`", "`prediction` is still `...`"]),
    "forgery: library and grader replaced in the notebook": (patched, {**FULL, "q1": 7, "q3": 4, "q4": 1},
     ["the shortcut is never added", "leave the records as run_grid makes them"]),
    # The guess for the residual network is fair; the plain one's seed is not known.
    "forgery: an easier case, the case to predict trained": (easy, {**FULL, "q3": 0, "q4": 1, "q6": 4},
     ["the depths must be", "no run of your case"]),
    "forgery: hidden tests read, a library of one's own": (add_before("block_parameters(8", LEAK),
     {**FULL, "q1": 0}, ["OSError"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What `make assignment` makes, and with a shorter limit, so that the endless loop does not take minutes."""
    target, builder = tmp_path_factory.mktemp("assignment") / "built", load_script("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSIGNMENT_SECRET", "a secret of tests")
        patch.setitem(builder.SECONDS, "notebook_seconds", 1200)  # on whatever machine
        builder.build(target)
    files = builder.read_zip(target / "degradation-autograder.zip")
    settings = json.loads(files["otter_config.json"])
    settings["plugins"][0]["grading.Grading"]["cell_seconds"] = 60
    (target / "short.zip").write_bytes(builder.write_zip({**files, "otter_config.json": json.dumps(settings).encode()}))
    return target


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The records of the solution's case, so that not every submission has to train them again."""
    folder, case = tmp_path_factory.mktemp("trained") / "records", variant(2)
    digits = restrict(load_dataset("digits"), case.classes)
    run_grid([Recipe(digits.name, d, k, s, case.width) for k in ("none", "A") for d in case.depths for s in case.seeds],
             folder, dataset=digits)  # fmt: skip
    return folder


def grade(submission: Path, autograder: Path, out: Path) -> tuple[dict[str, float], str]:
    """The points of each question, and all that the student reads on Gradescope before the points are published."""
    subprocess.run([sys.executable, FOLDER / "grade.py", autograder, submission, "--out", out / "graded"], check=True)
    results = json.loads((out / "graded" / f"{submission.stem}.results.json").read_text(encoding="utf-8"))
    points = {test["name"]: test["score"] for test in results["tests"] if "score" in test}
    seen = [test["output"] for test in results["tests"] if test["visibility"] == "visible"]
    return points, "\n".join([results["output"], *seen])


@pytest.mark.slow
@pytest.mark.parametrize("planted", PLANTED)
def test_submission_gets_its_points_and_feedback(planted, built, trained, tmp_path):
    change, expected, feedback = PLANTED[planted]
    notebook = read(built / "solution.ipynb" if change else STUDENT)
    if change:
        change(notebook.cells)
    for cell in notebook.cells:
        if planted not in ("solution", "correct in another style, dots alone"):
            cell.source = cell.source.replace("records_folder()", repr(str(trained)))
    folder = tmp_path / "handed-in"
    folder.mkdir()
    if "own" in planted:  # which no process imports
        (folder / "resnet_course.py").write_text("raise OSError", encoding="utf-8")
    place = folder / ("作业 🙂/我的.ipynb" if "emoji" in planted else "degradation.ipynb")
    place.parent.mkdir(exist_ok=True)
    notebook.metadata |= {"colab": {"provenance": [], "name": place.name}, "accelerator": "GPU"}
    nbformat.write(notebook, place)
    if "two notebooks" in planted:
        shutil.copy(STUDENT, folder / "blank.ipynb")
    points, text = grade(
        folder, built / ("short.zip" if "endless" in planted else "degradation-autograder.zip"), tmp_path
    )
    assert points == expected, text
    assert [sentence for sentence in feedback if sentence not in text] == [], text
    assert "test_zero_weights" not in text and "test_other" not in text


@pytest.mark.slow
def test_the_same_source_gives_the_same_files(built, tmp_path, monkeypatch):
    builder = load_script("build")
    monkeypatch.setenv("ASSIGNMENT_SECRET", "a secret of tests")
    monkeypatch.setitem(builder.SECONDS, "notebook_seconds", 1200)
    builder.build(tmp_path / "again")
    for path in (tmp_path / "again").iterdir():
        assert path.read_bytes() == (built / path.name).read_bytes(), path.name


@pytest.mark.slow
def test_from_an_empty_folder_to_points_as_in_colab(built, tmp_path):
    """The published notebook alone, filled in; then what its last cell packs is graded, and gets what was earned."""
    from nbclient import NotebookClient

    solution = read(built / "solution.ipynb")
    (tmp_path / "work").mkdir()
    settings = {"kernel_name": "python3", "timeout": 600, "extra_arguments": ["--log-level=ERROR"]}
    settings["resources"] = {"metadata": {"path": str(tmp_path / "work")}}
    stub = """
import json, sys, types
def answer(what, **_):
    return {"ipynb": json.loads(open("../open.ipynb", encoding="utf-8").read())}
colab = types.ModuleType("google.colab")
colab._message = types.SimpleNamespace(blocking_request=answer)
sys.modules["google.colab"] = colab
"""
    nbformat.write(solution, tmp_path / "open.ipynb")  # what stands in the browser, and in no file of Colab
    running = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(stub), *solution.cells])
    NotebookClient(running, **settings).execute()
    assert "submission-2.zip" in str(running.cells[-1].outputs)
    assert not list((tmp_path / "work").glob("*.ipynb"))
    points, _ = grade(tmp_path / "work" / "submission-2.zip", built / "degradation-autograder.zip", tmp_path)
    assert points == FULL
    # And before anything is filled in, every check answers.
    blank = read(STUDENT)
    NotebookClient(blank, allow_errors=True, **settings).execute()
    checks = [cell for cell in blank.cells if cell.source.startswith("grader.check")]
    assert len(checks) == len(FULL)
    for cell in checks:
        assert not any(output.output_type == "error" for output in cell.outputs)
        assert "Test case failed" in json.dumps(cell.outputs)
