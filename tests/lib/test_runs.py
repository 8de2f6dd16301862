"""A run that is killed, interrupted or done by two at once ends as an undisturbed one, and nothing is done twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from outcomes import figures
from run_processes import CAN_FORK, PATIENCE, RunProcess, RunProcesses, wait_until

import resnet_lib
from resnet_lib import experiments, runs
from resnet_lib.checkpoints import checkpoint_path, find_checkpoint
from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.experiments import degradation_grid, run_grid
from resnet_lib.recipes import Recipe
from resnet_lib.records import Record, find_record, load_records, save_record
from resnet_lib.runs import BusyError, run_in_folder
from resnet_lib.training import Run, train

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
SETTINGS = {"width": 2, "epochs": 5, "images": 400, "augment": True}
GRID = degradation_grid(depths=[8], seeds=2, **SETTINGS)
OPTIONS = "--depths 8 --seeds 2 --width 2 --epochs 5 --images 400 --augment --device cpu"
COMMAND = ["degradation", *OPTIONS.split(), "--out"]
RECIPE = GRID[1]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def undisturbed(digits) -> dict[Recipe, Record]:
    """What the grid must come to, whatever happens on the way."""
    return {recipe: train(recipe, digits, CPU) for recipe in GRID}


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


def test_a_run_leaves_its_record_and_nothing_else(tmp_path, digits, undisturbed):
    record = run_in_folder(RECIPE, digits, CPU, tmp_path)
    assert record == find_record(RECIPE, tmp_path)
    check_as_undisturbed(tmp_path, {RECIPE: undisturbed[RECIPE]})


def test_a_finished_run_is_not_done_again(tmp_path, digits, undisturbed, epochs):
    save_record(undisturbed[RECIPE], tmp_path)
    assert run_in_folder(RECIPE, digits, CPU, tmp_path) == undisturbed[RECIPE] and not epochs


class CutOffError(Exception):
    """What ends a run before its time."""


def cut_after(count: int) -> Callable[[int, float | None], None]:
    """An ``on_epoch`` that ends the run after so many epochs."""
    done = []

    def on_epoch(epochs: int, loss: float | None) -> None:
        done.append(epochs)
        if len(done) >= count:
            raise CutOffError

    return on_epoch


def test_a_run_that_was_cut_off_goes_on(tmp_path, digits, undisturbed, epochs):
    for count in (2, 2):  # the second time the first call is for the epochs that were done before
        with pytest.raises(CutOffError):
            run_in_folder(RECIPE, digits, CPU, tmp_path, cut_after(count))
    assert checkpoint_path(RECIPE, tmp_path).exists() and find_record(RECIPE, tmp_path) is None
    calls = []
    run_in_folder(RECIPE, digits, CPU, tmp_path, lambda *args: calls.append(args))
    assert epochs == [0, 1, 2, 3, 4] and [count for count, _ in calls] == [3, 1, 1]
    assert [loss for _, loss in calls] == undisturbed[RECIPE].curves["train_loss"][2:]
    check_as_undisturbed(tmp_path, {RECIPE: undisturbed[RECIPE]})


def test_a_run_that_was_cut_off_within_an_epoch_does_that_epoch_again(tmp_path, digits, undisturbed, monkeypatch):
    step, steps = torch.optim.SGD.step, []

    def stumble(*args):
        steps.append(1)
        if len(steps) == 10:  # 4 steps an epoch
            raise CutOffError
        return step(*args)

    with monkeypatch.context() as patch, pytest.raises(CutOffError):
        patch.setattr(torch.optim.SGD, "step", stumble)
        run_in_folder(RECIPE, digits, CPU, tmp_path)
    assert len(find_checkpoint(RECIPE, checkpoint_path(RECIPE, tmp_path))["curves"]["train_loss"]) == 2
    run_in_folder(RECIPE, digits, CPU, tmp_path)
    check_as_undisturbed(tmp_path, {RECIPE: undisturbed[RECIPE]})


def test_a_run_cut_off_before_its_record_is_written_trains_nothing_again(
    tmp_path, digits, undisturbed, epochs, monkeypatch
):
    def fail(*args):
        raise CutOffError

    with monkeypatch.context() as patch, pytest.raises(CutOffError):
        patch.setattr(runs, "save_record", fail)
        run_in_folder(RECIPE, digits, CPU, tmp_path)
    epochs.clear()
    run_in_folder(RECIPE, digits, CPU, tmp_path)
    assert not epochs
    check_as_undisturbed(tmp_path, {RECIPE: undisturbed[RECIPE]})


def leave_behind(folder: Path, *suffixes: str) -> None:
    """What a killed process may leave beside the record."""
    checkpoint = checkpoint_path(RECIPE, folder)
    names = {
        "checkpoint": checkpoint.name,
        "lock": checkpoint.with_suffix(".lock").name,
        "half a checkpoint": f"{checkpoint.name}.12345.tmp",
        "half a record": f"{RECIPE.file_name}.12345.tmp",
    }
    for suffix in suffixes:
        (folder / names[suffix]).write_bytes(b"")


def test_runs_that_differ_in_one_field_alone_do_not_confuse_each_other(tmp_path, digits):
    grid = [replace(RECIPE, epochs=1, images=images, held_out=held) for images in (200, 201) for held in (0, 1)]
    for recipe in grid:
        with pytest.raises(CutOffError):
            run_in_folder(recipe, digits, CPU, tmp_path, cut_after(1))
    assert len(list(tmp_path.glob("*.checkpoint"))) == 4
    records = [run_in_folder(recipe, digits, CPU, tmp_path) for recipe in grid]
    assert [record.recipe for record in records] == grid and len(load_records(tmp_path)) == 4
    assert len({(record.train_loss, record.held_out_error is None) for record in records}) == 4


def test_what_killed_writers_left_is_removed_by_the_next_run(tmp_path, digits, undisturbed):
    leave_behind(tmp_path, "half a checkpoint", "half a record", "lock")
    run_in_folder(RECIPE, digits, CPU, tmp_path)
    check_as_undisturbed(tmp_path, {RECIPE: undisturbed[RECIPE]})


@pytest.mark.parametrize("left", [["checkpoint", "lock"], ["lock"]], ids=" and ".join)
def test_what_a_process_left_that_was_killed_after_its_record_is_removed_by_the_next_grid(
    tmp_path, digits, undisturbed, epochs, left
):
    save_record(undisturbed[RECIPE], tmp_path)
    leave_behind(tmp_path, *left)
    (record,) = run_grid([RECIPE], tmp_path, "cpu", digits)
    assert figures(record) == figures(undisturbed[RECIPE]) and not epochs
    check_as_undisturbed(tmp_path, {RECIPE: undisturbed[RECIPE]})


def test_a_damaged_checkpoint_is_set_aside_and_the_run_starts_again_and_ends_right(
    tmp_path, digits, undisturbed, epochs
):
    with pytest.raises(CutOffError):
        run_in_folder(RECIPE, digits, CPU, tmp_path, cut_after(3))
    checkpoint = checkpoint_path(RECIPE, tmp_path)
    damaged = checkpoint.read_bytes()[:-1000]
    checkpoint.write_bytes(damaged)
    epochs.clear()
    with pytest.warns(UserWarning, match="the run starts again") as warned:
        record = run_in_folder(RECIPE, digits, CPU, tmp_path)
    assert len(warned) == 1 and str(checkpoint) in str(warned[0].message)
    assert epochs == [0, 1, 2, 3, 4] and figures(record) == figures(undisturbed[RECIPE])
    aside = [path for path in tmp_path.iterdir() if path.name != RECIPE.file_name]
    assert [path.read_bytes() for path in aside] == [damaged] and aside[0].name in str(warned[0].message)


# A run that another process works on


@pytest.fixture
def busy(tmp_path) -> Iterator[FileLock]:
    """The lock of RECIPE's run, held by another."""
    lock = FileLock(checkpoint_path(RECIPE, tmp_path).with_suffix(".lock"))
    with lock:
        yield lock


