"""The report on a class reads what 200 students may hand in, names what stands out, and trusts nothing of it."""

import csv
import io
import json
import os
import random
import re
import shutil
import struct
import sys
import tracemalloc
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from html_pages import Page

from resnet_course.classroom.anomalies import find_copies, find_outliers
from resnet_course.classroom.class_report import by_network, examine, make_class_report, recipes_of
from resnet_course.classroom.submissions import MOST_BYTES, MOST_BYTES_OF_ZIP, MOST_FILES, Run, Student, read_class
from resnet_lib.recipes import Recipe
from resnet_lib.records import FORMAT, Record, load_records, results_folder, save_record

ENVIRONMENT = {"device": "cpu", "device_name": "Some Processor", "cores": 2, "torch": "2.6.0", "date": "2026-11-22"}
HOSTILE = "<script>alert(1)</script>" if sys.platform != "win32" else "a & b"  # where a name can't hold <
luck = random.Random(0)


def ran(train_error=1.0, test_error=2.0, **settings) -> Record:
    """A record like that of a training: its times and losses are its own to the last digit."""
    recipe = Recipe(**{"epochs": 3, **settings})
    curve = [60.0] * (recipe.epochs - 2) + [30.0 + luck.random(), train_error]
    curves = {"train_error": curve, "test_error": [*curve[:-1], test_error]}
    times, loss = (luck.random() + 1, luck.random() + 1000), luck.random() + 0.1
    return Record(recipe, train_error, test_error, min(curves["test_error"]), None, loss, curves, *times, ENVIRONMENT)


def as_text(record: Record) -> str:
    return json.dumps({"format": FORMAT, **asdict(record)})


def runs_of_student(number: int) -> list[Record]:
    """Twelve runs; the depth, width and classes are not everybody's."""
    settings = {"dataset": f"digits-{number % 4}", "width": (4, 8)[number % 2]}
    deep = (32, 44, 56)[number % 3]
    records = []
    for shortcut, depth, error in (("none", 8, 1.0), ("none", deep, 60.0), ("A", 8, 1.0), ("A", deep, 0.8)):
        for seed in range(3 * number, 3 * number + 3):
            reached = luck.uniform(0.9, 1.1) * error
            records.append(ran(reached, reached + 2, shortcut=shortcut, depth=depth, seed=seed, **settings))
    return records


def hand_in(folder: Path, student: str, *records: Record) -> Path:
    for record in records:
        save_record(record, folder / student / "runs")
    return folder / student


def hand_in_zip(path: Path, **members: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)


@pytest.fixture(autouse=True, scope="module")
def no_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


