"""A grid of runs on a Ray cluster: every run is a task, and a task whose worker dies is done again elsewhere.

Ray is optional: ``pip install "resnet-lib[cluster]"``. Without a cluster's address in the variable RAY_ADDRESS, Ray
starts a cluster of this machine's own processors. The folder of the records must be one that all machines see.

Source: https://docs.ray.io/en/latest/ray-core/tasks.html
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import torch

from resnet_lib.datasets import Dataset
from resnet_lib.recipes import Recipe
from resnet_lib.records import Record
from resnet_lib.runs import BusyError, run_in_folder
from resnet_lib.training import choose_device

RETRIES = 10  # deaths of a run's worker before the grid gives up; each new worker goes on from the last checkpoint


def require_ray() -> ModuleType:
    """The module ray.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import ray  # here, since only this engine needs it
    except ImportError:
        raise ValueError(
            "engine 'ray' needs the package ray, which is not installed: say pip install \"resnet-lib[cluster]\", "
            "or use the engine 'local'"
        ) from None
    return ray


def run_on_cluster(
    recipes: Sequence[Recipe],
    datasets: dict[str, Dataset],
    device: str,
    folder: Path,
    gpus_per_run: float,
    on_finished: Callable[[Recipe, int, float | None], None],
) -> list[Record | None]:
    """The records of all recipes, in their order; None for a run that another process works on.

    ``on_finished`` is called after each run with its recipe, its epochs and its loss.

    Raises:
        ValueError: Ray is not installed.
    """
    ray = require_ray()
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    task = ray.remote(num_cpus=1, num_gpus=gpus_per_run, max_retries=RETRIES)(_run)
    stored = {name: ray.put(dataset) for name, dataset in datasets.items()}  # once, not with every task
    started = {task.remote(recipe, stored[recipe.dataset], device, folder.absolute()): recipe for recipe in recipes}
    records: dict[Recipe, Record | None] = {}
    waiting = list(started)
    # Ray prints what befalls its workers to stdout, even without log_to_driver; there only the outcome belongs.
    with redirect_stdout(sys.stderr):
        while waiting:
            done, waiting = ray.wait(waiting)
            for reference in done:
                recipe = started[reference]
                records[recipe] = ray.get(reference)
                if records[recipe]:
                    on_finished(recipe, recipe.epochs, records[recipe].train_loss)
    return [records[recipe] for recipe in recipes]


def _run(recipe: Recipe, dataset: Dataset, device: str, folder: Path) -> Record | None:
    torch.set_num_threads(1)  # as every run on a CPU, so that its bits are the same
    try:
        return run_in_folder(recipe, dataset, choose_device(device), folder)
    except BusyError:
        return None
