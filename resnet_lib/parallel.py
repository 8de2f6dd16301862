"""Many items side by side: one on each core of this machine, or each a task of a Ray cluster.

Each runs in one thread, since small layers gain nothing from a second one, and so its bits are the same everywhere.
Source: https://docs.ray.io/en/latest/ray-core/tasks.html
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, redirect_stdout
from types import ModuleType
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_seeding = threading.Lock()
RETRIES = 10  # deaths of a task's worker before Ray gives up; each new worker does the item again


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw PyTorch's random numbers from this seed, and leave the caller's state as it was; one thread at a time.

    >>> with seeded(0):
    ...     print(torch.rand(1))
    tensor([0.4963])
    """
    with _seeding, torch.random.fork_rng(devices=[]):  # the lock: threads share PyTorch's one random state
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
        yield


def one_per_core(
    function: Callable[[Item], Result], items: Iterable[Item], stop: threading.Event | None = None
) -> list[Result]:
    """``[function(item) for item in items]``, on the CPU as many at a time as torch has threads, each in one thread.

    The first error, or Ctrl-C, sets ``stop``, cancels what has not begun, waits for what has, and is raised.

    >>> one_per_core(abs, [-1, 2, -3])
    [1, 2, 3]
    """
    cores = torch.get_num_threads()
    pool = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
    try:
        futures = [pool.submit(function, item) for item in items]
        waiting = set(futures)
        while waiting:  # with a timeout, since on Windows an endless wait does not hear Ctrl-C
            done, waiting = wait(waiting, timeout=1, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()  # raises what the function raised
        return [future.result() for future in futures]
    except BaseException as error:
        if stop is not None:
            stop.set()
            if isinstance(error, KeyboardInterrupt):
                print("\nStopping after this epoch. Ctrl-C again stops at once.", file=sys.stderr)
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(cores)


def require_ray() -> ModuleType:
    """The module ray, which is optional; ValueError: it is not installed."""
    try:
        import ray  # here, since only a cluster needs it
    except ImportError:
        how = "say pip install \".[cluster]\" in a checkout, elsewhere pip install ray, or use the engine 'local'"
        raise ValueError(f"engine 'ray' needs the package ray, which is not installed: {how}") from None
    return ray


def one_per_task(
    function: Callable[[Item, Any], Result],
    items: Sequence[Item],
    shared: Any,
    gpus: float | None = None,
    on_result: Callable[[Item, Result], None] = lambda item, result: None,
) -> list[Result]:
    """``[function(item, shared) for item in items]``, each a task of a Ray cluster; ``shared`` is sent there once.

    A task takes one core and this share of a GPU, by default a whole one where the cluster has any, and is done again
    elsewhere if its worker dies. ``on_result`` is called here as they end. The variable RAY_ADDRESS names the cluster;
    without it, Ray starts one of this machine. ValueError: Ray is not installed.
    """

    def task(item: Item, shared: Any) -> Result:
        torch.set_num_threads(1)
        return function(item, shared)

    ray = require_ray()
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    if gpus is None:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0  # a task with no share sees no GPU
    start = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(task).remote
    stored = ray.put(shared)
    started = {start(item, stored): place for place, item in enumerate(items)}
    results: dict[int, Result] = {}
    waiting = list(started)
    # Ray prints what befalls its workers to stdout, even without log_to_driver; there only the outcome belongs.
    with redirect_stdout(sys.stderr):
        while waiting:
            done, waiting = ray.wait(waiting)
            for reference in done:
                place = started[reference]
                results[place] = ray.get(reference)
                on_result(items[place], results[place])
    return [results[place] for place in range(len(items))]