def test_200_submissions_make_one_page_that_names_what_stands_out(tmp_path):
    names = [HOSTILE, "Zoë 漢字", "O'Brien & Söhne", *(f"student {number:03}" for number in range(3, 200))]
    for number, name in enumerate(names):
        hand_in(tmp_path, name, *runs_of_student(number))
    # The twelve runs of 10 are handed in by 11, too; 20 has a run that did not learn, and 21 one that diverged.
    shutil.copytree(tmp_path / names[10], tmp_path / names[11] / "more")
    odd = {"shortcut": "none", "depth": 8, "dataset": "digits-0", "width": 4}
    hand_in(tmp_path, names[20], ran(45.0, 50.0, seed=999, **odd))
    hand_in(tmp_path, names[21], replace(ran(90.0, 90.0, seed=998, **odd), train_loss=None))
    # Files that can't be used, beside those that can:
    (tmp_path / names[0] / "x.json").write_text("{}", encoding="utf-8")
    (tmp_path / names[32] / "huge.json").write_bytes(b" " * (MOST_BYTES + 1))
    (tmp_path / names[34] / "broken.zip").write_bytes(b"PK no archive")
    # 40 hands in a zip file alone, 41 nothing at all, 42 the twelve runs of case 7 without one, 43 another's number.
    shutil.make_archive(str(tmp_path / names[40]), "zip", tmp_path / names[40])
    shutil.rmtree(tmp_path / names[40])
    for name in (names[41], names[42]):
        shutil.rmtree(tmp_path / name / "runs")
    errors = {recipe: 60.0 if recipe.shortcut == "none" and recipe.depth > 20 else 1.0 for recipe in recipes_of(7)[1:]}
    hand_in(tmp_path, names[42], *(ran(error, error + 2, **vars(recipe)) for recipe, error in errors.items()))
    for name in (names[42], names[43]):
        (tmp_path / name / "degradation.ipynb").write_text('{"source": "STUDENT_NUMBER = 7\\n"}', encoding="utf-8")
    results = '{"tests": [{"score": 20}, {"score": 1.5}, {}]}'
    (tmp_path / f"{names[42]}.results.json").write_text(results, encoding="utf-8")
    printed = make_class_report(tmp_path, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)

    # Of 200 students with 12 runs each 41 has none, 20 and 21 one more, 42 one fewer, and 11 ten's twelve.
    assert printed.startswith("200 students, 2,401 runs of ") and "Class report: 200 students, 2,401 runs" in page.text
    assert len(text) < 2**20 and len(printed.splitlines()) < 60, "a page that can be sent around"
    counts = dict(re.findall(r"(?m)^([A-Z][a-z ]+): (\d+)$", printed))
    assert counts == {"Copies": "1", "Outliers": "2", "Diverged": "1", "Missing runs": "13", "Files not used": "3"}
    page.check_that_it_needs_nothing_but_itself()
    headline, *_ = page.sections
    assert headline == "56 plain layers train worse than 8; 56 residual layers do not"
    networks = [line[:2] for line in page.sections[headline]["tr"][1:]]
    assert ["plain", "44"] in networks and ["residual, A", "56"] in networks
    lines = {line[0]: line[1:] for line in page.sections["The students"]["tr"][1:]}
    assert len(lines) == 200 and lines[names[3]] == ["12 runs", "no number found"]
    assert lines[names[42]] == ["7", "11 of 12", "21.5", "number 7 also of others"]
    assert lines[names[43]] == ["7", "0 of 12", "number 7 also of others; 12 runs of another case"]
    assert "copies" in lines[names[11]][-1] and lines[names[41]] == ["0 runs", "no number found; no record"]
    assert page.sections["Missing runs"]["li"][0] == f"{names[42]}: {recipes_of(7)[0].name}"
    (copy,) = page.sections["Copies"]["li"]
    assert copy.startswith("student 010, student 011: 24 records of 12 trainings, told by the same times (")
    assert [line.partition(" %")[0] for line in page.sections["Outliers"]["li"]] == [
        "student 020: digits-0-plain-8-seed999: test error 50.00",
        "student 020: digits-0-plain-8-seed999: training error 45.00",
    ]
    assert page.sections["Diverged"]["li"] == ["student 021: digits-0-plain-8-seed998"]
    places = [line.partition(": ")[0] for line in page.sections["Files not used"]["li"]]
    assert sorted(places) == sorted([f"{names[0]}/x.json", f"{names[32]}/huge.json", f"{names[34]}/broken.zip"])
    assert set(page.sections["The recipes"]["dt"]) == {"dataset", "width", "epochs"}


def tell_gradescope(folder):
    """As Gradescope exports: names and times stand in a file, and a folder has a number."""
    told = """
submission_1:
  :submitters:
  - :name: Ada Lovelace
    :sid: '42'
  :created_at: 2026-11-30 22:04:00.5 Z
  :score: 64.0
  :history:
  - :created_at: 2026-11-29 20:00:00 Z
submission_2:
  :submitters:
  - :name: "=cmd()"
  - :name: 漢字
  :score:
"""
    (folder / "submission_metadata.yml").write_text(told, encoding="utf-8")
    return "submission_1", "submission_2"


