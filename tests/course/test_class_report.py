"""The report on a class reads what 200 students may hand in, names what stands out, and trusts nothing of it."""

import io
import json
import os
import random
import re
import shutil
import statistics
import struct
import sys
import tracemalloc
import zipfile
from dataclasses import asdict, replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from resnet_course.classroom.anomalies import describe_copies, find_copies, find_outliers
from resnet_course.classroom.class_report import beside_the_book, by_network, examine, make_class_report
from resnet_course.classroom.submissions import MOST_BYTES, MOST_BYTES_OF_ZIP, MOST_FILES, Run, read_class
from resnet_lib.recipes import Recipe
from resnet_lib.records import FORMAT, Record, load_records, results_folder, save_record

ENVIRONMENT = {"device": "cpu", "device_name": "Some Processor", "cores": 2, "torch": "2.6.0", "date": "2026-11-22"}
HOSTILE = "<script>alert(1)</script>" if sys.platform != "win32" else "a & b"  # where a name can't hold <
FIRST_NAMES = [HOSTILE, "Zoë 漢字", "O'Brien & Söhne"]
luck = random.Random(0)


def ran(train_error=1.0, test_error=2.0, **settings) -> Record:
    """A record like that of a training: its times and losses are its own to the last digit."""
    recipe = Recipe(**{"epochs": 3, **settings})
    curve = [60.0] * (recipe.epochs - 2) + [30.0 + luck.random(), train_error]
    return Record(
        recipe=recipe,
        train_error=train_error,
        test_error=test_error,
        best_test_error=test_error,
        held_out_error=None,
        train_loss=luck.random() + 0.1,
        curves={"train_error": curve, "test_error": curve},
        seconds=luck.random() + 1,
        images_per_second=luck.random() + 1000,
        environment=ENVIRONMENT,
    )


def as_text(record: Record) -> str:
    return json.dumps({"format": FORMAT, **asdict(record)})


def runs_of_student(number: int) -> list[Record]:
    """Twelve runs; the depth, width and classes are not everybody's."""
    settings = {"dataset": f"digits-{number % 4}", "width": (4, 8)[number % 2]}
    deep = (32, 44, 56)[number % 3]
    records = []
    for shortcut, depth, error in (("none", 8, 1.0), ("none", deep, 60.0), ("A", 8, 1.0), ("A", deep, 0.8)):
        for seed in range(3):
            reached = luck.uniform(0.9, 1.1) * error
            records.append(
                ran(reached, reached + 2, shortcut=shortcut, depth=depth, seed=3 * number + seed, **settings)
            )
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


# 200 submissions


