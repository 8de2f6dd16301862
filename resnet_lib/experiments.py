"""Grids of runs: depth × shortcut × seed, each run done once, whatever cuts it off and whoever else works on it."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout
from tqdm.auto import tqdm

from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.environment import choose_device
from resnet_lib.files import locked, make_folder, remove_unfinished
from resnet_lib.parallel import one_per_core, one_per_task, require_ray
from resnet_lib.recipes import MOST, Recipe, check_choice, check_number
from resnet_lib.records import Record, find_record, save_record
from resnet_lib.training import OnEpoch, train

ENGINES = ("local", "ray")


def degradation_grid(
    depths: Sequence[int] = (8, 20, 56),
    shortcuts: Sequence[str] = ("none", "A"),
    seeds: int = 3,
    **settings: Any,
) -> list[Recipe]:
    """A recipe for every depth, shortcut and seed 0, …, seeds-1; ``settings`` are further fields of `Recipe`.

    The seeds change last, so that a grid cut short has seen every network. ValueError: a value that no run can have.
    Source: the comparison of He et al. 2016, figure 6 (plain and residual networks, deeper and deeper).

    >>> [recipe.name for recipe in degradation_grid(depths=[56], seeds=1)]
    ['digits-plain-56-seed0', 'digits-residual-A-56-seed0']
    """
    grid = [
        Recipe(depth=depth, shortcut=shortcut, seed=seed, **settings)
        for seed, depth, shortcut in product(range(check_number("seeds", seeds, most=MOST)), depths, shortcuts)
    ]
    return list(dict.fromkeys(grid))  # a depth or shortcut named twice is run once


def run_grid(
    recipes: Sequence[Recipe],
    out: str | Path | None = None,
    device: str = "auto",
    dataset: Dataset | None = None,
    engine: str = "local",
    gpus_per_run: float | None = None,
) -> list[Record]:
    """Train every recipe and return the records, in the order of the recipes.

    With ``out``, each run leaves its record in that folder as soon as it ends, and its state after each epoch: a run
    that is there already is not done again, one that was cut off goes on, and one that another process works on is
    left to it. On a CPU one run trains on each core, in one thread, so that the figures do not depend on how many
    cores there are. An interrupt (Ctrl-C) ends the runs under way after their epoch.

    ``device`` is as in `choose_device`. ``dataset`` is the images of all recipes, which must name it; by default each
    recipe's is loaded by its name. The ``engine`` "ray" is a Ray cluster, all of whose machines must see ``out``; each
    run there asks for ``gpus_per_run`` of a GPU, by default one where the cluster has any. ValueError: an unknown data
    set, or another than the recipes name, a device or engine that is not here, or an ``out`` that is a file.
    """
    recipes = list(recipes)  # a generator would be used up before the records are returned
    if dataset and (others := {recipe.dataset for recipe in recipes} - {dataset.name}):
        raise ValueError(f"dataset must be what the recipes name, {min(others)!r}, got {dataset.name!r}: name the same")
    check_engine(engine, out, gpus_per_run)
    on_cpu = choose_device(device).type == "cpu"
    folder = None if out is None else make_folder(out).absolute()
    records: dict[Recipe, Record | None] = {}
    for recipe in recipes:  # a run whose lock is there is under way, or was killed: do_run sees to it
        is_over = folder and not lock_of(recipe, folder).exists()
        records[recipe] = find_record(recipe, folder) if folder and is_over else None
    missing = [recipe for recipe, record in records.items() if record is None]
    where = {name: dataset or load_dataset(name) for name in {recipe.dataset for recipe in missing}}, device, folder
    stop = threading.Event()

    def advance(recipe: Recipe, epochs: int, loss: float | None) -> None:
        if stop.is_set():
            raise InterruptedError("another run failed or the user stopped the grid")
        if loss is None:
            bar.write(f"{recipe.name} diverged: its loss is not finite, so it ends, and no mean takes it", sys.stderr)
        with bar.get_lock():
            bar.set_postfix_str(f"{recipe.name} loss {loss if loss is None else round(loss, 3)}", refresh=False)
            bar.update(recipe.depth * epochs)

    def on_result(recipe: Recipe, record: Record | None) -> None:
        if record:
            advance(recipe, recipe.epochs, record.train_loss)

    do_here = partial(do_run, where=where, advance=advance)
    do_all: Callable[[list[Recipe]], Iterable[Record | None]]
    if engine == "ray":
        gpus = 0 if device == "cpu" else gpus_per_run
        do_all = partial(one_per_task, do_run, shared=where, gpus=gpus, on_result=on_result)
    else:
        do_all = partial(one_per_core, do_here, stop=stop) if on_cpu else partial(map, do_here)
    work = sum(recipe.depth * recipe.epochs for recipe in missing)  # deeper networks take longer in proportion
    look = "{percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
    with tqdm(total=work, disable=not work, bar_format=look) as bar:
        while missing:
            records.update(zip(missing, do_all(missing), strict=True))
            missing = [recipe for recipe in missing if records[recipe] is None]
            if missing:
                bar.set_postfix_str(f"waiting for another process, which works on {len(missing)} of the runs")
                time.sleep(1)
    return [record for recipe in recipes if (record := records[recipe])]


def check_engine(engine: str, out: str | Path | None, gpus_per_run: float | None = None) -> None:
    """Refuse an engine that is unknown or not installed, and what only Ray needs or takes."""
    check_choice("engine", engine, ENGINES)
    check_number("gpus_per_run", gpus_per_run or 0, 0, 1000, Real)
    if engine == "ray":
        require_ray()
        if out is None:
            raise ValueError("engine 'ray' needs a folder for the records: name it with out")
    elif gpus_per_run is not None:
        raise ValueError(f"gpus_per_run needs the engine 'ray', got {engine!r}: leave it out, or name that engine")


def do_run(
    recipe: Recipe,
    where: tuple[dict[str, Dataset], str, Path | None],
    advance: Callable[[Recipe, int, float | None], None] = lambda recipe, epochs, loss: None,
) -> Record | None:
    """`run_in_folder`, or in memory, as an engine calls it: ``where`` is the data sets, the device and the folder."""
    datasets, name, folder = where
    dataset, device, on_epoch = datasets[recipe.dataset], choose_device(name), partial(advance, recipe)
    if folder:
        return run_in_folder(recipe, dataset, device, folder, on_epoch)
    return train(recipe, dataset, device, on_epoch)


def run_in_folder(
    recipe: Recipe, dataset: Dataset, device: torch.device, folder: Path, on_epoch: OnEpoch = lambda epochs, loss: None
) -> Record | None:
    """The record of ``recipe`` after training what is still missing of its run; None: another process works on it.

    The state after each epoch is kept in the folder until the record is written: whatever ends the process, the next
    call goes on. While one process works on a run, it holds the run's lock.
    """
    lock = lock_of(recipe, folder)
    checkpoint = lock.with_suffix(".checkpoint")
    try:
        with locked(lock, timeout=0):
            record = find_record(recipe, folder)
            if record is None:  # else another process has just ended it
                remove_unfinished(checkpoint)
                remove_unfinished(folder / recipe.file_name)
                record = train(recipe, dataset, device, on_epoch, checkpoint)
                save_record(record, folder)
            checkpoint.unlink(missing_ok=True)
    except Timeout:
        return None
    # The record is there, so it no longer matters who holds the lock; Windows refuses if another process does.
    with suppress(OSError):
        lock.unlink(missing_ok=True)
    return record


def lock_of(recipe: Recipe, folder: Path) -> Path:
    """The file that a process locks while it works on the run."""
    return folder / Path(recipe.file_name).with_suffix(".lock")
