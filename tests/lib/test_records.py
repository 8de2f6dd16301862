"""A record is whole or not there, says all of its run and nothing of its owner, and is never lost."""

import errno
import getpass
import json
import math
import os
import platform
import shutil
import socket
import subprocess
import warnings
from dataclasses import asdict, fields, replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import resnet_lib
from resnet_lib import environment, records
from resnet_lib.environment import describe_environment
from resnet_lib.recipes import Recipe
from resnet_lib.records import (
    FORMAT,
    Record,
    find_record,
    finite_or_none,
    load_record,
    load_records,
    save_record,
)

CPU = torch.device("cpu")
RECIPE = Recipe(depth=8, epochs=2)
RECORD = Record(
    recipe=RECIPE,
    train_error=1 / 3,
    test_error=100.0,
    best_test_error=88.0,
    held_out_error=None,
    train_loss=0.1,
    curves={"train_loss": [2.5, None], "train_error": [90.0, 0.1 + 0.2], "test_error": [88.0, 100.0]},
    seconds=1.25,
    images_per_second=1437 / 0.7,
    environment={"device": "cpu", "cores": 2},
)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def written(folder: Path, **changes) -> Path:
    """A record in the place of RECIPE's, with top-level entries changed, or left out where the change is `...`."""
    path = save_record(RECORD, folder)
    data = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not ...}), encoding="utf-8")
    return path


# Round trip