class Page(HTMLParser):
    """The elements, attributes and text of a page, and the text of each section by its heading."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.items: dict[str, list[str]] = {}
        self.cells: dict[str, list[list[str]]] = {}
        self.heading = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "h2":
            self.heading = ""
        if tag == "li":
            self.items.setdefault(self.heading, []).append("")
        if tag == "tr":
            self.cells.setdefault(self.heading, []).append([])
        if tag in ("td", "th"):
            self.cells[self.heading][-1].append("")

    def handle_data(self, data):
        tag = self.elements[-1][0] if self.elements else ""
        if tag == "h2" and data.strip():
            self.heading = data
        if tag == "li" and data.strip():
            self.items[self.heading][-1] += data
        if tag in ("td", "th") and data.strip():
            self.cells[self.heading][-1][-1] += data


@pytest.fixture(scope="module")
def class_of_200(tmp_path_factory):
    """What is printed, the page, and its parts, of 200 submissions with all that happens among so many."""
    folder = tmp_path_factory.mktemp("class")
    names = dict(enumerate(FIRST_NAMES))
    names |= {number: f"student {number:03}" for number in range(3, 200)}
    for number, name in names.items():
        hand_in(folder, name, *runs_of_student(number))
    # The twelve runs of 10 are handed in by 11, too.
    shutil.copytree(folder / names[10], folder / names[11] / "more")
    # 20 has a run that did not learn.
    hand_in(folder, names[20], ran(45.0, 50.0, shortcut="none", depth=8, seed=999, dataset="digits-0", width=4))
    # 0 to 2 and 30 to 34: files that can't be used, beside the twelve that can.
    (folder / names[30] / "corrupt.json").write_text('{"format": "resnet', encoding="utf-8")
    for number in range(3):
        (folder / names[number] / "x.json").write_text("{}", encoding="utf-8")
    (folder / names[31] / "package.json").write_text('{"name": "something"}', encoding="utf-8")
    (folder / names[32] / "huge.json").write_bytes(b" " * (MOST_BYTES + 1))
    hand_in_zip(folder / names[33] / "bomb.zip", **{"zeros.json": bytes(32 * MOST_BYTES)})
    (folder / names[34] / "broken.zip").write_bytes(b"PK no archive")
    # 40 hands in a zip file alone, 41 nothing at all, 42 in the book's recipe.
    shutil.make_archive(str(folder / names[40]), "zip", folder / names[40])
    shutil.rmtree(folder / names[40])
    shutil.rmtree(folder / names[41] / "runs")
    hand_in(folder, names[42], *(ran(0.5, 3.0, epochs=10, shortcut="none", depth=8, seed=seed) for seed in range(2)))
    out = folder / "page.html"
    printed = make_class_report(folder, out)
    text = out.read_text(encoding="utf-8")
    return printed, text, Page(text)


def test_200_submissions_make_one_page(class_of_200):
    printed, text, _ = class_of_200
    # Of 200 students with 12 runs each 41 has none, 20 one more, 42 two more, and 11 ten's twelve.
    assert printed.startswith("200 students, 2,403 runs of ")
    assert "<h1>Class report: 200 students, 2,403 runs</h1>" in text
    assert len(text) < 2**20, "a page that can be sent around"


def test_what_is_printed_is_short(class_of_200):
    printed, _, _ = class_of_200
    lines = printed.splitlines()
    assert len(lines) < 40 and max(map(len, lines)) < 300
    assert [line for line in lines if re.match(r"(Copies|Outliers|Not used): ", line)] == [
        "Copies: 1",
        "Outliers: 2",
        "Not used: 9",
    ]


def test_the_copies_the_outliers_and_the_files_not_used_are_named(class_of_200):
    _, _, page = class_of_200
    (copy,) = page.items["Copies"]
    assert copy.startswith("student 010, student 011: 24 records of 12 trainings, told by the same times (")
    assert [item.partition(" %")[0] for item in page.items["Outliers"]] == [
        "student 020: digits-0-plain-8-seed999: test error 50.00",
        "student 020: digits-0-plain-8-seed999: training error 45.00",
    ]
    assert sorted(page.items["Files not used"], key=lambda item: (item[:7] == "student", item)) == [
        *sorted(f"{name}/x.json: it does not say 'resnet_lib record 2'" for name in FIRST_NAMES),
        "student 030/corrupt.json: Unterminated string starting at: line 1 column 12 (char 11)",
        "student 031/package.json: it does not say 'resnet_lib record 2'",
        "student 032/huge.json: it is larger than 1,048,576 bytes, and a record has some thousand",
        "student 033/bomb.zip/zeros.json: it is larger than 1,048,576 bytes, and a record has some thousand",
        "student 034/broken.zip: File is not a zip file",
        "student 041: no record that can be used",
    ]


def test_runs_of_the_books_recipe_stand_beside_the_books(class_of_200):
    _, _, page = class_of_200
    of_class, of_book = page.cells["Beside the book"][1:]
    book = [
        record for record in load_records(results_folder("digits")) if record.recipe.name.startswith("digits-plain-8-")
    ]
    errors = [
        f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
        for values in ([run.train_error for run in book], [run.test_error for run in book])
    ]
    assert of_class == ["plain", "8", "10", "same", "class", "2", "0.50 ± 0.00", "3.00 ± 0.00"]
    assert of_book == ["plain", "8", "10", "same", "book", "3", *errors]


@pytest.mark.parametrize(
    ("settings", "likeness"),
    [
        ({}, ["same"]),
        ({"seed": 77}, ["same"]),
        ({"dataset": "digits-0-1", "width": 6}, ["similar"]),
        ({"lr": 0.2}, []),
        ({"depth": 14}, []),
    ],
    ids=str,
)
def test_the_books_runs_stand_beside_those_of_the_same_recipe_or_of_a_students_variant_of_it(settings, likeness):
    record = ran(2.0, **{"shortcut": "A", "depth": 56, "epochs": 10, **settings})
    lines = beside_the_book(examine({"ada": [Run("ada", record)]}, {}))[1:]
    assert [(line[3], *line[4:6]) for line in lines] == [
        (like, *who) for like in likeness for who in (("class", "1"), ("book", "3"))
    ]


def test_a_variant_is_left_out_where_someone_ran_the_books_own_recipe():
    own, other = ran(2.0, depth=56, epochs=10), ran(9.0, depth=56, epochs=10, width=6)
    of_class, _ = beside_the_book(examine({"ada": [Run("ada", own), Run("ada", other)]}, {}))[1:]
    assert of_class == ["residual, A", "56", "10", "same", "class", "1", "2.00", "2.00"]


def test_the_page_has_a_line_for_each_network_and_says_what_differs(class_of_200):
    _, text, page = class_of_200
    heading = next(iter(page.cells))
    assert heading == "56 plain layers train worse than 8; 56 residual layers do not"
    networks = [line[:2] for line in page.cells[heading][1:]]
    assert networks == [[kind, depth] for kind in ("plain", "residual, A") for depth in ("8", "32", "44", "56")]
    assert (
        re.search(r"<dt>dataset</dt><dd>.*digits-0 \(", text)
        and "<dt>width</dt><dd>" in text
        and "<dt>epochs</dt>" in text
    )
    assert "<dt>lr</dt>" not in text and "lr 0.1" in text


def test_the_page_loads_nothing_and_runs_nothing(class_of_200):
    _, text, page = class_of_200
    assert escape(HOSTILE) in text and HOSTILE not in text
    structure = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "section",
        "h1",
        "h2",
        "p",
        "div",
        "ul",
        "li",
    }
    known = structure | {"picture", "source", "img", "table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd"}
    assert {tag for tag, _ in page.elements} <= known
    sources = [
        value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "srcset")
    ]
    assert len(sources) == 4 and all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "default-src 'none'" in text


def test_the_page_has_a_dot_for_each_run(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "resnet_course.classroom.class_report._draw_dots", lambda axes, x, runs, colour: drawn.append(len(runs))
    )
    for number in range(3):
        hand_in(tmp_path, f"s{number}", *runs_of_student(number))
    make_class_report(tmp_path, tmp_path / "page.html")
    assert sum(drawn) == 2 * 36, "in the wide picture and in the narrow one"


# What is read


def read(folder: Path) -> tuple[dict[str, int], dict[str, str]]:
    """The number of each student's runs, and what is not used."""
    students, unusable = read_class(folder)
    return {student: len(runs) for student, runs in students.items()}, unusable


