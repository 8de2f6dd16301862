"""A file is whole or not there, and what can't be used is set aside, never overwritten, never deleted."""

import errno
import os
import warnings
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from resnet_lib.files import locked, make_folder, refuse, remove_unfinished, set_aside, write_whole

FULL = OSError(errno.ENOSPC, "No space left on device")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(params=[False, True], ids=["new", "over an old one"])
def path(request, tmp_path) -> Path:
    """Where to write, with and without a file in its place."""
    if request.param:
        (tmp_path / "file").write_bytes(b"old")
    return tmp_path / "file"


def test_what_was_written_is_there_and_nothing_else_whatever_folders_were_missing(path):
    write_whole(path, b"new")
    assert contents(path.parent) == {"file": b"new"}
    write_whole(path.parent / "below" / "it" / "file", b"")
    assert contents(path.parent / "below" / "it") == {"file": b""}


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_a_failure_in_the_midst_leaves_what_was_there(path, monkeypatch, step, error):
    before = contents(path.parent)
    with pytest.raises(TypeError):
        write_whole(path, "a text, which a file of bytes refuses")
    assert contents(path.parent) == before

    def fail(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with pytest.raises(type(error)):
            write_whole(path, b"much too long")
    assert contents(path.parent) == before


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


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    names = ["run[1].json", "run[1].json.17.tmp", "run[1].json.18.tmp", "run1.json.17.tmp", "run[1].json.set-aside"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    for _ in range(2):  # nothing to do is no error
        remove_unfinished(tmp_path / "run[1].json")
        assert set(contents(tmp_path)) == {"run[1].json", "run1.json.17.tmp", "run[1].json.set-aside"}
    remove_unfinished(tmp_path / "nowhere" / "file")


def test_each_file_set_aside_gets_a_free_name_and_keeps_its_content(tmp_path):
    path = tmp_path / "run.json"
    names = []
    for number in range(4):
        path.write_bytes(b"%d" % number)
        names.append(set_aside(path).name)
        assert (tmp_path / names[-1]).read_bytes() == b"%d" % number and not path.exists()
    assert names == ["run.json.set-aside", *[f"run.json.set-aside-{number}" for number in (2, 3, 4)]]
    (tmp_path / names[1]).unlink()
    path.write_bytes(b"new")
    assert set_aside(path).name == names[1] and len(contents(tmp_path)) == 4


def test_a_file_is_set_aside_with_one_warning_that_names_it_unless_another_process_was_first(tmp_path):
    path = tmp_path / "letter"
    with warnings.catch_warnings(action="error"):
        refuse(path, f"{path} is no letter", "the rest goes on")
    path.write_bytes(b"Dear")
    with pytest.warns(UserWarning) as warned:
        refuse(path, f"{path} is no letter", "the rest goes on")
    (sentence,) = (str(warning.message) for warning in warned)
    assert sentence == f"{path} is no letter; it is now letter.set-aside, and the rest goes on"
    assert contents(tmp_path) == {"letter.set-aside": b"Dear"}


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")], ids=repr
)
def test_a_file_system_without_locks_is_named_with_what_would_do(tmp_path, monkeypatch, error):
    def fail(lock):
        raise error

    with locked(tmp_path / "lock"), pytest.raises(Timeout), locked(tmp_path / "lock", timeout=0):
        pass
    monkeypatch.setattr(FileLock, "_acquire", fail)
    with (
        pytest.raises(OSError, match=r"can't be locked .*: name a folder on another file system"),
        locked(tmp_path / "lock"),
    ):
        pass


def test_a_folder_is_made_with_all_above_it_and_one_that_is_there_is_kept(tmp_path, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    for folder in (str(tmp_path / "new" / "folder"), "~/new/folder"):
        assert make_folder(folder) == tmp_path / "new" / "folder"
        (tmp_path / "new" / "folder" / "file").write_bytes(b"kept")
    assert contents(tmp_path / "new" / "folder") == {"file": b"kept"}


@pytest.mark.parametrize("below", ["", "runs", "runs/today"])
def test_a_file_in_the_way_of_a_folder_is_named_and_kept(tmp_path, below):
    (tmp_path / "notes").write_bytes(b"precious")
    with pytest.raises(ValueError, match="out must be a folder") as caught:
        make_folder(tmp_path / "notes" / below)
    assert str(tmp_path / "notes" / below) in str(caught.value) and contents(tmp_path) == {"notes": b"precious"}
