"""What a class handed in: the records of each student, out of folders and zip files.

These are files of others: they are read with limits, nothing is unpacked to the disk, and what can't be used is named.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NoReturn
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from resnet_lib.recipes import Recipe
from resnet_lib.records import Record, parse_record
from resnet_lib.report import plain_text

MOST_BYTES = 2**20  # of a record: that of the paper's longest run has 20 kB
MOST_BYTES_OF_ZIP = 20 * 2**20
MOST_FILES = 200  # that are read of one student


@dataclass(frozen=True)
class Run:
    """A record and who handed it in; None is the book."""

    student: str | None
    record: Record

    @property
    def recipe(self) -> Recipe:
        """The recipe, its seed aside."""
        return replace(self.record.recipe, seed=0)

    @property
    def network(self) -> tuple[str, int]:
        """Shortcut and depth."""
        return self.record.recipe.shortcut, self.record.recipe.depth

    @property
    def owner(self) -> str:
        """Who handed it in, in words."""
        return self.student or "the book"

    def __str__(self) -> str:
        return f"{self.owner}: {plain_text(self.record.recipe.name)}"


def group_by(runs: Iterable[Run], key: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    """The runs by what ``key`` says of them, in the order of their first."""
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return groups


def group_by_network(runs: Iterable[Run]) -> dict[tuple[str, int], list[Run]]:
    """The runs by shortcut and depth, plain networks first."""
    groups = group_by(runs, lambda run: run.network)
    return dict(sorted(groups.items(), key=lambda item: (item[0][0] != "none", item[0])))


def read_class(folder: Path) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """The runs of each student, and of the files that can't be used {the place: why}.

    A student is a folder in ``folder``, or a zip file, or both; zip files may lie in the student's folder, too.
    Nothing is unpacked to the disk. Hidden files are passed over, and so is a record that a student has twice.

    Raises:
        ValueError: no such folder, or no record in it.
    """
    if not folder.is_dir():
        raise ValueError(f"FOLDER must hold a folder or a zip file a student, got {folder}, which is no folder")
    tops: dict[str, list[Path]] = {}
    unusable: dict[str, str] = {}
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if path.is_dir() or path.suffix.lower() == ".zip":
            tops.setdefault(path.name if path.is_dir() else path.stem, []).append(path)
        elif path.suffix.lower() == ".json":
            unusable[plain_text(path.name)] = "it lies in no student's folder"
    students = {name: _read_student(name, folder, paths, unusable) for name, paths in sorted(tops.items())}
    if not any(students.values()):
        why = "".join(f"; {place} is not used: {reason}" for place, reason in list(unusable.items())[:1])
        raise ValueError(f"{folder} holds no record of a student (STUDENT/**/*.json or STUDENT.zip){why}")
    return {plain_text(name): runs for name, runs in students.items()}, unusable


def _read_student(name: str, folder: Path, tops: Sequence[Path], unusable: dict[str, str]) -> list[Run]:
    """The student's runs, one for each recipe; what can't be used is added to ``unusable``."""
    runs: dict[Recipe, tuple[str, Run]] = {}
    files = (file for top in tops for path in _find_files(top) for file in _openers(path, folder))
    for number, (place, open_file) in enumerate(files):
        if number == MOST_FILES:
            unusable[plain_text(place)] = (
                f"no more than {MOST_FILES} files are read of one student, and none from here on"
            )
            break
        try:
            with open_file() as file:
                data = file.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise ValueError(f"it is larger than {MOST_BYTES:,} bytes, and a record has some thousand")
            run = Run(plain_text(name), parse_record(data, place))
            first_place, first = runs.setdefault(run.record.recipe, (place, run))
            if first.record != run.record:
                raise ValueError(f"it is another record of the same run as {first_place}")
        except Exception as error:  # what is damaged, or made to do harm, raises almost anything
            reason = str(getattr(error, "strerror", None) or error).removeprefix(f"{place} is not a record of a run: ")
            unusable[plain_text(place)] = plain_text(reason)
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


Opener = Callable[[], IO[bytes]]


def _openers(path: Path, folder: Path) -> Iterator[tuple[str, Opener]]:
    """Each file that may be a record, (its place, how to open it): the path's own, or those in a zip file."""
    place = path.relative_to(folder).as_posix()
    if path.suffix.lower() != ".zip":
        yield place, partial(_open_file, path)
        return
    try:
        with _open_file(path) as file:
            if path.stat().st_size > MOST_BYTES_OF_ZIP:
                raise ValueError(f"it is larger than {MOST_BYTES_OF_ZIP:,} bytes")
            with ZipFile(file) as archive:
                for member in archive.infolist():
                    inner = PurePosixPath(member.filename)
                    if inner.suffix.lower() in (".json", ".zip") and not any(map(_is_hidden, inner.parts)):
                        yield f"{place}/{inner}", partial(_open_member, archive, member)
    except Exception as error:
        yield place, partial(_refuse, error)


def _open_file(path: Path) -> IO[bytes]:
    if path.is_symlink() or not path.is_file():  # a pipe would be waited for without end
        raise ValueError("it is a link" if path.is_symlink() else "it is not a file that can be read")
    return path.open("rb")


def _open_member(archive: ZipFile, member: ZipInfo) -> IO[bytes]:
    if member.filename.lower().endswith(".zip"):
        raise ValueError("it is a zip file within a zip file")
    if member.flag_bits & 1:
        raise ValueError("it is encrypted")
    # Of these two alone no more is decompressed than is read, whatever size the member claims.
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError(f"it is compressed by method {member.compress_type}, which is not read")
    return archive.open(member)


def _refuse(error: Exception) -> NoReturn:
    raise error
