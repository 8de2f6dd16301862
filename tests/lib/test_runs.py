"""A run that is killed, interrupted or done by two at once ends as an undisturbed one, and nothing is done twice."""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from outcomes import CPU, figures
from run_processes import CAN_FORK, RunProcess, RunProcesses, wait_until

from resnet_lib import experiments
from resnet_lib.checkpoints import find_checkpoint
from resnet_lib.datasets import load_dataset
from resnet_lib.experiments import degradation_grid, lock_of, run_grid, run_in_folder
from resnet_lib.recipes import Recipe
from resnet_lib.records import Record, find_record, load_records, save_record
from resnet_lib.training import Run, train

pytestmark = pytest.mark.usefixtures("one_thread")

DIGITS = load_dataset("digits")
SETTINGS = {"width": 2, "epochs": 5, "images": 400, "augment": True}
GRID = degradation_grid(depths=[8], seeds=2, **SETTINGS)
OPTIONS = "--depths 8 --seeds 2 --width 2 --epochs 5 --images 400 --augment --device cpu"
COMMAND = ["degradation", *OPTIONS.split(), "--out"]
RECIPE = GRID[1]


@pytest.fixture(scope="module")
def undisturbed() -> dict[Recipe, Record]:
    """What the grid must come to, whatever happens on the way."""
    return {recipe: train(recipe, DIGITS, CPU) for recipe in GRID}


@pytest.fixture
def epochs(monkeypatch) -> list[int]:
    """The epochs that are trained meanwhile, each by the number of those done before."""
    trained, train_epoch = [], Run.train_epoch
    monkeypatch.setattr(Run, "train_epoch", lambda run: trained.append(run.epochs_done) or train_epoch(run))
    return trained


def check_as_undisturbed(folder: Path, undisturbed: dict[Recipe, Record]) -> None:
    """Curve for curve and figure for figure, to the last bit; and nothing else is left in the folder."""
    records = {record.recipe: record for record in load_records(folder)}
    assert records.keys() == undisturbed.keys()
    for recipe, record in records.items():
        assert figures(record) == figures(undisturbed[recipe]), recipe.name
    assert sorted(path.name for path in folder.iterdir()) == sorted(recipe.file_name for recipe in undisturbed)


# One run in a folder


class CutOffError(Exception):
    """What ends a run before its time."""


def checkpoint_of(recipe: Recipe, folder: Path) -> Path:
    return lock_of(recipe, folder).with_suffix(".checkpoint")


def test_a_run_leaves_its_record_and_nothing_else_and_is_not_done_again(tmp_path, undisturbed, epochs):
    for name in (f"{checkpoint_of(RECIPE, tmp_path).name}.12345.tmp", f"{RECIPE.file_name}.12345.tmp"):
        (tmp_path / name).write_bytes(b"what a killed writer left")
    record = run_in_folder(RECIPE, DIGITS, CPU, tmp_path)
    check_as_undisturbed(tmp_path, {RECIPE: undisturbed[RECIPE]})
    assert run_in_folder(RECIPE, DIGITS, CPU, tmp_path) == record == find_record(RECIPE, tmp_path)
    assert epochs == [0, 1, 2, 3, 4]


def only_at_the(count: int, call: Callable, error: Exception) -> Callable:
    """The same function, which fails at one of its calls."""
    calls = itertools.count(1)

    def failing(*args):
        if next(calls) == count:
            raise error
        return call(*args)

    return failing


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("owner", "name", "count", "error", "again"),
    [
        (torch.optim.SGD, "step", 10, CutOffError(), [2, 3, 4]),  # 4 steps an epoch
        (os, "replace", 3, FULL, [2, 3, 4]),
        (experiments, "save_record", 1, CutOffError(), []),
    ],
    ids=["within an epoch", "by a full disk", "before its record is written"],
)
def test_wherever_a_run_is_cut_off_only_what_is_not_on_disk_is_done_again(
    tmp_path, undisturbed, epochs, monkeypatch, owner, name, count, error, again
):
    with monkeypatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(owner, name, only_at_the(count, getattr(owner, name), error))
        run_grid([RECIPE], tmp_path, "cpu", DIGITS)
    assert not list(tmp_path.glob("*.tmp"))
    epochs.clear()
    run_grid([RECIPE], tmp_path, "cpu", DIGITS)
    assert epochs == again
    check_as_undisturbed(tmp_path, {RECIPE: undisturbed[RECIPE]})


