"""What a class handed in: each student's number and records, out of folders and zip files as a platform exports them.

These are files of others: they are read with limits, nothing is unpacked to the disk, and what can't be used is named.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from resnet_lib.recipes import Recipe, plain_text
from resnet_lib.records import Record, parse_record

MOST_BYTES = 2**20  # of a record: that of the paper's longest run has 20 kB
MOST_BYTES_OF_ZIP = 20 * 2**20
MOST_FILES = 200  # that are read of one student
OTHER_ARCHIVES = (".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz")
READ = (".ipynb", ".json", ".zip")

GRADESCOPE = "submission_metadata.yml"  # in its export, beside a folder for each submission
# How Canvas and Moodle name what a student handed in; then comes the student's own name for it.
CANVAS = re.compile(r"(?P<name>[^_]+)(?P<late>_LATE)?_(?P<id>\d+)_\d+_.+", re.IGNORECASE)
MOODLE = re.compile(r"(?P<name>.+)_(?P<id>\d+)_assignsubmission_file(_.*)?")
RESULTS = ".results.json"  # NAME.results.json, which grade.py writes beside NAME
# The whole number, which may be 1_234, and not what is commented out or the beginning of 12.5 or 10**3
NUMBER = re.compile(rb"(?<!#)(?<!# )STUDENT_NUMBER\s*=\s*(\d(?:_?\d){0,18})(?![\w.*])")


@dataclass(frozen=True)
class Run:
    """A record and who handed it in."""

    student: str
    record: Record

    @property
    def recipe(self) -> Recipe:
        """The recipe, its seed aside."""
        return replace(self.record.recipe, seed=0)

    @property
    def network(self) -> tuple[str, int]:
        """Shortcut and depth."""
        return self.record.recipe.shortcut, self.record.recipe.depth

    def __str__(self) -> str:
        return f"{self.student}: {plain_text(self.record.recipe.name)}"


def group_by(runs: Iterable[Run], key: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    """The runs by what ``key`` says of them, in the order of their first."""
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return groups


@dataclass
class Student:
    """What one student, or one group, handed in."""

    name: str  # as it is printed, and no other's
    paths: list[Path]
    runs: list[Run] = field(default_factory=list)
    number: int | None = None  # that the notebook says, or else the name of the zip file
    points: float | None = None
    handed_in: str = ""  # the time, or that it was late, where the platform says so
    remarks: list[str] = field(default_factory=list)


def read_class(folder: Path) -> tuple[list[Student], list[str]]:
    """What each student handed in, and a line for each file that can't be used: its place, and why.

    ``folder`` is an export of Gradescope, Canvas or Moodle, what grade.py wrote, or holds a folder, a zip file or a
    notebook for each student; zip files may lie in a student's folder, too. Nothing is unpacked to the disk. Hidden
    files and links are passed over, and so is a record that a student has twice.

    Raises:
        ValueError: no such folder, or no record in it.
    """
    if not folder.is_dir():
        raise ValueError(f"FOLDER must hold a folder or a zip file for each student, got {folder}, which is no folder")
    unusable: list[str] = []
    students = _find_students(folder, unusable)
    for student in students:
        files = (file for path in student.paths for found in _find_files(path) for file in _read_files(found, folder))
        student.runs = _runs_of(student, files, unusable)
    if not any(student.runs for student in students):
        empty = f"{folder} holds no record of a student (STUDENT/**/*.json or STUDENT.zip)"
        raise ValueError("; ".join([empty, *unusable[:1]]))
    return students, unusable


def _find_students(folder: Path, unusable: list[str]) -> list[Student]:
    """The students by what lies in the folder itself; of names that print alike, the later ones are numbered."""
    tops: dict[str, list[Path]] = {}
    told = _read_gradescope(folder / GRADESCOPE)
    for path in sorted(path for path in folder.iterdir() if not _is_hidden(path.name) and path.name != GRADESCOPE):
        if path.is_symlink():
            unusable.append(f"{plain_text(path.name)}: it is a link, which is not followed")
        elif path.is_dir() or path.suffix.lower() in (".zip", ".ipynb", *OTHER_ARCHIVES):
            tops.setdefault(path.name if path.is_dir() else path.stem, []).append(path)
        elif path.suffix.lower() == ".json" and not path.name.endswith(RESULTS):
            unusable.append(f"{plain_text(path.name)}: it lies in no student's folder")
    people: dict[tuple[str, str], list[Path]] = {}  # Canvas names a student in each file; two may have one name
    for name, paths in sorted(tops.items()):
        of_platform = MOODLE.fullmatch(name) or CANVAS.fullmatch(name)
        key = (name, "") if of_platform is None else (of_platform["name"], of_platform["id"])
        people.setdefault(key, []).extend(paths)
    students: dict[str, Student] = {}
    for (name, _), paths in sorted(people.items()):
        facts = told.get(name, {})
        plain = printed = plain_text(facts.get("name", name))
        number = 1
        while printed in students:
            number += 1
            printed = f"{plain} ({number})"
        student = students[printed] = Student(printed, paths, points=facts.get("points"))
        is_late = any((of_canvas := CANVAS.fullmatch(path.name)) and of_canvas["late"] for path in paths)
        student.handed_in = "late" if is_late else facts.get("handed_in", "")
        student.remarks += facts.get("remarks", [])
        of_student = [folder / f"{path.name if path.is_dir() else path.stem}{RESULTS}" for path in paths]
        for results in filter(Path.is_file, of_student):
            try:
                if tests := json.loads(results.read_bytes())["tests"]:
                    student.points = max(student.points or 0, sum(test.get("score", 0) for test in tests))
                else:
                    student.remarks.append("could not be graded")
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
                unusable.append(f"{plain_text(results.name)}: it is not what grade.py writes: grade this one again")
        if named := re.search(r"submission-(\d{1,12})\b", " ".join(path.name for path in paths)):
            student.number = int(named[1])
    return list(students.values())


def _read_gradescope(path: Path) -> dict[str, dict[str, Any]]:
    """What Gradescope says of the submission in each folder; nothing where the folder is no export of it."""
    if not path.is_file():
        return {}
    import yaml  # here, since only this needs it

    told = {}
    try:
        for folder, facts in yaml.safe_load(path.read_bytes()).items():
            names = [f"{who.get(':name')} {who.get(':sid') or ''}".strip() for who in facts.get(":submitters") or []]
            before = len(facts.get(":history") or [])
            remarks = [f"{before + 1} submissions, the last counts"] if before else []
            points = None if facts.get(":score") is None else float(facts[":score"])
            said = {"points": points, "handed_in": str(facts.get(":created_at") or "")[:16]}
            told[folder] = {"name": " and ".join(names) or folder, "remarks": remarks, **said}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not what Gradescope writes: {' '.join(str(error).split())}") from None
    return told


def _runs_of(student: Student, files: Iterator[tuple[str, bytes | Exception]], unusable: list[str]) -> list[Run]:
    """The student's runs, one for each recipe; what can't be used is added to ``unusable``."""
    runs: dict[Recipe, tuple[str, Run]] = {}
    for count, (place, content) in enumerate(files):
        try:
            if count >= MOST_FILES:
                raise ValueError(f"no more than {MOST_FILES} files are read of one student, and none from here on")
            if isinstance(content, Exception):
                raise content
            if place.lower().endswith(".ipynb"):
                if said := NUMBER.search(content):
                    student.number = int(said[1])
                continue
            if len(content) > MOST_BYTES:
                raise ValueError(f"it is larger than {MOST_BYTES:,} bytes, and a record has some thousand")
            run = Run(student.name, parse_record(content, place))
            first_place, first = runs.setdefault(run.record.recipe, (place, run))
            if first.record != run.record:
                raise ValueError(f"it is another record of the same run as {first_place}")
        except Exception as error:  # what is damaged, or made to do harm, raises almost anything
            reason = str(getattr(error, "strerror", None) or error).removeprefix(f"{place} is not a record of a run: ")
            if "recursion" in reason:
                reason = "its brackets are nested too deep for a record"
            unusable.append(f"{plain_text(place)}: {plain_text(reason)}")
        if count >= MOST_FILES:
            break
    return [run for _, run in runs.values()]


def _is_hidden(name: str) -> bool:
    return name == "__MACOSX" or (name.startswith(".") and name != "..")


def _find_files(top: Path) -> Iterator[Path]:
    """Notebooks, JSON files and archives, those nearest to the top first; links to folders are not followed."""
    waiting = [top]
    for path in waiting:  # which grows on the way
        if path.is_dir() and (path is top or not path.is_symlink()):
            try:
                waiting += sorted(inner for inner in path.iterdir() if not _is_hidden(inner.name))
            except OSError:
                yield path  # it can't be opened later, either, which is when that is said
        elif path.suffix.lower() in (*READ, *OTHER_ARCHIVES):
            yield path


def _read_files(path: Path, folder: Path) -> Iterator[tuple[str, bytes | Exception]]:
    """The place of each file that may be a record, and its first bytes or why it can't be read: of a zip file, many."""
    place = path.relative_to(folder).as_posix()
    try:
        if path.is_symlink() or not path.is_file():  # a pipe would be waited for without end
            raise ValueError("it is a link" if path.is_symlink() else "it is not a file that can be read")
        if path.suffix.lower() in OTHER_ARCHIVES:
            raise ValueError("it is an archive that is not read: unpack it, or ask for a zip file")
        if path.suffix.lower() != ".zip":
            with path.open("rb") as file:
                yield place, file.read(MOST_BYTES + 1)
            return
        if path.stat().st_size > MOST_BYTES_OF_ZIP:
            raise ValueError(f"it is larger than {MOST_BYTES_OF_ZIP:,} bytes")
        with ZipFile(path) as archive:
            for member in archive.infolist():
                inner = PurePosixPath(member.filename)
                if inner.suffix.lower() in READ and not any(map(_is_hidden, inner.parts)):
                    yield f"{place}/{inner}", _read_member(archive, member)
    except Exception as error:
        yield place, error


def _read_member(archive: ZipFile, member: ZipInfo) -> bytes | Exception:
    if member.filename.lower().endswith(".zip"):
        return ValueError("it is a zip file within a zip file")
    if member.flag_bits & 1:
        return ValueError("it is encrypted")
    # Of these two alone no more is decompressed than is read, whatever size the member claims.
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return ValueError(f"it is compressed by method {member.compress_type}, which is not read")
    try:
        with archive.open(member) as file:
            return file.read(MOST_BYTES + 1)
    except Exception as error:
        return error