@pytest.mark.parametrize("held_out_error", [None, 0.0, 12.5])
@pytest.mark.parametrize("train_loss", [0.1, None, 1e-300, 5])
def test_a_record_comes_back_as_it_was_saved(tmp_path, train_loss, held_out_error):
    record = replace(RECORD, train_loss=train_loss, held_out_error=held_out_error)
    path = save_record(record, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / RECIPE.file_name
    assert load_record(path) == record == find_record(RECIPE, path.parent)
    assert load_records(path.parent) == [record]


def test_a_record_is_plain_json_that_says_its_format_and_its_whole_recipe(tmp_path):
    text = save_record(RECORD, tmp_path).read_text(encoding="utf-8")
    data = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert data == {"format": FORMAT, **asdict(RECORD)}
    assert text.endswith("}\n")


def test_saving_again_replaces_the_record(tmp_path):
    save_record(RECORD, tmp_path)
    save_record(replace(RECORD, seconds=9.0), tmp_path)
    (record,) = load_records(tmp_path)
    assert record.seconds == 9.0


def test_load_records_reads_all_records_by_name_and_nothing_else(tmp_path):
    for record in [replace(RECORD, recipe=replace(RECIPE, seed=seed)) for seed in (2, 0, 1)]:
        save_record(record, tmp_path)
    (tmp_path / "notes.txt").write_text("not a record", encoding="utf-8")
    (tmp_path / "old.set-aside").write_text("{", encoding="utf-8")
    assert [record.recipe.seed for record in load_records(tmp_path)] == [0, 1, 2]


def test_a_folder_without_a_record_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="holds no record of a run") as caught:
        load_records(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert find_record(RECIPE, tmp_path) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_becomes_none(value):
    assert finite_or_none(value) is None
    assert finite_or_none(0.0) == 0.0 and finite_or_none(-3.5) == -3.5


# All or nothing


@pytest.mark.parametrize("before", [False, True], ids=["no record before", "a record before"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("step", ["os.replace", "os.fsync", "json.dumps"])
def test_a_failure_while_saving_leaves_what_was_there_and_no_half_file(tmp_path, monkeypatch, step, error, before):
    if before:
        save_record(replace(RECORD, seconds=7.0), tmp_path)
    there = contents(tmp_path)

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with pytest.raises(type(error)):
            save_record(RECORD, tmp_path)
    assert contents(tmp_path) == there
    save_record(RECORD, tmp_path)
    assert load_records(tmp_path) == [RECORD]


def test_a_disk_that_fills_up_in_the_middle_leaves_no_half_file(tmp_path, monkeypatch):
    save_record(replace(RECORD, seconds=7.0), tmp_path)
    there = contents(tmp_path)
    whole = Path.open

    def open_on_a_full_disk(path, mode="r", **kwargs):
        file = whole(path, mode, **kwargs)
        write = file.write

        def write_half(text):
            write(text[: len(text) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        file.write = write_half
        return file

    monkeypatch.setattr(Path, "open", open_on_a_full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_record(RECORD, tmp_path)
    assert contents(tmp_path) == there


def test_the_record_is_whole_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    seen = []
    move = os.replace

    def look_then_move(source, target):
        seen.append((Path(source).parent == Path(target).parent, json.loads(Path(source).read_text(encoding="utf-8"))))
        assert not Path(target).exists() and Path(source).suffix != ".json"
        move(source, target)

    monkeypatch.setattr(os, "replace", look_then_move)
    save_record(RECORD, tmp_path)
    assert seen == [(True, {"format": FORMAT, **asdict(RECORD)})]


def test_a_record_with_nan_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        save_record(replace(RECORD, train_error=math.nan), tmp_path)
    assert contents(tmp_path) == {}


# What is not a record is named and set aside


NOT_RECORDS = {
    "empty": lambda folder: written(folder).write_bytes(b""),
    "cut off": lambda folder: written(folder).write_bytes(b'{"format": "resnet_lib record 2", "recipe": {"dep'),
    "not text": lambda folder: written(folder).write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe"),
    "a list": lambda folder: written(folder).write_text("[1, 2]", encoding="utf-8"),
    "a number": lambda folder: written(folder).write_text("3", encoding="utf-8"),
    "no format": lambda folder: written(folder, format=...),
    "the format of the release before": lambda folder: written(folder, format="resnet_lib record 1"),
    "a checkpoint's format": lambda folder: written(folder, format="resnet_lib checkpoint 1"),
    **{
        f"without {field.name}": lambda folder, name=field.name: written(folder, **{name: ...})
        for field in fields(Record)
    },
    "an unknown entry": lambda folder: written(folder, colour="red"),
    "nested without end": lambda folder: written(folder).write_bytes(b"[" * 100_000),
    "a recipe that is a name": lambda folder: written(folder, recipe=RECIPE.name),
    "a recipe with a wrong depth": lambda folder: written(folder, recipe={**asdict(RECIPE), "depth": 9}),
    "a recipe with an unknown entry": lambda folder: written(folder, recipe={**asdict(RECIPE), "colour": "red"}),
}
# These have every entry, but a value that no run can have had: a table made of them would be wrong, or fail.
IMPOSSIBLE = {
    "an error that is null": {"train_error": None},
    "an error that is text": {"test_error": "3.5"},
    "an error below 0": {"train_error": -1.0},
    "an error above 100": {"test_error": 100.5},
    "an error that is NaN": {"train_error": math.nan},
    "a best error that is null": {"best_test_error": None},
    "a best error above 100": {"best_test_error": 101},
    "a held-out error that is text": {"held_out_error": "3.5"},
    "a held-out error below 0": {"held_out_error": -0.5},
    "a loss that is text": {"train_loss": "low"},
    "curves that are a list": {"curves": [1.0]},
    "no curve of the training error": {"curves": {"test_error": [88.0, 100.0]}},
    "no curve of the test error": {"curves": {"train_error": [88.0, 100.0]}},
    "a curve that is too short": {"curves": {**RECORD.curves, "test_error": [88.0]}},
    "a curve that is too long": {"curves": {**RECORD.curves, "test_error": [88.0, 100.0, 100.0]}},
    "a curve that is text": {"curves": {**RECORD.curves, "train_error": "up"}},
    "a curve with null": {"curves": {**RECORD.curves, "train_error": [90.0, None]}},
    "a curve above 100": {"curves": {**RECORD.curves, "train_error": [90.0, 101.0]}},
    "a time that is text": {"seconds": "1:25"},
    "a speed that is null": {"images_per_second": None},
    "an environment that is text": {"environment": "cpu"},
}


def check_set_aside(folder: Path, content: bytes) -> None:
    """find_record finds nothing in the place of RECIPE's record, says so, and moves its content, unchanged."""
    path = folder / RECIPE.file_name
    with pytest.raises(ValueError) as refusal:
        load_record(path)
    assert str(path) in str(refusal.value) and "is not a record of a run: " in str(refusal.value)
    with pytest.warns(UserWarning, match="the run is done again") as warned:
        assert find_record(RECIPE, folder) is None
    assert len(warned) == 1 and str(path) in str(warned[0].message)
    ((name, kept),) = contents(folder).items()
    assert kept == content and not name.endswith(".json") and name in str(warned[0].message)
    assert find_record(RECIPE, folder) is None, "and there is no second warning"


@pytest.mark.parametrize("write", NOT_RECORDS.values(), ids=NOT_RECORDS)
def test_what_is_not_a_record_is_named_and_set_aside(tmp_path, write):
    write(tmp_path)
    check_set_aside(tmp_path, (tmp_path / RECIPE.file_name).read_bytes())


@pytest.mark.parametrize("changes", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_record_with_an_impossible_value_is_named_and_set_aside(tmp_path, changes):
    check_set_aside(tmp_path, written(tmp_path, **changes).read_bytes())


@pytest.mark.parametrize("changes", [{"seed": 5}, {"lr": 0.2}, {"depth": 56, "shortcut": "none"}], ids=str)
def test_the_record_of_another_recipe_is_named_and_set_aside(tmp_path, changes):
    path = written(tmp_path, recipe={**asdict(RECIPE), **changes})
    content = path.read_bytes()
    with pytest.warns(UserWarning, match="is the record of another recipe") as warned:
        assert find_record(RECIPE, tmp_path) is None
    assert str(path) in str(warned[0].message) and replace(RECIPE, **changes).name in str(warned[0].message)
    assert list(contents(tmp_path).values()) == [content] and not path.exists()


def test_nothing_set_aside_is_ever_overwritten(tmp_path):
    path = tmp_path / RECIPE.file_name
    broken = [b"first", b"second", b"third"]
    for content in broken:
        path.write_bytes(content)
        with pytest.warns(UserWarning, match="the run is done again"):
            assert find_record(RECIPE, tmp_path) is None
    assert sorted(contents(tmp_path).values()) == sorted(broken)


def test_a_damaged_record_that_another_process_sets_aside_first_is_no_error(tmp_path, monkeypatch):
    path = tmp_path / RECIPE.file_name
    path.write_bytes(b"damaged")
    load = records.load_record

    def load_and_lose(path):
        try:
            return load(path)
        finally:
            path.rename(path.with_name("taken"))

    monkeypatch.setattr(records, "load_record", load_and_lose)
    with warnings.catch_warnings(action="ignore"):
        assert find_record(RECIPE, tmp_path) is None
    assert contents(tmp_path) == {"taken": b"damaged"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes, which Windows lacks")
def test_a_pipe_in_the_place_of_a_record_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / RECIPE.file_name)
    with pytest.warns(UserWarning, match="it is not a file") as warned:
        assert find_record(RECIPE, tmp_path) is None
    assert RECIPE.file_name in str(warned[0].message) and len(list(tmp_path.iterdir())) == 1


def test_a_good_record_beside_is_left_alone(tmp_path):
    other = replace(RECORD, recipe=replace(RECIPE, seed=1))
    save_record(other, tmp_path)
    (tmp_path / RECIPE.file_name).write_text("{", encoding="utf-8")
    with pytest.warns(UserWarning, match="the run is done again"):
        find_record(RECIPE, tmp_path)
    assert find_record(other.recipe, tmp_path) == other


@pytest.mark.parametrize("write", NOT_RECORDS.values(), ids=NOT_RECORDS)
def test_load_records_refuses_what_is_not_a_record_by_name_and_leaves_it_there(tmp_path, write):
    save_record(replace(RECORD, recipe=replace(RECIPE, seed=1)), tmp_path)
    write(tmp_path)
    there = contents(tmp_path)
    with pytest.raises(ValueError) as caught:
        load_records(tmp_path)
    assert RECIPE.file_name in str(caught.value) and "\n" not in str(caught.value)
    assert contents(tmp_path) == there


# The machine


def test_the_environment_says_hardware_and_versions(tmp_path):
    environment = describe_environment(CPU)
    assert environment.keys() >= {"device", "device_name", "cores", "system", "python", "torch", "resnet_lib", "date"}
    assert environment["device"] == "cpu" and environment["device_name"]
    assert environment["torch"] == torch.__version__ and environment["python"] == platform.python_version()
    assert environment["resnet_lib"] == resnet_lib.__version__ and environment["cores"] == os.cpu_count()
    record = replace(RECORD, environment=environment)
    assert load_record(save_record(record, tmp_path)) == record


def test_the_environment_names_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Imaginary 100")
    environment = describe_environment(torch.device("cuda"))
    assert (environment["device"], environment["device_name"]) == ("cuda", "NVIDIA Imaginary 100")


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A file under version control, which the library takes for its own."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    file = tmp_path / "library" / "records.py"
    file.parent.mkdir()
    file.write_text("first", encoding="utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "--message", "first")
    git(tmp_path, "tag", "v1")
    monkeypatch.setattr(environment, "__file__", str(file))
    return file


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout.strip()


def test_the_environment_names_the_commit_and_says_if_files_were_changed_since(checkout):
    commit = git(checkout.parent, "rev-parse", "HEAD")
    assert describe_environment(CPU)["commit"] == commit[:12]
    checkout.write_text("second", encoding="utf-8")
    assert describe_environment(CPU)["commit"] == f"{commit[:12]}-dirty"


def test_a_library_installed_within_another_checkout_does_not_name_that_ones_commit(checkout, monkeypatch):
    monkeypatch.setattr(metadata, "distribution", no_package)
    installed = checkout.with_name("installed.py")
    installed.write_text("", encoding="utf-8")
    monkeypatch.setattr(environment, "__file__", str(installed))
    assert describe_environment(CPU)["commit"] is None


@pytest.mark.parametrize(
    ("installed_from", "commit"),
    [
        (None, None),
        ({"url": "file:///somewhere", "dir_info": {"editable": True}}, None),
        ({"url": "https://somewhere", "vcs_info": {"vcs": "git", "commit_id": "0123abcd"}}, "0123abcd"),
    ],
    ids=str,
)
def test_without_git_the_commit_is_the_one_that_pip_installed(tmp_path, monkeypatch, installed_from, commit):
    text = installed_from and json.dumps(installed_from)
    monkeypatch.setattr(metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: text))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_environment(CPU)["commit"] == commit


def test_where_no_commit_is_known_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(metadata, "distribution", no_package)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_environment(CPU)["commit"] is None


def no_package(name: str) -> None:
    raise metadata.PackageNotFoundError(name)


def test_a_record_names_neither_host_nor_user_nor_path(tmp_path, monkeypatch):
    secret = "zebrafinch"
    home = tmp_path / f"home-of-{secret}"
    home.mkdir()
    monkeypatch.chdir(home)
    for variable in ("USER", "LOGNAME", "USERNAME", "HOME", "USERPROFILE", "HOSTNAME", "COMPUTERNAME", "PWD"):
        monkeypatch.setenv(variable, f"{home}" if variable in ("HOME", "USERPROFILE", "PWD") else secret)
    monkeypatch.setattr(socket, "gethostname", lambda: secret)
    monkeypatch.setattr(socket, "getfqdn", lambda *args: secret)
    monkeypatch.setattr(platform, "node", lambda: secret)
    monkeypatch.setattr(platform, "uname", lambda: platform.uname_result("Linux", secret, "6", secret, "x86_64"))
    monkeypatch.setattr(getpass, "getuser", lambda: secret)
    path = save_record(replace(RECORD, environment=describe_environment(CPU)), home / "runs")
    text = path.read_text(encoding="utf-8")
    assert secret not in text + path.name
    for place in (tmp_path, Path(resnet_lib.__file__).parent, Path(torch.__file__).parent):
        assert json.dumps(str(place))[1:-1] not in text


def test_the_environment_has_no_entry_that_nobody_has_looked_at():
    """A new entry may give the owner away: look, then add it here."""
    known = {"device", "device_name", "cores", "instructions", "system", "python", "torch", "resnet_lib", "commit"}
    known |= {"date"}
    assert describe_environment(CPU).keys() <= known
