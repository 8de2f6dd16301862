"""A grid does what is missing and nothing twice, survives an interrupt, and shows what the book claims."""

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from outcomes import CPU, figures, made_up

from resnet_lib import experiments
from resnet_lib.datasets import load_dataset
from resnet_lib.experiments import degradation_grid, run_grid
from resnet_lib.recipes import Recipe
from resnet_lib.records import load_records, summarize

GRID = degradation_grid(depths=[8, 14], seeds=2, width=2, epochs=1, batch_size=256)


@pytest.fixture
def runs(monkeypatch, threads) -> list[Recipe]:
    """Training replaced by a made-up record, one run at a time: the recipes that ran, in order."""
    done = []

    def pretend_to_train(recipe, dataset, device, on_epoch, checkpoint=None):
        assert dataset.name == recipe.dataset and device == CPU
        on_epoch(recipe.epochs, 1.0)
        done.append(recipe)
        return made_up(recipe, train_error=float(recipe.depth))

    monkeypatch.setattr(experiments, "train", pretend_to_train)
    threads(1)
    return done


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Interrupt the main thread as Ctrl-C does, even where pytest itself was started with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield _thread.interrupt_main
    signal.signal(signal.SIGINT, before)


def test_records_come_in_the_order_of_the_recipes_and_lie_in_the_folder(tmp_path, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    records = run_grid(iter([*GRID, GRID[0]]), "~/new/runs", "cpu")
    assert [record.recipe for record in records] == [*GRID, GRID[0]] and records[0] is records[-1]
    folder = tmp_path / "new" / "runs"
    assert sorted(path.name for path in folder.iterdir()) == sorted(recipe.file_name for recipe in GRID)
    assert sorted(map(figures, load_records(str(folder)))) == sorted(map(figures, records[:-1]))
    (alone,) = run_grid([GRID[5]], device="cpu")
    assert figures(alone) == figures(records[5]), "a run gives the same figures alone"


def test_the_figures_do_not_depend_on_the_number_of_threads(threads):
    found = []
    for count in (1, 3):
        threads(count)
        found.append([figures(record) for record in run_grid(GRID[:4], device="cpu")])
        assert torch.get_num_threads() == count
    assert found[0] == found[1]


def test_without_out_nothing_is_written_and_the_bar_ends_full(tmp_path, monkeypatch, runs, capsys):
    monkeypatch.chdir(tmp_path)
    assert len(run_grid(GRID, device="cpu")) == len(runs) == len(GRID)
    assert not list(tmp_path.iterdir()) and run_grid([], tmp_path, "cpu") == []
    bar = capsys.readouterr().err
    assert "100%" in bar and "left" in bar and "loss 1.0" in bar


def test_a_run_that_diverges_is_told_when_it_ends_and_is_not_done_again(tmp_path, capsys):
    grid = [replace(GRID[0], lr=lr, epochs=3) for lr in (0.1, 1e30)]
    records = run_grid(grid, tmp_path, "cpu")
    assert [record.diverged for record in records] == [False, True]
    assert capsys.readouterr().err.count(f"{GRID[0].name} diverged: its loss is not finite") == 1
    assert run_grid(grid, tmp_path, "cpu") == records and not capsys.readouterr().err


# Only what is missing


def test_a_finished_grid_does_nothing_and_needs_no_images(tmp_path, monkeypatch, runs):
    first = run_grid(GRID, tmp_path, "cpu")
    monkeypatch.setattr(experiments, "load_dataset", lambda name: pytest.fail(f"{name} was loaded"))
    assert run_grid(GRID, tmp_path, "cpu") == first and runs == GRID


# Interrupts and errors


def finished(folder: Path) -> set[Recipe]:
    """The recipes with a record, having checked that besides there are at most the locks of runs without one."""
    recipes = {record.recipe for record in load_records(folder)}
    locks = {Path(recipe.file_name).with_suffix(".lock").name for recipe in set(GRID) - recipes}
    assert {path.name for path in folder.iterdir() if path.suffix != ".json"} <= locks
    return recipes


@pytest.mark.parametrize(("workers", "error"), [(1, KeyboardInterrupt), (2, KeyboardInterrupt), (2, MemoryError)])
def test_an_interrupt_or_error_keeps_the_finished_runs_and_a_second_start_does_the_rest(
    tmp_path, runs, monkeypatch, threads, ctrl_c, workers, error
):
    threads(workers)
    pretend, stopped = experiments.train, []

    def train_until_it_fails(recipe, dataset, device, on_epoch, checkpoint):
        if recipe != GRID[4]:
            return pretend(recipe, dataset, device, on_epoch, checkpoint)
        if error is MemoryError:
            raise MemoryError("this one is too large")
        ctrl_c()
        with pytest.raises(InterruptedError):
            while True:  # the run has far to go, and ends after the epoch in which the grid hears of it
                on_epoch(0, 1.0)
        stopped.append(recipe)
        raise InterruptedError

    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(experiments, "train", train_until_it_fails)
        run_grid(GRID, tmp_path, "cpu")
    kept = finished(tmp_path)
    assert len(set(GRID[:4]) - kept) < workers and GRID[4] not in kept, "what was finished is kept"
    assert stopped == ([GRID[4]] if error is KeyboardInterrupt else [])
    assert torch.get_num_threads() == workers
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]
    runs.clear()
    records = run_grid(GRID, tmp_path, "cpu")
    assert set(runs) == set(GRID) - kept and [record.recipe for record in records] == GRID
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(recipe.file_name for recipe in GRID)


