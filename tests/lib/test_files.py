"""A file is whole or not there, and what can't be used is set aside, never overwritten, never deleted."""

import errno
import os
from pathlib import Path

import pytest

from resnet_lib.files import make_folder, remove_unfinished, set_aside, write_whole


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(params=[False, True], ids=["new", "over an old one"])
def path(request, tmp_path) -> Path:
    """Where to write, with and without a file in its place."""
    if request.param:
        (tmp_path / "file").write_bytes(b"old")
    return tmp_path / "file"


# Writing


@pytest.mark.parametrize("content", [b"", b"new", bytes(range(256)) * 1000], ids=["empty", "short", "long"])
def test_what_was_written_is_there_and_nothing_else(path, content):
    write_whole(path, content)
    assert contents(path.parent) == {"file": content}


def test_the_folders_on_the_way_are_made(tmp_path):
    write_whole(tmp_path / "new" / "folder" / "file", b"new")
    assert contents(tmp_path / "new" / "folder") == {"file": b"new"}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("step", ["os.replace", "os.fsync"])
def test_a_failure_in_the_midst_leaves_what_was_there(path, monkeypatch, step, error):
    before = contents(path.parent)

    def fail(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with pytest.raises(type(error)):
            write_whole(path, b"new")
    assert contents(path.parent) == before


def test_a_disk_that_fills_up_in_the_middle_leaves_what_was_there(path, monkeypatch):
    before, whole = contents(path.parent), Path.open

    def open_on_a_full_disk(path, mode="r", **kwargs):
        file = whole(path, mode, buffering=0, **kwargs)
        return FullDisk(file)

    monkeypatch.setattr(Path, "open", open_on_a_full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"much too long")
    monkeypatch.undo()
    assert contents(path.parent) == before


class FullDisk:
    """A file that takes the first half of what is written to it."""

    def __init__(self, file) -> None:
        self.file = file

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *exception) -> None:
        self.file.close()

    def write(self, content: bytes) -> None:
        self.file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_the_content_is_on_the_disk_and_whole_before_it_takes_its_place(path, monkeypatch):
    order, sync, move = [], os.fsync, os.replace

    def look_then_sync(descriptor):
        order.append(("synced", os.fstat(descriptor).st_size))
        sync(descriptor)

    def look_then_move(source, target):
        order.append((Path(source).read_bytes(), Path(source).parent == path.parent, Path(target) == path))
        move(source, target)

    monkeypatch.setattr(os, "fsync", look_then_sync)
    monkeypatch.setattr(os, "replace", look_then_move)
    write_whole(path, b"new")
    assert order == [("synced", 3), (b"new", True, True)]


# What killed writers leave behind


def write_and_be_killed(path: Path, pid: int, monkeypatch) -> None:
    """Leave behind what process ``pid`` leaves that is killed while it writes: it moves and removes nothing more."""

    def die(*args):
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(os, "getpid", lambda: pid)
        patch.setattr(os, "replace", die)
        patch.setattr(Path, "unlink", lambda *args, **kwargs: None)
        write_whole(path, b"half")


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path, monkeypatch):
    file, other = tmp_path / "run[1].json", tmp_path / "run1.json"
    for pid in (17, 18):
        write_and_be_killed(file, pid, monkeypatch)
    write_and_be_killed(other, 17, monkeypatch)
    file.write_bytes(b"whole")
    assert len(contents(tmp_path)) == 4
    remove_unfinished(file)
    kept = contents(tmp_path)
    assert kept.pop("run[1].json") == b"whole"
    assert list(kept.values()) == [b"half"] and next(iter(kept)).startswith("run1.json.")
    remove_unfinished(file)  # nothing to do is no error


def test_there_is_nothing_to_remove_in_a_folder_that_is_not_there(tmp_path):
    remove_unfinished(tmp_path / "nowhere" / "file")
    assert not list(tmp_path.iterdir())


# Setting aside


def test_each_file_set_aside_gets_a_name_of_its_own_and_keeps_its_content(tmp_path):
    path = tmp_path / "run.json"
    names = []
    for number in range(5):
        path.write_bytes(b"%d" % number)
        aside = set_aside(path)
        assert not path.exists() and aside.read_bytes() == b"%d" % number
        names.append(aside.name)
    assert names == ["run.json.set-aside", *[f"run.json.set-aside-{number}" for number in (2, 3, 4, 5)]]
    assert sorted(contents(tmp_path).values()) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_name_that_became_free_is_taken_again(tmp_path):
    path = tmp_path / "run.json"
    for _ in range(3):
        path.write_bytes(b"broken")
        set_aside(path)
    (tmp_path / "run.json.set-aside-2").unlink()
    path.write_bytes(b"new")
    assert set_aside(path).name == "run.json.set-aside-2"


# Folders


def test_a_folder_is_made_with_all_above_it_and_one_that_is_there_is_kept(tmp_path):
    folder = tmp_path / "new" / "folder"
    assert make_folder(folder) == folder and folder.is_dir()
    (folder / "file").write_bytes(b"kept")
    assert make_folder(folder) == folder and contents(folder) == {"file": b"kept"}


@pytest.mark.parametrize("below", ["", "runs", "runs/today"])
def test_a_file_in_the_way_of_a_folder_is_named_and_kept(tmp_path, below):
    (tmp_path / "notes").write_bytes(b"precious")
    out = tmp_path / "notes" / below
    with pytest.raises(ValueError) as caught:
        make_folder(out)
    assert str(caught.value) == f"out must be a folder, got {out}, where a file is in the way: name another"
    assert contents(tmp_path) == {"notes": b"precious"}