def test_a_run_that_another_works_on_is_left_to_it(tmp_path, digits, busy, epochs):
    with pytest.raises(BusyError) as caught:
        run_in_folder(RECIPE, digits, CPU, tmp_path)
    assert RECIPE.name in str(caught.value) and str(tmp_path) in str(caught.value) and not epochs
    busy.release()
    run_in_folder(RECIPE, digits, CPU, tmp_path)
    assert epochs == [0, 1, 2, 3, 4]


def test_an_error_frees_the_run_for_others(tmp_path, digits, undisturbed):
    with pytest.raises(CutOffError):
        run_in_folder(RECIPE, digits, CPU, tmp_path, cut_after(1))
    run_in_folder(RECIPE, digits, CPU, tmp_path)
    check_as_undisturbed(tmp_path, {RECIPE: undisturbed[RECIPE]})


def test_a_grid_does_the_rest_and_then_waits_for_the_busy_run(
    tmp_path, digits, undisturbed, busy, epochs, monkeypatch, capsys
):
    waits = []

    def other_finishes(seconds: float) -> None:
        waits.append(sorted(path.name for path in tmp_path.glob("*.json")))
        if len(waits) == 3:
            save_record(undisturbed[RECIPE], tmp_path)
            busy.release()

    monkeypatch.setattr(experiments.time, "sleep", other_finishes)
    records = run_grid(GRID, tmp_path, "cpu", digits)
    assert [figures(record) for record in records] == [figures(undisturbed[recipe]) for recipe in GRID]
    rest = sorted(recipe.file_name for recipe in GRID if recipe != RECIPE)
    assert waits == [rest] * 3, "all others were done before"
    assert len(epochs) == 3 * 5, "and the busy one was left to the other"
    assert "waiting for another process" in capsys.readouterr().err
    check_as_undisturbed(tmp_path, undisturbed)


