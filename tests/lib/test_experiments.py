"""A grid does what is missing and nothing twice, survives an interrupt, and shows what the book claims."""

import _thread
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from outcomes import figures

from resnet_lib import experiments
from resnet_lib.experiments import degradation_grid, run_grid
from resnet_lib.recipes import Recipe
from resnet_lib.records import Record, Summary, format_table, load_records, save_record, summarize

TINY = {"width": 2, "epochs": 1, "batch_size": 256}
GRID = degradation_grid(depths=[8, 14], seeds=2, **TINY)


def made_up(recipe: Recipe, train_error: float = 50.0, test_error: float = 60.0) -> Record:
    curves = {"train_loss": [1.0], "train_error": [train_error], "test_error": [test_error]}
    curves = {name: values * recipe.epochs for name, values in curves.items()}
    return Record(
        recipe,
        train_error,
        test_error,
        best_test_error=test_error,
        held_out_error=None,
        train_loss=1.0,
        curves=curves,
        seconds=0.5,
        images_per_second=2874.0,
    )


def replace_training(monkeypatch, train: Callable[..., Record]) -> None:
    """``train`` in the place of the library's, for runs in memory and in a folder."""
    monkeypatch.setattr("resnet_lib.experiments.train", train)
    monkeypatch.setattr("resnet_lib.runs.train", train)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Set the number of threads for a test; afterwards there are as many as before."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def runs(monkeypatch, threads) -> list[Recipe]:
    """Training replaced by a made-up record, one run at a time: the recipes that ran, in order."""
    done = []

    def pretend_to_train(recipe, dataset, device, on_epoch, checkpoint=None):
        assert dataset.name == recipe.dataset and device == torch.device("cpu")
        for _ in range(recipe.epochs):
            on_epoch(1, 1.0)
        done.append(recipe)
        return made_up(recipe, train_error=float(recipe.depth))

    replace_training(monkeypatch, pretend_to_train)
    threads(1)
    return done


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Interrupt the main thread as Ctrl-C does, even where pytest itself was started with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield _thread.interrupt_main
    signal.signal(signal.SIGINT, before)


# The grid


def test_the_default_grid_is_the_books():
    grid = degradation_grid()
    assert len(grid) == len(set(grid)) == 3 * 2 * 3
    assert set(grid) == {
        Recipe(depth=depth, shortcut=shortcut, seed=seed)
        for depth in (8, 20, 56)
        for shortcut in ("none", "A")
        for seed in range(3)
    }


def test_the_seeds_change_last():
    grid = degradation_grid([8, 20], ["none", "A", "B"], 2)
    assert [recipe.seed for recipe in grid] == [0] * 6 + [1] * 6
    assert len({(recipe.depth, recipe.shortcut) for recipe in grid[:6]}) == 6


def test_a_depth_or_shortcut_named_twice_is_run_once():
    assert degradation_grid([8, 8], ["A", "none", "A"], 1) == degradation_grid([8], ["A", "none"], 1)


def test_settings_reach_every_recipe():
    assert {(recipe.width, recipe.epochs, recipe.batch_size) for recipe in GRID} == {(2, 1, 256)}
    settings = {"dataset": "others", "augment": True, "images": 500, "held_out": 5, "precision": "bfloat16"}
    for recipe in degradation_grid(**settings):
        assert {name: getattr(recipe, name) for name in settings} == settings


# Running it


def test_records_come_in_the_order_of_the_recipes_and_lie_in_the_folder(tmp_path):
    records = run_grid(GRID, tmp_path / "new" / "runs", "cpu")
    assert [record.recipe for record in records] == GRID
    assert sorted(path.name for path in (tmp_path / "new" / "runs").iterdir()) == sorted(r.file_name for r in GRID)
    assert sorted(map(figures, load_records(tmp_path / "new" / "runs"))) == sorted(map(figures, records))


@pytest.mark.parametrize("count", [1, 3])
def test_the_figures_do_not_depend_on_the_number_of_threads(threads, count):
    grid = [replace(recipe, width=8) for recipe in GRID[:4]]
    threads(2)
    two = run_grid(grid, device="cpu")
    threads(count)
    settings = torch.__config__.parallel_info()
    assert [figures(record) for record in run_grid(grid, device="cpu")] == [figures(record) for record in two]
    assert torch.__config__.parallel_info() == settings, "as many threads as before"