def test_on_another_device_the_runs_go_one_after_the_other(tmp_path, monkeypatch, threads):
    threads(2)
    where = []

    def pretend(recipe, dataset, device, on_epoch, checkpoint):
        where.append((device.type, threading.current_thread() is threading.main_thread()))
        return made_up(recipe)

    monkeypatch.setattr(experiments, "train", pretend)
    monkeypatch.setattr(experiments, "choose_device", lambda name: torch.device("cuda"))
    assert [record.recipe for record in run_grid(GRID, tmp_path)] == GRID
    assert where == [("cuda", True)] * len(GRID)


def test_recipes_of_several_data_sets_train_each_on_its_own_and_one_at_hand_is_not_loaded(monkeypatch, runs):
    digits, loaded = experiments.load_dataset("digits"), []
    monkeypatch.setattr(experiments, "load_dataset", lambda name: loaded.append(name) or replace(digits, name=name))
    grid = [replace(recipe, dataset=dataset) for dataset in ("digits", "others") for recipe in GRID[:2]]
    assert [record.recipe for record in run_grid(grid, device="cpu")] == grid == runs
    assert sorted(loaded) == ["digits", "others"], "each once"
    assert len(run_grid(GRID, device="cpu", dataset=digits)) == len(GRID) and len(loaded) == 2


# What is refused, before any run and any folder


REFUSED = {
    "an unknown engine": ({"engine": "Ray"}, "engine must be one of 'local', 'ray', got 'Ray'"),
    "ray without a folder": ({"engine": "ray", "out": None}, "engine 'ray' needs a folder"),
    "a share of a GPU without Ray": ({"gpus_per_run": 0.5}, "gpus_per_run needs the engine 'ray', got 'local'"),
    "less than no GPU": ({"gpus_per_run": -1.0}, "gpus_per_run must be a number from 0 to 1,000, got -1.0"),
    "more images than there are": (
        {"recipes": [Recipe(depth=8, images=1000, held_out=438)]},
        "images and held_out.* 1437",
    ),
    "other images than named": ({"dataset": replace(load_dataset("digits"), name="mine")}, "'digits', got 'mine'"),
    "a file for a folder": ({"out": "notes.txt"}, "out must be a folder, got notes.txt"),
}


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_run_is_refused_in_one_sentence(tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiments, "require_ray", lambda: None)  # whether it is installed does not matter
    (tmp_path / "notes.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(ValueError, match=sentence) as caught:
        run_grid(**{"recipes": GRID, "out": "runs", "device": "cpu", **arguments})
    assert "\n" not in str(caught.value) and not list(tmp_path.glob("**/*.json"))
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "precious"


# The claim of the book


@pytest.mark.slow
def test_plain_56_trains_at_least_20_points_worse_than_residual_56():
    plain, residual = summarize(run_grid(degradation_grid(depths=[56], seeds=1), device="cpu"))
    assert (plain.shortcut, residual.shortcut) == ("none", "A")
    assert plain.train_error >= residual.train_error + 20
    assert residual.train_error < 5, "the residual network itself trains well"