def test_records_are_found_in_folders_and_zip_files_however_deep(tmp_path):
    first, second, third, fourth = (ran(seed=seed) for seed in range(4))
    hand_in(tmp_path, "ada/a/b/c", first)
    hand_in_zip(tmp_path / "ada" / "work.zip", **{"x/y/second.json": as_text(second)})
    hand_in_zip(tmp_path / "ada.ZIP", **{"third.JSON": as_text(third)})
    hand_in_zip(tmp_path / "bob.zip", **{"fourth.json": as_text(fourth), "notes.txt": "no record"})
    students, unusable = read_class(tmp_path)
    assert {name: [run.record for run in runs] for name, runs in students.items()} == {
        "ada": [second, first, third],
        "bob": [fourth],
    }
    assert not unusable and all(run.student == name for name, runs in students.items() for run in runs)


def test_nothing_is_unpacked_to_the_disk(tmp_path):
    hand_in_zip(tmp_path / "class" / "bob.zip", **{"../../out.json": as_text(ran()), "/abs.json": as_text(ran(seed=1))})
    assert read(tmp_path / "class") == ({"bob": 2}, {})
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["bob.zip"]


def test_hidden_files_are_passed_over(tmp_path):
    hand_in(tmp_path, "ada", ran())
    for place in (".vscode/settings.json", "__MACOSX/x.json", ".ipynb_checkpoints/x.json", "._x.json"):
        (tmp_path / "ada" / place).parent.mkdir(exist_ok=True)
        (tmp_path / "ada" / place).write_text("{}", encoding="utf-8")
    hand_in_zip(tmp_path / "bob.zip", **{"__MACOSX/._x.json": "\0", "x.json": as_text(ran())})
    assert read(tmp_path) == ({"ada": 1, "bob": 1}, {})