def test_a_run_in_a_grid_gives_the_same_figures_as_alone(threads):
    records = run_grid(GRID, device="cpu")
    (alone,) = run_grid([GRID[5]], device="cpu")
    assert figures(alone) == figures(records[5])


def test_without_out_nothing_is_written(tmp_path, monkeypatch, runs):
    monkeypatch.chdir(tmp_path)
    assert len(run_grid(GRID, device="cpu")) == len(runs) == len(GRID)
    assert not list(tmp_path.iterdir())


def test_out_may_be_a_string(tmp_path, runs):
    run_grid(GRID[:1], str(tmp_path / "runs"), "cpu")
    assert (tmp_path / "runs" / GRID[0].file_name).exists()


def test_the_folder_is_there_before_the_first_run(tmp_path, monkeypatch, runs):
    there = []
    pretend = experiments.train
    replace_training(monkeypatch, lambda *a: there.append((tmp_path / "runs").is_dir()) or pretend(*a))
    run_grid(GRID[:1], tmp_path / "runs", "cpu")
    assert there == [True]


def test_each_record_is_written_as_soon_as_its_run_ends(tmp_path, monkeypatch, runs):
    there = []
    pretend = experiments.train
    replace_training(monkeypatch, lambda *a: there.append(len(list(tmp_path.glob("*.json")))) or pretend(*a))
    run_grid(GRID, tmp_path, "cpu")
    assert there == list(range(len(GRID)))


def test_a_recipe_named_twice_is_trained_once_and_returned_twice(runs):
    first, second = run_grid([GRID[0], GRID[0]], device="cpu")
    assert first is second and runs == [GRID[0]]


def test_no_recipes_give_no_records(tmp_path, runs):
    assert run_grid([], tmp_path, "cpu") == [] and not runs


# Only what is missing


def test_a_second_start_does_nothing_again(tmp_path, runs):
    first = run_grid(GRID, tmp_path, "cpu")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
    assert run_grid(GRID, tmp_path, "cpu") == first
    assert runs == GRID
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("lost", [[0], [3], [1, 6], list(range(8))], ids=str)
def test_only_the_missing_is_redone(tmp_path, runs, lost):
    run_grid(GRID, tmp_path, "cpu")
    runs.clear()
    for index in lost:
        (tmp_path / GRID[index].file_name).unlink()
    records = run_grid(GRID, tmp_path, "cpu")
    assert runs == [GRID[index] for index in lost]
    assert [record.recipe for record in records] == GRID


def test_a_larger_grid_takes_over_what_a_smaller_one_left(tmp_path, runs):
    run_grid(degradation_grid([8], seeds=1, **TINY), tmp_path, "cpu")
    kept = made_up(runs[0], train_error=12.5)
    save_record(kept, tmp_path)
    runs.clear()
    records = run_grid(GRID, tmp_path, "cpu")
    assert records[0] == kept and set(runs) == set(GRID[2:]) and len(runs) == len(GRID) - 2


@pytest.mark.parametrize("change", [{"epochs": 2}, {"lr": 0.2}, {"width": 3}, {"batch_size": 128}], ids=str)
def test_other_settings_are_other_runs_and_stand_beside_the_first(tmp_path, runs, change):
    run_grid(GRID, tmp_path, "cpu")
    runs.clear()
    others = degradation_grid(depths=[8, 14], seeds=2, **{**TINY, **change})
    run_grid(others, tmp_path, "cpu")
    assert runs == others and len(load_records(tmp_path)) == 2 * len(GRID)


def test_a_damaged_record_is_set_aside_and_its_run_done_again(tmp_path, runs):
    run_grid(GRID, tmp_path, "cpu")
    runs.clear()
    damaged = tmp_path / GRID[2].file_name
    damaged.write_bytes(b'{"format": "resn')
    with pytest.warns(UserWarning, match=GRID[2].file_name):
        records = run_grid(GRID, tmp_path, "cpu")
    assert runs == [GRID[2]] and [record.recipe for record in records] == GRID
    assert len(load_records(tmp_path)) == len(GRID)
    assert [path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".json"] == [b'{"format": "resn']