def test_a_grid_takes_over_a_run_whose_process_gave_up(tmp_path, digits, undisturbed, busy, epochs, monkeypatch):
    with pytest.raises(CutOffError):
        train(RECIPE, digits, CPU, cut_after(3), checkpoint_path(RECIPE, tmp_path))
    epochs.clear()
    monkeypatch.setattr(experiments.time, "sleep", lambda seconds: busy.release())
    run_grid([RECIPE], tmp_path, "cpu", digits)
    assert epochs == [3, 4]
    check_as_undisturbed(tmp_path, {RECIPE: undisturbed[RECIPE]})


def test_two_threads_of_one_process_do_not_do_a_run_twice(tmp_path, digits, undisturbed, epochs, monkeypatch):
    """A notebook may run one grid in the background and another in front."""
    monkeypatch.setattr(experiments.time, "sleep", lambda seconds, sleep=time.sleep: sleep(0.01))
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(run_grid, [RECIPE], tmp_path, "cpu", digits) for _ in range(2)]
        first, second = (future.result()[0] for future in futures)
    assert figures(first) == figures(second) == figures(undisturbed[RECIPE]) and epochs == [0, 1, 2, 3, 4]


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
        checkpoint = find_checkpoint(recipe, checkpoint_path(recipe, folder))
        finished = (folder / recipe.file_name).exists()
        done[recipe.file_name] = 5 if finished else len(checkpoint["curves"]["train_loss"]) if checkpoint else 0
    return done


def first_epochs(begun: list[tuple[int, str, int]]) -> dict[str, int]:
    """The first epoch that was begun of each run."""
    first = {}
    for _, name, epoch in begun:
        first.setdefault(name, epoch)
    return first


