"""Networks side by side: one on each core, in one thread, since small layers gain nothing from a second one."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_seeding = threading.Lock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw PyTorch's random numbers from this seed, and leave the caller's state as it was; one thread at a time.

    >>> with seeded(0):
    ...     first = torch.rand(1)
    >>> with seeded(0):
    ...     print(torch.equal(first, torch.rand(1)))
    True
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
    except BaseException:
        if stop is not None:
            stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(cores)