# Interrupts and errors


def finished(folder: Path) -> list[Recipe]:
    """The recipes with a record, having checked that besides there are at most the locks of runs without one."""
    recipes = [record.recipe for record in load_records(folder)]
    locks = {Path(recipe.file_name).with_suffix(".lock").name for recipe in set(GRID) - set(recipes)}
    besides = {path.name for path in folder.iterdir() if path.suffix != ".json"}
    assert besides <= locks, "half a record is left, or the lock of a finished run"
    return recipes


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_keeps_the_finished_runs_and_a_second_start_does_the_rest(
    tmp_path, runs, monkeypatch, threads, ctrl_c, workers
):
    threads(workers)
    pretend, settings = experiments.train, torch.__config__.parallel_info()
    begun, stopped = [], []

    def train_until_interrupted(recipe, dataset, device, on_epoch, checkpoint):
        begun.append(recipe)
        if recipe == GRID[4]:
            ctrl_c()
            try:
                for _ in range(1000):  # epochs: the run has far to go
                    on_epoch(1, 1.0)
                    time.sleep(0.01)
            except InterruptedError:
                stopped.append(recipe)
                raise
        return pretend(recipe, dataset, device, on_epoch, checkpoint)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        replace_training(patch, train_until_interrupted)
        run_grid(GRID, tmp_path, "cpu")
    kept = finished(tmp_path)
    assert len(set(GRID[:4]) - set(kept)) < workers, "what was finished is kept"
    assert stopped == [GRID[4]] and GRID[4] not in kept, "what was under way ends at its next epoch"
    if workers == 1:
        assert begun == GRID[:5], "what had not begun is not begun"
    assert torch.__config__.parallel_info() == settings

    runs.clear()
    records = run_grid(GRID, tmp_path, "cpu")
    assert set(runs) == set(GRID) - set(kept) and [record.recipe for record in records] == GRID
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(recipe.file_name for recipe in GRID)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_one_run_keeps_the_finished_ones_and_is_told(tmp_path, runs, monkeypatch, threads, workers):
    threads(workers)
    pretend, settings = experiments.train, torch.__config__.parallel_info()

    def fail_once(recipe, *rest):
        if recipe == GRID[3]:
            raise MemoryError("this one is too large")
        return pretend(recipe, *rest)

    replace_training(monkeypatch, fail_once)
    with pytest.raises(MemoryError, match="this one is too large"):
        run_grid(GRID, tmp_path, "cpu")
    kept = finished(tmp_path)
    assert len(set(GRID[:3]) - set(kept)) < workers and GRID[3] not in kept
    assert torch.__config__.parallel_info() == settings
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_on_another_device_the_runs_go_one_after_the_other(tmp_path, runs, monkeypatch, threads):
    threads(2)
    device = torch.device("cuda")
    monkeypatch.setattr(experiments, "choose_device", lambda name: device)
    where = []

    def pretend(recipe, dataset, device, on_epoch, checkpoint):
        where.append((device, threading.current_thread() is threading.main_thread()))
        return made_up(recipe)

    replace_training(monkeypatch, pretend)
    assert [record.recipe for record in run_grid(GRID, tmp_path)] == GRID
    assert where == [(device, True)] * len(GRID)


def test_recipes_of_several_data_sets_train_each_on_its_own(monkeypatch, runs):
    digits = experiments.load_dataset("digits")
    loaded = []
    monkeypatch.setattr(experiments, "load_dataset", lambda name: loaded.append(name) or replace(digits, name=name))
    grid = [replace(recipe, dataset=dataset) for dataset in ("digits", "others") for recipe in GRID[:2]]
    assert [record.recipe for record in run_grid(grid, device="cpu")] == grid == runs
    assert sorted(loaded) == ["digits", "others"], "each once"


def test_a_data_set_at_hand_is_not_loaded(monkeypatch, runs):
    digits = experiments.load_dataset("digits")
    monkeypatch.setattr(experiments, "load_dataset", lambda name: pytest.fail(f"{name} was loaded"))
    assert len(run_grid(GRID, device="cpu", dataset=digits)) == len(GRID)