class Killer:
    """Waits for a random moment in the life of a process that works on the grid in ``folder``."""

    def __init__(self, chance: random.Random, folder: Path, seconds: float) -> None:
        self.chance, self.folder, self.seconds = chance, folder, seconds

    def any_time(self, process: RunProcess) -> None:
        time.sleep(self.chance.uniform(0, self.seconds))

    def while_a_file_is_written(self, process: RunProcess) -> None:
        self.skip_some(process)
        wait_until(lambda: any(self.folder.glob("*.tmp")), process)
        time.sleep(self.chance.uniform(0, 0.003))

    def around_a_checkpoint(self, process: RunProcess) -> None:
        self.skip_some(process)
        before = self.seen("*.checkpoint")
        wait_until(lambda: self.seen("*.checkpoint") != before, process)
        time.sleep(self.chance.uniform(0, 0.02))

    def around_a_record(self, process: RunProcess) -> None:
        before = self.seen("*.json")
        wait_until(lambda: self.seen("*.json") != before, process)
        time.sleep(self.chance.uniform(0, 0.005))

    def skip_some(self, process: RunProcess) -> None:
        """Let it come some epochs farther, so that not always the first file is the one."""
        before = self.seen("*.checkpoint")
        if self.chance.random() < 0.5:
            wait_until(lambda: self.seen("*.checkpoint") != before, process)

    def seen(self, pattern: str) -> set[tuple[str, int]]:
        """The files and when they were written."""
        stats = ((path.name, path.stat(follow_symlinks=False)) for path in list(self.folder.glob(pattern)))
        seen = set()
        try:
            for name, stat in stats:
                seen.add((name, stat.st_mtime_ns))
        except FileNotFoundError:  # it went away meanwhile
            seen.add(("gone", time.monotonic_ns()))
        return seen


KILLS = 25


@needs_fork
def test_whenever_it_is_killed_the_same_command_goes_on_to_the_same_bits(tmp_path, processes, undisturbed):
    seed = int(os.environ.get("KILL_SEED", random.randrange(10**6)))
    print(f"KILL_SEED={seed} repeats this choice of moments")
    chance = random.Random(seed)

    start = time.monotonic()
    whole = processes.start(*COMMAND, tmp_path / "whole")
    assert whole.wait() == 0, whole.err
    seconds = time.monotonic() - start
    check_as_undisturbed(tmp_path / "whole", undisturbed)

    starts = kills = continued = round = 0
    while kills < KILLS:
        round += 1
        folder = tmp_path / f"round {round}"
        folder.mkdir()
        killer = Killer(chance, folder, seconds)
        moments = [killer.any_time, killer.while_a_file_is_written, killer.around_a_checkpoint, killer.around_a_record]
        code = None
        while code != 0:
            before, log = epochs_done(folder), len(processes.epochs_begun())
            process = processes.start(*COMMAND, folder)
            starts += 1
            if kills < KILLS:
                moments[starts % len(moments)](process)
                process.signal(signal.SIGKILL)
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
        assert starts < 10 * KILLS, "the kills come too late"
    assert continued >= KILLS // 5, "it was also killed in the middle of runs"


def start_for_real(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "resnet_lib", *COMMAND, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={
            **os.environ,
            "PYTHONIOENCODING": "utf-8",
            "PYTHONPATH": str(Path(resnet_lib.__file__).parents[1]),
            "OMP_NUM_THREADS": "1",
        },
    )


def test_python_m_resnet_lib_goes_on_where_it_was_killed(tmp_path, undisturbed):
    process = start_for_real(tmp_path)
    deadline = time.monotonic() + PATIENCE
    while not list(tmp_path.glob("*.checkpoint")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.communicate()
    done = sum(epochs_done(tmp_path).values())
    assert 1 <= done < 20

    process = start_for_real(tmp_path)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "Warning" not in err
    check_as_undisturbed(tmp_path, undisturbed)


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