ADA, TWO = "Ada Lovelace 42", "=cmd() and 漢字"
LAYOUTS = {
    "Gradescope": (tell_gradescope, [ADA, "7", "1 of 12", "64",
        "2026-11-30 22:04", "2 submissions, the last counts"],
                   [TWO, "9", "0 of 12", "1 runs of another case"]),
    "Canvas": (lambda _: ("lovelaceada_LATE_12_345_mine.zip", "zoe_13_346_submission-8-1.zip"),
               ["lovelaceada", "7", "1 of 12", "64", "late"],
               ["zoe", "8", "0 of 12", "could not be graded; 1 runs of another case"]),
    "Canvas, one name": (lambda _: ("wangwei_12_345_mine.zip", "wangwei_LATE_13_346_x.zip"),
                         ["wangwei", "7", "1 of 12", "64"], ["wangwei (2)", "1 runs"]),
    "Moodle": (lambda _: ("Ada Lovelace_987_assignsubmission_file_", "Zoë_988_assignsubmission_file_x.zip"),
               ["Ada Lovelace", "7", "1 of 12", "64"], ["Zoë", "1 runs", "could not be graded; no number found"]),
    "Moodle, one name": (lambda _: ("Wei_987_assignsubmission_file_", "Wei_988_assignsubmission_file_x.zip"),
                         ["Wei", "7", "1 of 12", "64"], ["Wei (2)", "1 runs"]),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_each_platform_exports_has_a_line_for_each_student(layout, tmp_path):
    name_them, *expected = LAYOUTS[layout]
    names = name_them(tmp_path)
    for name, record in zip(names, (ran(1.0, **vars(recipes_of(7)[0])), ran(seed=3)), strict=True):
        if name.endswith(".zip"):
            notebook = {"degradation.ipynb": "STUDENT_NUMBER = 7"} if name == names[0] else {}
            hand_in_zip(tmp_path / name, **{"records/x.json": as_text(record), **notebook})
        else:
            hand_in(tmp_path, name, record)
            number = 7 if name == names[0] else 9
            (tmp_path / name / "a.ipynb").write_text(f"STUDENT_NUMBER = {number}", encoding="utf-8")
        if layout != "Gradescope":  # as grade.py leaves it
            tests = [{"score": 60}, {"score": 4}, {}] if name == names[0] else []
            results = tmp_path / f"{name.removesuffix('.zip')}.results.json"
            results.write_text(json.dumps({"tests": tests}), encoding="utf-8")
    (tmp_path / "work.7z").write_bytes(b"7z")
    (tmp_path / "lonely.ipynb").write_text("{}", encoding="utf-8")
    make_class_report(tmp_path, tmp_path / "out" / "page.html")
    make_class_report(tmp_path, tmp_path / "out" / "grades.csv")
    page = Page((tmp_path / "out" / "page.html").read_text(encoding="utf-8"))
    lines = {line[0]: line for line in page.sections["The students"]["tr"]}
    for line in expected:
        assert lines[line[0]][: len(line)] == line
    assert "no record" in lines["lonely"][-1] and "no record" in lines["work"][-1]
    assert page.sections["Files not used"]["li"][-1].startswith("work.7z: it is an archive that is not read")
    table = list(csv.reader((tmp_path / "out" / "grades.csv").read_text(encoding="utf-8").splitlines()))
    assert table[0] == ["student", "number", "complete", "points", "handed in", "remarks"] and len(table) >= 5
    assert not any(cell.startswith("=") for line in table for cell in line), "no name is a formula"


# What is read


def read(folder: Path) -> tuple[dict[str, int], list[str]]:
    """The number of each student's runs, and what is not used."""
    students, unusable = read_class(folder)
    assert all(run.student == student.name for student in students for run in student.runs)
    return {student.name: len(student.runs) for student in students}, unusable


def test_records_are_found_however_deep_nothing_is_unpacked_and_what_is_hidden_is_passed_over(tmp_path):
    first, second, third, fourth = (ran(seed=seed) for seed in range(4))
    folder = tmp_path / "class"
    hand_in(folder, "ada/a/b/c", first)
    hand_in_zip(folder / "ada" / "work.zip", **{"x/y/second.json": as_text(second)})
    hand_in_zip(folder / "ada.ZIP", **{"third.JSON": as_text(third)})
    hand_in_zip(folder / "bob.zip", **{"../../out.json": as_text(fourth), "a.txt": "", "__MACOSX/._x.json": "\0"})
    for place in (".vscode/settings.json", "__MACOSX/x.json", "._x.json"):
        (folder / "ada" / place).parent.mkdir(exist_ok=True, parents=True)
        (folder / "ada" / place).write_text("{}", encoding="utf-8")
    if sys.platform != "win32":  # where a link needs a right
        (folder / "ada" / "up").symlink_to(tmp_path)
    before = set(tmp_path.rglob("*"))
    students, unusable = read_class(folder)
    found = {student.name: [run.record for run in student.runs] for student in students}
    assert found == {"ada": [second, first, third], "bob": [fourth]} and not unusable
    assert set(tmp_path.rglob("*")) == before


def test_the_same_record_twice_counts_once_and_another_of_the_same_run_is_named(tmp_path):
    record = ran()
    hand_in(tmp_path, "ada", record)
    (tmp_path / "ada" / "runs" / "z.json").write_text(as_text(record), encoding="utf-8")
    assert read(tmp_path) == ({"ada": 1}, [])
    (tmp_path / "ada" / "runs" / "z.json").write_text(as_text(replace(record, seconds=9.0)), encoding="utf-8")
    students, (line,) = read(tmp_path)
    assert students == {"ada": 1} and line.startswith("ada/runs/z.json: ") and record.recipe.file_name in line


@pytest.mark.skipif(sys.platform == "win32", reason="where a name can't hold these")
def test_students_whose_names_print_alike_stay_two(tmp_path):
    for number, name in enumerate(["ada\t", "ada\n", "ada\x1b"]):
        hand_in(tmp_path, name, *(ran(seed=10 * number + seed) for seed in range(number + 1)))
    assert read(tmp_path) == ({"ada?": 1, "ada? (2)": 2, "ada? (3)": 3}, [])


def zipped(size: int, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x.json", bytes(size))
    return buffer.getvalue()


def encrypted() -> bytes:
    content = bytearray(zipped(10, zipfile.ZIP_STORED))
    content[6] |= 1  # the flag in the member's own header, and in the list of members
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def claiming(size: int, claimed: int) -> bytes:
    return zipped(size).replace(struct.pack("<I", size), struct.pack("<I", claimed))


# What lies in a student's folder → (how it is made there, how its line begins).
UNUSABLE = {
    "a bomb": (lambda path: path.write_bytes(zipped(16 * MOST_BYTES)), "bad.zip/x.json: it is larger than"),
    "a bomb that denies it": (lambda path: path.write_bytes(claiming(16 * MOST_BYTES, MOST_BYTES // 2)),
                              "bad.zip/x.json: "),
    "a bomb by another method": (lambda path: path.write_bytes(zipped(16 * MOST_BYTES, zipfile.ZIP_LZMA)),
                                 "bad.zip/x.json: it is compressed by"),
    "a large file": (lambda path: path.write_bytes(bytes(MOST_BYTES_OF_ZIP + 1)), "bad.zip: it is larger than"),
    "an encrypted archive": (lambda path: path.write_bytes(encrypted()), "bad.zip/x.json: it is encrypted"),
    "a zip file in a zip file": (lambda path: hand_in_zip(path, **{"x.zip": b""}), "bad.zip/x.zip: it is a zip file"),
    "brackets": (lambda path: path.with_name("bad.json").write_bytes(b"[" * 100_000), "bad.json: its brackets"),
    "a link": (lambda path: path.symlink_to("/dev/zero"), "bad.zip: it is a link"),
    "a pipe": (lambda path: os.mkfifo(path), "bad.zip: it is not a file"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNUSABLE)
def test_what_would_do_harm_is_named_with_the_reason_and_takes_little_memory(tmp_path, what):
    if sys.platform == "win32" and what in ("a link", "a pipe"):
        pytest.skip("links need a right there, and pipes are otherwise")
    make, beginning = UNUSABLE[what]
    hand_in(tmp_path, "ada", ran())
    make(tmp_path / "ada" / "bad.zip")
    tracemalloc.start()
    students, (line,) = read(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert students == {"ada": 1} and line.startswith(f"ada/{beginning}") and peak < 8 * MOST_BYTES


def test_of_very_many_files_the_first_are_read_those_nearest_to_the_top_before(tmp_path):
    hand_in(tmp_path, "ada", ran())
    (tmp_path / "ada" / "a" / "b").mkdir(parents=True)
    for number in range(MOST_FILES + 5):
        (tmp_path / "ada" / "a" / "b" / f"{number:04}.json").write_text("{}", encoding="utf-8")
    students, unusable = read(tmp_path)
    assert students == {"ada": 1} and len(unusable) == MOST_FILES and "no more than 200 files" in unusable[-1]


@pytest.mark.parametrize("results", ["", "[]", "{}", '{"tests": [3]}', '{"tests": [{"score": null}]}', "[" * 100_000])
def test_results_that_are_not_whole_are_named_and_the_runs_count(tmp_path, results):
    hand_in(tmp_path, "ada", ran())
    (tmp_path / "ada.results.json").write_text(results, encoding="utf-8")
    students, (line,) = read(tmp_path)
    assert students == {"ada": 1} and line.startswith("ada.results.json: it is not what grade.py writes")


@pytest.mark.parametrize(
    ("typed", "number"),
    [("= 1_234", 1234), ("=9876543210123", 9876543210123), ("= 3\\n# STUDENT_NUMBER = 4", 3), ("= 12.5", None)],
)
def test_the_number_is_read_whole_or_not_at_all(tmp_path, typed, number):
    hand_in(tmp_path, "ada", ran())
    (tmp_path / "ada" / "a.ipynb").write_text(f"#STUDENT_NUMBER = 5\\nSTUDENT_NUMBER {typed}", encoding="utf-8")
    assert read_class(tmp_path)[0][0].number == number


@pytest.mark.parametrize(
    ("folder", "out", "words"),
    [
        ("no", "page.html", "no folder"),
        ("empty", "page.html", "holds no record of a student"),
        ("loose", "page.html", "loose holds no record of a student (STUDENT/**/*.json or STUDENT.zip); x.json: "),
        ("told", "page.html", "submission_metadata.yml is not what Gradescope writes"),
        ("no", "page.pdf", "ends in .html or .csv"),
        ("no", "folder.html", "ends in .html or .csv"),
    ],
)  # fmt: skip
def test_what_cannot_be_reported_is_refused_in_one_sentence(tmp_path, folder, out, words):
    for name in ("empty/ada", "loose", "told", "folder.html"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "loose" / "x.json").write_text(as_text(ran()), encoding="utf-8")
    (tmp_path / "told" / "submission_metadata.yml").write_text("submission_1:", encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        make_class_report(tmp_path / folder, tmp_path / out)
    assert words in str(caught.value) and "\n" not in str(caught.value) and not (tmp_path / out).is_file()


# Copies and outliers

COPY = ran()
TRAINED_AGAIN = replace(COPY, seconds=7.5, images_per_second=800.0)


def of_recipe(record: Record, **changes) -> Record:
    return replace(record, recipe=replace(record.recipe, **changes))


@pytest.mark.parametrize(
    ("mine", "theirs", "evidence"),
    [
        (COPY, COPY, "the same times"),
        (COPY, of_recipe(COPY, seed=1), "the same times"),
        (COPY, replace(COPY, train_error=0.0, train_loss=0.5), "the same times"),
        (COPY, of_recipe(TRAINED_AGAIN, seed=1), "the same losses from other settings"),
        # The same recipe and seed on a machine of the same kind:
        (COPY, TRAINED_AGAIN, None),
        # The same images by another name:
        (COPY, of_recipe(TRAINED_AGAIN, images=1437), None),
        (COPY, ran(), None),
        # A network that diverged has no loss, and the same errors as all of its kind:
        (replace(COPY, train_loss=None), of_recipe(replace(TRAINED_AGAIN, train_loss=None), seed=1), None),
        # One of the two times alone may be the same by chance, where clocks are coarse:
        (COPY, replace(ran(), seconds=COPY.seconds), None),
        (replace(COPY, seconds=0), replace(ran(), seconds=0, images_per_second=COPY.images_per_second), None),
    ],
)
def test_a_copy_is_told_from_the_same_run_done_twice(mine, theirs, evidence):
    runs = [Run("ada", mine), Run("bob", theirs)]
    assert find_copies(runs) == ([(evidence, runs)] if evidence else [])


def test_of_copies_one_counts_and_of_the_books_none(tmp_path):
    book = load_records(results_folder("digits"))
    ada = [Run("ada", COPY), Run("ada", ran(seed=1))]
    runs = {"ada": ada, "bob": [Run("bob", COPY)], "eve": [Run("eve", record) for record in book]}
    of_class = examine([Student(name, [], of_student) for name, of_student in runs.items()], [])
    assert of_class.counted == ada
    assert by_network(of_class.counted)[1][4:] == ["2", "1", "1"]
    assert of_class.named["Copies"][0].startswith("the book, eve: 36 records of 18 trainings, told by the same times (")
    hand_in(tmp_path, "eve", *book)
    assert "No run but copies of the book's" in make_class_report(tmp_path, tmp_path / "page.html")


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        # The median is 10 and the median distance 2: 3.5 robust deviations are 10.38 points.
        ([6, 8, 8, 10, 10, 12, 12, 20.3], []),
        ([6, 8, 8, 10, 10, 12, 12, 20.5], ["s7"]),
        ([14, 16, 16, 18, 18, 20, 20, 6.5], ["s7"]),
        # Too few:
        ([6, 8, 8, 10, 10, 12, 50], []),
        # Where most are equal, a deviation is half a point:
        ([0, 0, 0, 0, 0, 0, 0, 1.7], []),
        ([0, 0, 0, 0, 0, 0, 0, 1.8], ["s7"]),
        # The farthest comes first:
        ([0, 0, 0, 0, 0, 0, 0, 0, 3, 9], ["s9", "s8"]),
    ],
)
def test_an_outlier_is_more_than_three_and_a_half_robust_deviations_away(errors, expected):
    runs = [Run(f"s{i}", ran(error, 5.0, seed=i)) for i, error in enumerate(errors)]
    assert [line.partition(":")[0] for line in find_outliers(runs, runs)] == expected


def test_a_run_is_compared_with_its_own_recipe_if_eight_have_it_and_else_with_its_network():
    wide = [Run(f"w{i}", ran(40.0, width=16, seed=i)) for i in range(8)]
    usual = [Run(f"u{i}", ran(1.0, seed=i)) for i in range(20)]
    deep = [Run(f"d{i}", ran(80.0, depth=56, seed=i)) for i in range(5)]
    assert find_outliers(wide + usual + deep, wide + usual + deep) == []
    (line,) = find_outliers(wide[1:] + usual, wide[1:] + usual)[:1]
    assert re.match(r"w1: .*: training error 40\.00 %, 78\.0 deviations from 1\.00 %, .*27 runs of its network", line)


@pytest.mark.parametrize("depths", [[8, 99_998], [6 * n + 2 for n in range(1, 60)]], ids=len)
def test_depths_beyond_reason_do_not_spoil_the_page_and_the_same_class_makes_the_same(tmp_path, depths):
    hand_in(tmp_path / "class", "ada", *(ran(depth=depth, shortcut=kind) for depth in depths for kind in ("none", "A")))
    pages = []
    for name in ("one.html", "two.html"):
        make_class_report(tmp_path / "class", tmp_path / name)
        pages.append((tmp_path / name).read_text(encoding="utf-8"))
    assert f'<th scope="row">plain</th><td>{depths[-1]}</td>' in pages[0] and pages[0] == pages[1]


def test_what_records_and_names_say_is_shown_as_harmless_text(tmp_path):
    hostile = '<img src="https://example.org">\x1b[31m\u202e'
    record = replace(ran(9.0), recipe=replace(ran().recipe, dataset=hostile), environment={"device_name": [hostile]})
    (tmp_path / "ada").mkdir()
    for seed in (0, 1):
        text = as_text(of_recipe(record, seed=seed))
        (tmp_path / "ada" / f"{seed}.json").write_text(text, encoding="utf-8")
    printed = make_class_report(tmp_path, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    page.check_that_it_needs_nothing_but_itself()
    assert '<img src="https://example.org">?' in page.text
    assert all(character.isprintable() or character in "\n\u00a0" for character in printed + page.text)