@pytest.mark.parametrize("left", [[".checkpoint", ".lock"], [".lock"]], ids=" and ".join)
def test_what_a_process_left_that_was_killed_after_its_record_is_removed_by_the_next_grid(
    tmp_path, undisturbed, epochs, left
):
    save_record(undisturbed[RECIPE], tmp_path)
    for suffix in left:
        lock_of(RECIPE, tmp_path).with_suffix(suffix).write_bytes(b"")
    assert run_grid([RECIPE], tmp_path, "cpu", DIGITS) == [undisturbed[RECIPE]] and not epochs
    check_as_undisturbed(tmp_path, {RECIPE: undisturbed[RECIPE]})


# A run that another process works on


@pytest.fixture
def busy(tmp_path) -> Iterator[FileLock]:
    """The lock of RECIPE's run, held by another."""
    with FileLock(lock_of(RECIPE, tmp_path)) as lock:
        yield lock


def test_a_grid_does_the_rest_and_then_waits_for_the_busy_run(tmp_path, undisturbed, busy, epochs, monkeypatch, capsys):
    waits = []

    def other_finishes(seconds: float) -> None:
        waits.append(sorted(path.name for path in tmp_path.glob("*.json")))
        if len(waits) == 3:
            save_record(undisturbed[RECIPE], tmp_path)
            busy.release()

    monkeypatch.setattr(experiments.time, "sleep", other_finishes)
    records = run_grid(GRID, tmp_path, "cpu", DIGITS)
    assert [figures(record) for record in records] == [figures(undisturbed[recipe]) for recipe in GRID]
    assert waits == [sorted(recipe.file_name for recipe in GRID if recipe != RECIPE)] * 3, "all others were done before"
    assert len(epochs) == 3 * 5, "and the busy one was left to the other"
    assert "waiting for another process" in capsys.readouterr().err
    check_as_undisturbed(tmp_path, undisturbed)


# Killed, at any moment


needs_fork = pytest.mark.skipif(not CAN_FORK, reason="forks processes that have PyTorch loaded: on Linux alone")


@pytest.fixture(scope="module")
def server() -> Iterator[RunProcesses]:
    with RunProcesses() as processes:
        yield processes


@pytest.fixture
def processes(server, tmp_path_factory) -> RunProcesses:
    server.print_into(tmp_path_factory.mktemp("printed"))
    return server


def epochs_done(folder: Path) -> dict[str, int]:
    """How far each run of the grid is, as its files say."""
    done = {}
    for recipe in GRID:
        checkpoint = find_checkpoint(recipe, checkpoint_of(recipe, folder))
        finished = (folder / recipe.file_name).exists()
        done[recipe.file_name] = 5 if finished else len(checkpoint["curves"]["train_loss"]) if checkpoint else 0
    return done


def first_epochs(begun: list[tuple[int, str, int]]) -> dict[str, int]:
    """The first epoch that was begun of each run."""
    first = {}
    for _, name, epoch in begun:
        first.setdefault(name, epoch)
    return first


def kill_at_a_random_moment(process: RunProcess, chance: random.Random, folder: Path, pattern: str) -> None:
    """Shortly after one of the files of this pattern has changed, and not always the first."""

    def seen() -> list[tuple[str, int]]:
        with suppress(FileNotFoundError):  # it went away meanwhile
            return sorted((path.name, path.stat().st_mtime_ns) for path in folder.glob(pattern))
        return []

    for _ in range(chance.randint(1, 2)):
        before = seen()
        wait_until(lambda before=before: seen() != before, process)
    time.sleep(chance.uniform(0, 0.005))
    process.signal(signal.SIGKILL)


