"""Files that are whole or not there: written at once, and set aside instead of deleted."""

import glob
import itertools
import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file at once or not at all: a reader never sees half of it, whenever the writer is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def remove_unfinished(path: Path) -> None:
    """Remove what writers of ``path`` left behind that were killed while they wrote."""
    for unfinished in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
        unfinished.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Give a file that can't be used a name that says so, and return it; nothing is deleted."""
    first = path.with_name(f"{path.name}.set-aside")
    numbered = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    aside = next(free for free in itertools.chain([first], numbered) if not free.exists())
    os.replace(path, aside)
    return aside


def check_folder(path: Path) -> None:
    """Refuse a folder that a file is in the way of; nothing is made."""
    if not next(there for there in (path, *path.absolute().parents) if there.exists()).is_dir():
        raise ValueError(f"out must be a folder, got {path}, where a file is in the way: name another")


def make_folder(path: Path) -> Path:
    """Make the folder and return it.

    Raises:
        ValueError: a file is in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"out must be a folder, got {path}, where a file is in the way: name another") from None
    return path