def test_a_finished_grid_needs_no_data_set(tmp_path, monkeypatch, runs):
    first = run_grid(GRID, tmp_path, "cpu")
    monkeypatch.setattr(experiments, "load_dataset", lambda name: pytest.fail(f"{name} was loaded"))
    assert run_grid(GRID, tmp_path, "cpu") == first


def test_the_progress_bar_shows_the_loss_and_the_time_left_and_ends_full(runs, capsys):
    run_grid(GRID, device="cpu")
    bars = capsys.readouterr().err
    assert "100%" in bars and "left" in bars and "loss 1.0" in bars


# What the runs add up to


def test_a_summary_is_numpys_mean_and_sample_standard_deviation():
    generator = np.random.default_rng(0)
    grid = degradation_grid(depths=[8, 20], shortcuts=["none", "A", "B"], seeds=5)
    records = [made_up(recipe, *generator.uniform(0, 100, 2)) for recipe in grid]
    rows = summarize(records)
    assert len(rows) == 6
    for row in rows:
        group = [r for r in records if (r.recipe.depth, r.recipe.shortcut) == (row.depth, row.shortcut)]
        train, test = np.array([(record.train_error, record.test_error) for record in group]).T
        assert row.n == len(group) == 5
        assert row.train_error == pytest.approx(train.mean()) and row.train_std == pytest.approx(train.std(ddof=1))
        assert row.test_error == pytest.approx(test.mean()) and row.test_std == pytest.approx(test.std(ddof=1))


def test_plain_networks_come_first_then_by_depth():
    grid = degradation_grid(depths=[56, 8, 110], shortcuts=["B", "A", "none"], seeds=2)
    rows = summarize(made_up(recipe) for recipe in reversed(grid))
    order = [(shortcut, depth) for shortcut in ("none", "A", "B") for depth in (8, 56, 110)]
    assert [(row.shortcut, row.depth) for row in rows] == order


def test_one_seed_has_no_standard_deviation():
    assert summarize([made_up(GRID[0], 1.5, 2.5)]) == [Summary(8, "none", 1, 1.5, None, 2.5, None)]


def test_two_equal_runs_have_a_standard_deviation_of_zero():
    (row,) = summarize([made_up(replace(GRID[0], seed=seed), 1.5, 2.5) for seed in range(2)])
    assert (row.n, row.train_std, row.test_std) == (2, 0.0, 0.0)


def test_nothing_adds_up_to_nothing():
    assert summarize([]) == []


def test_the_table_shows_mean_and_standard_deviation_in_percent():
    plain = [made_up(replace(GRID[0], depth=56, seed=seed), error, 50.0) for seed, error in enumerate((60, 61, 65))]
    residual = [made_up(Recipe(depth=8), 0.125, 100.0)]
    header, first, second = format_table(residual + plain).splitlines()
    assert header.split() == ["network", "depth", "n", "training", "error", "%", "test", "error", "%"]
    assert first.split() == ["plain", "56", "3", "62.00", "±", "2.65", "50.00", "±", "0.00"]
    assert second.split() == ["residual,", "A", "8", "1", "0.12", "100.00"]


def test_the_columns_of_the_table_stand_below_their_heads():
    grid = degradation_grid(depths=[8, 110], seeds=3)
    spread = {8: 0.01, 110: 50.0}  # standard deviations of one digit and of two before the point
    records = [made_up(recipe, *[spread[recipe.depth] * recipe.seed] * 2) for recipe in grid]
    lines = format_table(records).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len({tuple(place.start() for place in re.finditer("±", line)) for line in lines[1:]}) == 1


# The claim of the book


def test_plain_56_trains_at_least_20_points_worse_than_residual_56():
    plain, residual = summarize(run_grid(degradation_grid(depths=[56]), device="cpu"))
    assert (plain.shortcut, residual.shortcut, plain.n, residual.n) == ("none", "A", 3, 3)
    assert plain.train_error >= residual.train_error + 20
    assert residual.train_error < 5, "the residual network itself trains well"