@needs_fork
@pytest.mark.parametrize("wanted", [5, pytest.param(25, marks=pytest.mark.slow)])
def test_whenever_it_is_killed_the_same_command_goes_on_to_the_same_bits(tmp_path, processes, undisturbed, wanted):
    seed = int(os.environ.get("KILL_SEED", random.randrange(10**6)))
    print(f"KILL_SEED={seed} repeats this choice of moments")
    chance = random.Random(seed)

    whole = processes.start(*COMMAND, tmp_path / "whole")
    assert whole.wait() == 0, whole.err
    check_as_undisturbed(tmp_path / "whole", undisturbed)

    starts = kills = continued = round = 0
    while kills < wanted:
        round += 1
        folder = tmp_path / f"round {round}"
        folder.mkdir()
        code = None
        while code != 0:
            before, log = epochs_done(folder), len(processes.epochs_begun())
            process = processes.start(*COMMAND, folder)
            starts += 1
            if kills < wanted:
                kill_at_a_random_moment(process, chance, folder, ("*.tmp", "*.checkpoint", "*.json", "*")[starts % 4])
            code = process.wait()
            assert code in (0, -signal.SIGKILL), process.err
            kills += code == -signal.SIGKILL
            begun = processes.epochs_begun()[log:]
            for name, first in first_epochs(begun).items():
                assert first == before[name], "it goes on after the last epoch that the disk knows"
                continued += first > 0
            assert len(begun) == len(set(begun)), "and does no epoch twice"
            assert "Warning" not in process.err, "no file was damaged"
            after = epochs_done(folder)
            assert all(after[name] >= before[name] for name in before), "and nothing done is lost"
        assert process.out.splitlines()[:-1] == whole.out.splitlines()[:-1], "the same table"
        check_as_undisturbed(folder, undisturbed)
        assert starts < 10 * wanted, "the kills come too late"
    assert continued >= wanted // 5, "it was also killed in the middle of runs"


# Interrupted


@needs_fork
def test_after_an_interrupt_the_same_command_goes_on(tmp_path, processes, undisturbed):
    folder = tmp_path / "runs"
    process = processes.start(*COMMAND, folder)
    assert wait_until(lambda: len(processes.epochs_begun()) >= 7, process)
    process.signal(signal.SIGINT)
    assert process.wait() == 130 and process.out == ""
    assert process.err.splitlines()[-1] == f"Stopped. The runs so far are in {folder}; the same command does the rest."
    assert "Traceback" not in process.err
    before, log = epochs_done(folder), len(processes.epochs_begun())
    assert sum(before.values()) == log, "the epoch under way was finished and kept"

    again = processes.start(*COMMAND, folder)
    assert again.wait() == 0, again.err
    begun = processes.epochs_begun()[log:]
    assert len(begun) == 20 - log and all(first == before[name] for name, first in first_epochs(begun).items())
    check_as_undisturbed(folder, undisturbed)


# Two at once


def begun_by(process: RunProcess) -> list[tuple[str, int]]:
    return [(name, epoch) for pid, name, epoch in process.processes.epochs_begun() if pid == process.pid]


@needs_fork
def test_two_processes_do_one_grid_together_each_run_once(tmp_path, processes, undisturbed):
    folder = tmp_path / "runs"
    first = processes.start(*COMMAND, folder)
    assert wait_until(lambda: begun_by(first), first)
    first.signal(signal.SIGSTOP)  # until the second is as far, however busy the machine is
    second = processes.start(*COMMAND, folder)
    assert wait_until(lambda: begun_by(second), second)
    first.signal(signal.SIGCONT)
    assert first.wait() == 0, first.err
    assert second.wait() == 0, second.err
    begun = begun_by(first) + begun_by(second)
    assert sorted(begun) == sorted((recipe.file_name, epoch) for recipe in GRID for epoch in range(5))
    assert not {name for name, _ in begun_by(first)} & {name for name, _ in begun_by(second)}
    assert first.out == second.out and len(first.out.splitlines()) == 5
    check_as_undisturbed(folder, undisturbed)


@needs_fork
def test_when_one_of_two_processes_is_killed_the_other_takes_its_run_over(tmp_path, processes, undisturbed):
    folder = tmp_path / "runs"
    first = processes.start(*COMMAND, folder)
    assert wait_until(lambda: any(folder.glob("*.checkpoint")), first)
    first.signal(signal.SIGSTOP)
    second = processes.start(*COMMAND, folder)
    assert wait_until(lambda: "waiting for another process" in second.err, second)
    assert len(load_records(folder)) == 3, "it did all the rest before"
    (busy,) = {name for name, _ in begun_by(first)}
    (done,) = {epochs for name, epochs in epochs_done(folder).items() if name == busy}
    assert busy not in {name for name, _ in begun_by(second)}, "and left the busy run alone"
    assert first.kill()
    assert second.wait() == 0, second.err
    assert [epoch for name, epoch in begun_by(second) if name == busy] == list(range(done, 5))
    check_as_undisturbed(folder, undisturbed)
