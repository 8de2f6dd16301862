"""A record is whole or not there, says all of its run and nothing of its owner, and is never lost."""

import getpass
import json
import math
import os
import platform
import re
import shutil
import socket
import subprocess
import warnings
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from outcomes import CPU, made_up

import resnet_lib
from resnet_lib import environment
from resnet_lib.environment import describe_environment
from resnet_lib.recipes import Recipe
from resnet_lib.records import (
    FORMAT,
    Record,
    find_record,
    finite_or_none,
    format_table,
    load_record,
    load_records,
    results_folder,
    save_record,
)

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


def test_a_record_comes_back_as_it_was_saved(tmp_path):
    path = save_record(RECORD, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / RECIPE.file_name
    assert load_record(path) == RECORD == find_record(RECIPE, path.parent)


def test_a_record_with_nan_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        save_record(replace(RECORD, train_error=math.nan), tmp_path)
    assert not list(tmp_path.iterdir())
    assert [finite_or_none(value) for value in (math.nan, math.inf, -math.inf, 0.0)] == [None, None, None, 0.0]


def test_load_records_reads_all_records_by_name_and_nothing_else(tmp_path):
    with pytest.raises(ValueError, match="holds no record of a run") as caught:
        load_records(tmp_path)
    assert str(tmp_path) in str(caught.value) and find_record(RECIPE, tmp_path) is None
    for seed in (2, 0, 1):
        save_record(replace(RECORD, recipe=replace(RECIPE, seed=seed)), tmp_path)
    (tmp_path / "notes.txt").write_text("not a record", encoding="utf-8")
    (tmp_path / "old.json.set-aside").write_text("{", encoding="utf-8")
    assert [record.recipe.seed for record in load_records(tmp_path)] == [0, 1, 2]


def test_results_of_the_book_that_are_not_there_are_refused_with_those_that_are():
    with pytest.raises(ValueError, match="digitz") as caught:
        results_folder("digitz")
    assert "'digits'" in str(caught.value) and "'cifar10-jpg'" in str(caught.value)


# What is not a record is named and set aside


def changed(**changes) -> bytes:
    """RECORD's file, with top-level entries changed, or left out where the change is `...`."""
    data = {"format": FORMAT, **asdict(RECORD), **changes}
    return json.dumps({key: value for key, value in data.items() if value is not ...}).encode()


def curves(**changes) -> bytes:
    return changed(curves={**RECORD.curves, **changes})


ENDED_EARLY = {"train_loss": [None], "train_error": [90.0], "test_error": [100.0]}
NOT_RECORDS = {
    "empty": b"",
    "cut off": changed()[:300],
    "the format of the release before": changed(format="resnet_lib record 1"),
    "without a speed": changed(images_per_second=...),
    "an unknown entry": changed(colour="red"),
    "nested without end": b"[" * 100_000,
    "a recipe with a wrong depth": changed(recipe={**asdict(RECIPE), "depth": 9}),
    "another's recipe": changed(recipe={**asdict(RECIPE), "seed": 5}),
    # These have every entry, but a value that no run can have had: a table made of them would be wrong, or fail.
    "an error that is true": changed(train_error=True),
    "an error above 100": changed(best_test_error=100.5),
    "an error that is NaN": changed(train_error=math.nan),
    "an error that is not the end of its curve": changed(test_error=88.0),
    "a best error that is not the lowest of its curve": changed(best_test_error=50.0),
    "a held-out error below 0": changed(held_out_error=-0.5),
    "a loss below 0": changed(train_loss=-0.1),
    "curves that are a list": changed(curves=[1.0]),
    "no curve of the training error": changed(curves={"test_error": [88.0, 100.0]}),
    "curves that are too short for a run that has not diverged": changed(curves=ENDED_EARLY),
    "curves of a run that diverged in two lengths": changed(train_loss=None, curves={**ENDED_EARLY, "test_error": []}),
    "far too long": changed(environment={"notes": 20_000_000 * " "}),
    "a curve with null": curves(train_error=[90.0, None]),
    "a curve above 100": curves(train_error=[90.0, 101.0]),
    "a loss for one epoch alone": curves(train_loss=[0.5]),
    "a time below 0": changed(seconds=-1.0),
    "a speed that is null": changed(images_per_second=None),
    "an environment that is text": changed(environment="cpu"),
}


@pytest.mark.parametrize("content", NOT_RECORDS.values(), ids=NOT_RECORDS)
def test_what_is_not_the_runs_record_is_named_and_set_aside(tmp_path, content):
    path, other = tmp_path / RECIPE.file_name, replace(RECORD, recipe=replace(RECIPE, seed=1))
    save_record(other, tmp_path)
    path.write_bytes(content)
    if content != NOT_RECORDS["another's recipe"]:
        for call in (lambda: load_record(path), lambda: load_records(tmp_path)):
            with pytest.raises(ValueError, match="is not a record of a run: ") as caught:
                call()
            assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_bytes() == content, "reading leaves it there"
    with pytest.warns(UserWarning, match="the run is done again") as warned:
        assert find_record(RECIPE, tmp_path) is None
    assert len(warned) == 1 and str(path) in str(warned[0].message)
    assert path.with_name(f"{path.name}.set-aside").read_bytes() == content and load_records(tmp_path) == [other]


# What the runs add up to


def test_the_table_shows_mean_and_standard_deviation_below_their_heads():
    plain = [
        made_up(Recipe(depth=56, shortcut="none", seed=seed), error, 50.0) for seed, error in enumerate((60, 61, 65))
    ]
    wild = [made_up(Recipe(depth=110, seed=seed), 50.0 * seed, 0.5 * seed) for seed in range(3)]
    lines = format_table([made_up(Recipe(depth=8), 0.125, 100.0), *wild, *plain]).splitlines()
    assert lines[0].split() == ["network", "depth", "n", "training", "error", "%", "test", "error", "%"]
    assert lines[1].split() == ["plain", "56", "3", "62.00", "±", "2.65", "50.00", "±", "0.00"]
    assert lines[2].split() == ["residual,", "A", "8", "1", "0.12", "100.00"]
    assert len({len(line) for line in lines}) == 1
    assert len({tuple(place.start() for place in re.finditer("±", line)) for line in (lines[1], lines[3])}) == 1
    mixed = format_table([*plain, made_up(Recipe(depth=56, shortcut="none", lr=0.02, precision="bfloat16"))])
    assert mixed.splitlines()[-1] == "means over runs that differ in lr, precision, too"


# The machine


def test_the_environment_says_hardware_and_versions_and_nothing_that_nobody_has_looked_at(tmp_path, monkeypatch):
    found = describe_environment(CPU)
    # A new entry may give the owner away: look, then add it here.
    known = "device device_name cores instructions system python torch resnet_lib commit date"
    assert list(found) == known.split() and found["device"] == "cpu" and found["device_name"]
    assert (found["torch"], found["python"]) == (torch.__version__, platform.python_version())
    assert (found["resnet_lib"], found["cores"]) == (resnet_lib.__version__, os.cpu_count())
    assert found["instructions"] == torch.backends.cpu.get_cpu_capability()
    record = replace(RECORD, environment=found)
    assert load_record(save_record(record, tmp_path)) == record
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Imaginary 100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    on_gpu = describe_environment(torch.device("cuda"))
    assert list(on_gpu) == [*known.split(), "capability", "tf32", "cudnn"]
    assert (on_gpu["device_name"], on_gpu["capability"]) == ("NVIDIA Imaginary 100", "7.5")
    assert {*on_gpu["tf32"]} == {"matmul", "cudnn"} and on_gpu["cudnn"]["deterministic"] is False
    warned = Mock(side_effect=lambda backend: not warnings.warn("an old name", stacklevel=2))  # as in PyTorch 2.9
    for old_name, said in {warned: True, Mock(side_effect=RuntimeError): None}.items():
        backend = type("Backend", (), {"allow_tf32": property(old_name)})
        monkeypatch.setattr(torch.backends.cuda, "matmul", backend())
        assert describe_environment(torch.device("cuda"))["tf32"]["matmul"] is said


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e", *arguments]
    return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout.strip()


def no_package(name: str) -> None:
    raise metadata.PackageNotFoundError(name)


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_the_environment_names_the_librarys_own_commit_and_says_if_files_were_changed_since(tmp_path, monkeypatch):
    file, installed = tmp_path / "environment.py", tmp_path / "installed.py"
    file.write_text("first", encoding="utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    git(tmp_path, "tag", "v1")
    monkeypatch.setattr(environment, "__file__", str(file))
    commit = git(tmp_path, "rev-parse", "HEAD")[:12]
    assert describe_environment(CPU)["commit"] == commit
    file.write_text("second", encoding="utf-8")
    assert describe_environment(CPU)["commit"] == f"{commit}-dirty"

    monkeypatch.setattr(metadata, "distribution", no_package)
    installed.write_text("", encoding="utf-8")
    monkeypatch.setattr(environment, "__file__", str(installed))
    assert describe_environment(CPU)["commit"] is None, "that of another checkout around it is not its own"


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


def test_a_record_names_neither_host_nor_user_nor_path(tmp_path, monkeypatch):
    secret = "zebrafinch"
    home = tmp_path / f"home-of-{secret}"
    home.mkdir()
    monkeypatch.chdir(home)
    for variable in ("USER", "LOGNAME", "USERNAME", "HOME", "USERPROFILE", "HOSTNAME", "COMPUTERNAME", "PWD"):
        monkeypatch.setenv(variable, f"{home}" if variable in ("HOME", "USERPROFILE", "PWD") else secret)
    monkeypatch.setattr(platform, "uname", lambda: platform.uname_result("Linux", secret, "6", secret, "x86_64"))
    for module, name in ((socket, "gethostname"), (socket, "getfqdn"), (platform, "node"), (getpass, "getuser")):
        monkeypatch.setattr(module, name, lambda *args: secret)
    path = save_record(replace(RECORD, environment=describe_environment(CPU)), home / "runs")
    text = path.read_text(encoding="utf-8")
    assert secret not in text + path.name
    for place in (tmp_path, Path(resnet_lib.__file__).parent, Path(torch.__file__).parent):
        assert json.dumps(str(place))[1:-1] not in text
