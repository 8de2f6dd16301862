"""What a class handed in: the records of each student, out of folders and zip files.

These are files of others: they are read with limits, nothing is unpacked to the disk, and what can't be used is named.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from resnet_lib.recipes import Recipe, plain_text
from resnet_lib.records import Record, parse_record

MOST_BYTES = 2**20  # of a record: that of the paper's longest run has 20 kB
MOST_BYTES_OF_ZIP = 20 * 2**20
MOST_FILES = 200  # that are read of one student


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


def read_class(folder: Path) -> tuple[dict[str, list[Run]], list[str]]:
    """The runs of each student, and a line for each file that can't be used: its place, and why.

    A student is a folder in ``folder``, or a zip file, or both; zip files may lie in the student's folder, too.
    Nothing is unpacked to the disk. Hidden files are passed over, and so is a record that a student has twice.

    Raises:
        ValueError: no such folder, or no record in it.
    """
    if not folder.is_dir():
        raise ValueError(f"FOLDER must hold a folder or a zip file a student, got {folder}, which is no folder")
    tops: dict[str, list[Path]] = {}
    unusable: list[str] = []
    for path in sorted(path for path in folder.iterdir() if not _is_hidden(path.name)):
        if path.is_dir() or path.suffix.lower() == ".zip":
            tops.setdefault(path.name if path.is_dir() else path.stem, []).append(path)
        elif path.suffix.lower() == ".json":
            unusable.append(f"{plain_text(path.name)}: it lies in no student's folder")
    students: dict[str, list[Run]] = {}
    for name, paths in sorted(tops.items()):
        printed = plain_text(name)
        number = 1
        while printed in students:  # of names that print alike, the later ones are numbered
            number += 1
            printed = f"{plain_text(name)} ({number})"
        files = (file for path in paths for found in _find_files(path) for file in _read_files(found, folder))
        students[printed] = _runs_of(printed, files, unusable)
    if not any(students.values()):
        empty = f"{folder} holds no record of a student (STUDENT/**/*.json or STUDENT.zip)"
        raise ValueError("; ".join([empty, *unusable[:1]]))
    return students, unusable


def _runs_of(student: str, files: Iterator[tuple[str, bytes | Exception]], unusable: list[str]) -> list[Run]:
    """The student's runs, one for each recipe; what can't be used is added to ``unusable``."""
    runs: dict[Recipe, tuple[str, Run]] = {}
    for number, (place, content) in enumerate(files):
        try:
            if number >= MOST_FILES:
                raise ValueError(f"no more than {MOST_FILES} files are read of one student, and none from here on")
            if isinstance(content, Exception):
                raise content
            if len(content) > MOST_BYTES:
                raise ValueError(f"it is larger than {MOST_BYTES:,} bytes, and a record has some thousand")
            run = Run(student, parse_record(content, place))
            first_place, first = runs.setdefault(run.record.recipe, (place, run))
            if first.record != run.record:
                raise ValueError(f"it is another record of the same run as {first_place}")
        except Exception as error:  # what is damaged, or made to do harm, raises almost anything
            reason = str(getattr(error, "strerror", None) or error).removeprefix(f"{place} is not a record of a run: ")
            unusable.append(f"{plain_text(place)}: {plain_text(reason)}")
        if number >= MOST_FILES:
            break
    return [run for _, run in runs.values()]


def _is_hidden(name: str) -> bool:
    return name == "__MACOSX" or (name.startswith(".") and name != "..")


def _find_files(top: Path) -> Iterator[Path]:
    """JSON and zip files, those nearest to the top first; links to folders are not followed."""
    waiting = [top]
    for path in waiting:  # which grows on the way
        if path.is_dir() and (path is top or not path.is_symlink()):
            try:
                waiting += sorted(inner for inner in path.iterdir() if not _is_hidden(inner.name))
            except OSError:
                yield path  # it can't be opened later, either, which is when that is said
        elif path.suffix.lower() in (".json", ".zip"):
            yield path


def _read_files(path: Path, folder: Path) -> Iterator[tuple[str, bytes | Exception]]:
    """The place of each file that may be a record, and its first bytes or why it can't be read: of a zip file, many."""
    place = path.relative_to(folder).as_posix()
    try:
        if path.is_symlink() or not path.is_file():  # a pipe would be waited for without end
            raise ValueError("it is a link" if path.is_symlink() else "it is not a file that can be read")
        if path.suffix.lower() != ".zip":
            with path.open("rb") as file:
                yield place, _read(file)
            return
        if path.stat().st_size > MOST_BYTES_OF_ZIP:
            raise ValueError(f"it is larger than {MOST_BYTES_OF_ZIP:,} bytes")
        with ZipFile(path) as archive:
            for member in archive.infolist():
                inner = PurePosixPath(member.filename)
                if inner.suffix.lower() in (".json", ".zip") and not any(map(_is_hidden, inner.parts)):
                    yield f"{place}/{inner}", _read_member(archive, member)
    except Exception as error:
        yield place, error


def _read(file: IO[bytes]) -> bytes:
    return file.read(MOST_BYTES + 1)


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
            return _read(file)
    except Exception as error:
        return error