def test_the_same_record_twice_counts_once_and_another_of_the_same_run_is_named(tmp_path):
    record = ran()
    hand_in(tmp_path, "ada", record)
    (tmp_path / "ada" / "runs" / "z.json").write_text(as_text(record), encoding="utf-8")
    assert read(tmp_path) == ({"ada": 1}, {})
    (tmp_path / "ada" / "runs" / "z.json").write_text(as_text(replace(record, seconds=9.0)), encoding="utf-8")
    first = f"ada/runs/{record.recipe.file_name}"
    assert read(tmp_path) == ({"ada": 1}, {"ada/runs/z.json": f"it is another record of the same run as {first}"})


def with_patched_size(size: int, claimed: int) -> bytes:
    """A zip file whose member is larger than it says."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.json", bytes(size))
    return buffer.getvalue().replace(struct.pack("<I", size), struct.pack("<I", claimed))


def of_method(method: int, size: int = 10) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x.json", bytes(size))
    return buffer.getvalue()


def encrypted() -> bytes:
    content = bytearray(of_method(zipfile.ZIP_STORED))
    content[6] |= 1  # the flag in the member's own header, and in the list of members
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


MALICIOUS = {
    "a bomb": (lambda: of_method(zipfile.ZIP_DEFLATED, 16 * MOST_BYTES), "/x.json: it is larger than"),
    "a bomb that denies it": (lambda: with_patched_size(16 * MOST_BYTES, MOST_BYTES // 2), "/x.json: "),
    "a bomb by another method": (lambda: of_method(zipfile.ZIP_LZMA, 16 * MOST_BYTES), "/x.json: it is compressed by"),
    "a large file": (lambda: bytes(MOST_BYTES_OF_ZIP + 1), ": it is larger than"),
    "half an archive": (lambda: of_method(zipfile.ZIP_STORED)[:-30], ": File is not a zip file"),
    "a member changed": (lambda: of_method(zipfile.ZIP_STORED).replace(bytes(10), bytes(9) + b"1"), "/x.json: Bad CRC"),
    "an encrypted archive": (encrypted, "/x.json: it is encrypted"),
}


@pytest.mark.parametrize(("make", "beginning"), MALICIOUS.values(), ids=MALICIOUS)
def test_a_zip_file_that_would_do_harm_is_named_and_takes_little_memory(tmp_path, make, beginning):
    hand_in(tmp_path, "ada", ran())
    (tmp_path / "ada" / "work.zip").write_bytes(make())
    tracemalloc.start()
    students, unusable = read(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    ((place, reason),) = unusable.items()
    assert students == {"ada": 1} and f"{place}: {reason}".startswith(f"ada/work.zip{beginning}")
    assert peak < 8 * MOST_BYTES


def test_a_zip_file_in_a_zip_file_is_named(tmp_path):
    hand_in_zip(tmp_path / "ada.zip", **{"inner.zip": b"", "x.json": as_text(ran())})
    assert read(tmp_path) == ({"ada": 1}, {"ada.zip/inner.zip": "it is a zip file within a zip file"})


def test_of_very_many_files_the_first_are_read_those_nearest_to_the_top_before(tmp_path):
    hand_in(tmp_path, "ada", ran())
    (tmp_path / "ada" / "a" / "b").mkdir(parents=True)
    for number in range(MOST_FILES + 5):
        (tmp_path / "ada" / "a" / "b" / f"{number:04}.json").write_text("{}", encoding="utf-8")
    students, unusable = read(tmp_path)
    assert students == {"ada": 1} and len(unusable) == MOST_FILES
    assert unusable[f"ada/a/b/{MOST_FILES - 1:04}.json"].startswith("no more than 200 files are read of one student")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_links_and_pipes_are_not_followed(tmp_path):
    hand_in(tmp_path, "ada", ran())
    (tmp_path / "ada" / "endless.json").symlink_to("/dev/zero")
    (tmp_path / "ada" / "up").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "ada" / "pipe.json")
    assert read(tmp_path) == (
        {"ada": 1},
        {"ada/endless.json": "it is a link", "ada/pipe.json": "it is not a file that can be read"},
    )


UNUSABLE = {
    "empty": "",
    "nested": "[" * 100_000,
    "a number without end": '{"seconds": ' + "9" * 10_000 + "}",
    "not a number": as_text(ran()).replace('"test_error": 2.0', '"test_error": NaN', 1),
    "no recipe": as_text(ran()).replace('"depth"', '"deepness"'),
}


@pytest.mark.parametrize("text", UNUSABLE.values(), ids=UNUSABLE)
def test_a_broken_file_is_named_with_the_reason(tmp_path, text):
    hand_in(tmp_path, "ada", ran())
    (tmp_path / "ada" / "bad.json").write_text(text, encoding="utf-8")
    students, unusable = read(tmp_path)
    assert students == {"ada": 1} and list(unusable) == ["ada/bad.json"]
    assert unusable["ada/bad.json"] and "ada/bad.json" not in unusable["ada/bad.json"]


def refusal(folder: Path, out: Path) -> str:
    with pytest.raises(ValueError) as caught:
        make_class_report(folder, out)
    assert not out.is_file() and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_a_record_is_refused_in_one_sentence(tmp_path):
    out = tmp_path / "page.html"
    assert refusal(tmp_path / "no", out) == (
        f"FOLDER must hold a folder or a zip file a student, got {tmp_path / 'no'}, which is no folder"
    )
    empty = f"{tmp_path} holds no record of a student (STUDENT/**/*.json or STUDENT.zip)"
    assert refusal(tmp_path, out) == empty
    (tmp_path / "ada").mkdir()
    assert refusal(tmp_path, out) == empty
    (tmp_path / "x.json").write_text(as_text(ran()), encoding="utf-8")
    assert refusal(tmp_path, out) == f"{empty}; x.json is not used: it lies in no student's folder"


@pytest.mark.parametrize("name", ["page.pdf", "page", ".html", "folder.html"])
def test_an_out_that_is_no_page_is_refused_before_anything_is_read(tmp_path, name):
    (tmp_path / "folder.html").mkdir()
    assert refusal(tmp_path / "no", tmp_path / name) == f"out must be a file that ends in .html, got {tmp_path / name}"


# Copies


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
        (COPY, of_recipe(TRAINED_AGAIN, depth=56, shortcut="none"), "the same losses from other settings"),
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


def test_one_training_handed_in_as_several_seeds_is_named():
    copies = find_copies(Run("ada", of_recipe(COPY, seed=seed)) for seed in range(4))
    assert describe_copies(copies) == [
        "ada: 4 records of 1 training, told by the same times "
        "(digits-residual-A-20-seed0, digits-residual-A-20-seed1, digits-residual-A-20-seed2, and 1 more)"
    ]


def test_of_copies_one_counts_and_of_the_books_none():
    book = load_records(results_folder("digits"))
    students = {
        "ada": [Run("ada", COPY), Run("ada", ran(seed=1))],
        "bob": [Run("bob", COPY)],
        "eve": [Run("eve", record) for record in book],
    }
    of_class = examine(students, {})
    assert [(run.student, run.record) for run in of_class.counted] == [("ada", run.record) for run in students["ada"]]
    assert by_network(of_class)[1][4:] == ["2", "1", "1"] and not beside_the_book(of_class)[1:]
    assert of_class.copies[0].startswith("the book, eve: 36 records of 18 trainings, told by the same times (")


def test_a_class_of_copies_alone_still_makes_a_page(tmp_path):
    hand_in(tmp_path, "eve", *load_records(results_folder("digits")))
    printed = make_class_report(tmp_path, tmp_path / "page.html")
    assert "No run but copies of the book's" in printed and "Copies: 1" in printed


# Outliers


def outliers_of(errors: list[float], **settings) -> list[str]:
    runs = [Run(f"s{i}", ran(error, 5.0, seed=i, **settings)) for i, error in enumerate(errors)]
    return [line.partition(":")[0] for line in find_outliers(runs, runs)]


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
    assert outliers_of(errors) == expected


def test_a_run_is_compared_with_its_own_recipe_if_eight_have_it_and_else_with_its_network():
    wide = [Run(f"w{i}", ran(40.0, width=16, seed=i)) for i in range(8)]
    usual = [Run(f"u{i}", ran(1.0, seed=i)) for i in range(20)]
    deep = [Run(f"d{i}", ran(80.0, depth=56, seed=i)) for i in range(5)]
    assert find_outliers(wide + usual + deep, wide + usual + deep) == []
    (line,) = find_outliers(wide[1:] + usual, wide[1:] + usual)[:1]
    assert re.fullmatch(
        r"w1: digits-residual-A-20-seed1: training error 40\.00 %, "
        r"78\.0 deviations from 1\.00 %, the median of 27 runs of its network and depth",
        line,
    )


# The picture and the page in odd classes


TOO_DEEP = 6 * 10**100 + 2


@pytest.mark.parametrize("depths", [[TOO_DEEP], [8, TOO_DEEP], [6 * n + 2 for n in range(1, 60)]], ids=len)
def test_depths_beyond_reason_do_not_spoil_the_page(tmp_path, depths):
    hand_in(tmp_path, "ada", *(ran(depth=depth, shortcut=kind) for depth in depths for kind in ("none", "A")))
    make_class_report(tmp_path, tmp_path / "page.html")
    assert f'<th scope="row">plain</th><td>{depths[-1]}</td>' in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_same_class_makes_the_same_page(tmp_path):
    hand_in(tmp_path / "class", "ada", *runs_of_student(0))
    pages = []
    for name in ("one.html", "two.html"):
        make_class_report(tmp_path / "class", tmp_path / name)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_what_records_and_names_say_is_printed_as_harmless_text(tmp_path):
    hostile = '<img src="https://example.org">\x1b[31m\u202e'
    record = replace(ran(9.0), recipe=replace(ran().recipe, dataset=hostile), environment={"device_name": [hostile]})
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "x.json").write_text(as_text(record), encoding="utf-8")
    (tmp_path / "ada" / "y.json").write_text(as_text(of_recipe(record, seed=1)), encoding="utf-8")
    printed = make_class_report(tmp_path, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<img src=https" not in text and '<img src="https' not in text and "&lt;img" in text
    assert all(character.isprintable() or character in "\n\u00a0" for character in printed + text)
