"""Grids of runs: depth × shortcut × seed, and what they add up to."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tqdm.auto import tqdm

from resnet_lib.cluster import require_ray, run_on_cluster
from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.files import make_folder
from resnet_lib.parallel import one_per_core
from resnet_lib.recipes import Recipe, check_choice, check_number
from resnet_lib.records import Record, find_record
from resnet_lib.runs import BusyError, remove_leftovers, run_in_folder
from resnet_lib.training import choose_device, train

ENGINES = ("local", "ray")


def degradation_grid(
    depths: Sequence[int] = (8, 20, 56),
    shortcuts: Sequence[str] = ("none", "A"),
    seeds: int = 3,
    **settings: Any,
) -> list[Recipe]:
    """A recipe for every depth, shortcut and seed 0, …, seeds-1; ``settings`` are further fields of `Recipe`.

    The seeds change last, so that a grid cut short has seen every network.

    Raises:
        TypeError, ValueError: a value out of range.

    Source: the comparison of He et al. 2016, figure 6 (plain and residual networks, deeper and deeper).

    >>> [recipe.name for recipe in degradation_grid(depths=[56], seeds=1)]
    ['digits-plain-56-seed0', 'digits-residual-A-56-seed0']
    """
    check_number("seeds", seeds)
    grid = [
        Recipe(depth=depth, shortcut=shortcut, seed=seed, **settings)
        for seed in range(seeds)
        for depth in depths
        for shortcut in shortcuts
    ]
    return list(dict.fromkeys(grid))  # a depth or shortcut named twice is run once


def run_grid(
    recipes: Sequence[Recipe],
    out: str | Path | None = None,
    device: str = "auto",
    dataset: Dataset | None = None,
    engine: str = "local",
    gpus_per_run: float = 0,
) -> list[Record]:
    """Train every recipe and return the records, in the order of the recipes.

    With ``out``, each run leaves its record in that folder as soon as it ends, and its state after each epoch: a run
    that is there already is not done again, one that was cut off goes on, and one that another process works on is
    left to it. On a CPU one run trains on each core, in one thread, so that the figures do not depend on how many
    cores there are. An interrupt (Ctrl-C) ends the runs under way after their epoch.

    Args:
        recipes: what to train.
        out: the folder of the records; None keeps them in memory.
        device: "auto", "cpu", "cuda" or "mps".
        dataset: the images, for all recipes; by default each recipe's ``dataset`` is loaded by its name.
        engine: "local", or "ray" for a Ray cluster, which needs an ``out`` that all its machines see.
        gpus_per_run: with "ray", how much of a GPU each run asks for.

    Raises:
        ValueError: an unknown data set, a device or engine that is not here, or an ``out`` that is a file.
    """
    check_engine(engine, out)
    torch_device = choose_device(device)
    folder = make_folder(Path(out)) if out is not None else None
    records = {recipe: find_record(recipe, folder) if folder else None for recipe in recipes}
    missing = [recipe for recipe, record in records.items() if record is None]
    for recipe in records.keys() - set(missing):
        if folder:
            remove_leftovers(recipe, folder)
    datasets = {name: dataset or load_dataset(name) for name in {recipe.dataset for recipe in missing}}
    stop = threading.Event()

    def run(recipe: Recipe) -> Record | None:
        def on_epoch(epochs: int, loss: float | None) -> None:
            if stop.is_set():
                raise InterruptedError("another run failed or the user stopped the grid")
            bar.advance(recipe, epochs, loss)

        try:
            if folder is None:
                return train(recipe, datasets[recipe.dataset], torch_device, on_epoch)
            return run_in_folder(recipe, datasets[recipe.dataset], torch_device, folder, on_epoch)
        except BusyError:
            return None

    with GridProgress(missing) as bar:
        while missing:
            if engine == "ray":
                found = run_on_cluster(missing, datasets, device, folder, gpus_per_run, bar.advance)
            else:
                side_by_side = torch_device.type == "cpu"
                found = one_per_core(run, missing, stop) if side_by_side else [run(recipe) for recipe in missing]
            records.update(zip(missing, found, strict=True))
            missing = [recipe for recipe in missing if records[recipe] is None]
            if missing:
                bar.wait_for(missing)
    return [records[recipe] for recipe in recipes]


def check_engine(engine: str, out: str | Path | None) -> None:
    """Refuse an engine that is unknown, not installed, or has no folder to leave the records in."""
    check_choice("engine", engine, ENGINES)
    if engine == "ray":
        require_ray()
        if out is None:
            raise ValueError("engine 'ray' needs a folder for the records: name it with out")


class GridProgress:
    """A bar that counts layers × epochs, since deeper networks take longer in proportion."""

    def __init__(self, recipes: Sequence[Recipe]) -> None:
        work = sum(recipe.depth * recipe.epochs for recipe in recipes)
        self.bar = tqdm(
            total=work, disable=not work, bar_format="{percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def advance(self, recipe: Recipe, epochs: int, loss: float | None) -> None:
        with self.bar.get_lock():
            self.bar.set_postfix_str(f"{recipe.name} loss {loss if loss is None else round(loss, 3)}", refresh=False)
            self.bar.update(recipe.depth * epochs)

    def wait_for(self, recipes: Sequence[Recipe]) -> None:
        """A second in which another process may finish its runs."""
        self.bar.set_postfix_str(f"waiting for another process, which works on {len(recipes)} of the runs")
        time.sleep(1)
