"""One run in a folder: found finished, continued, or begun; never done twice, also not by two processes at once."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from resnet_lib.checkpoints import checkpoint_path
from resnet_lib.datasets import Dataset
from resnet_lib.files import remove_unfinished
from resnet_lib.recipes import Recipe
from resnet_lib.records import Record, find_record, save_record
from resnet_lib.training import train


class BusyError(RuntimeError):
    """Another process works on this run."""


def remove_leftovers(recipe: Recipe, folder: Path) -> None:
    """Remove what a process left of a finished run that was killed right after it wrote the record."""
    checkpoint = checkpoint_path(recipe, folder)
    lock = checkpoint.with_suffix(".lock")
    if lock.exists():
        with suppress(Timeout, OSError), FileLock(lock, timeout=0):
            checkpoint.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)


def run_in_folder(
    recipe: Recipe,
    dataset: Dataset,
    device: torch.device,
    folder: Path,
    on_epoch: Callable[[int, float], None] = lambda epochs, loss: None,
) -> Record:
    """The record of ``recipe`` in ``folder``, after training what is still missing of the run.

    The state after each epoch is kept in the folder until the record is written, so whatever ends the process, the
    next call goes on. While one process works on a run, it holds the run's lock, which the system takes from it when
    it ends, however it ends.

    Raises:
        BusyError: another process works on this run.
    """
    checkpoint = checkpoint_path(recipe, folder)
    lock = checkpoint.with_suffix(".lock")
    try:
        with FileLock(lock, timeout=0):
            record = find_record(recipe, folder)
            if record is None:  # else another process has just ended it
                remove_unfinished(checkpoint)
                remove_unfinished(folder / recipe.file_name)
                record = train(recipe, dataset, device, on_epoch, checkpoint)
                save_record(record, folder)
            checkpoint.unlink(missing_ok=True)
    except Timeout:
        raise BusyError(f"another process works on {recipe.name} in {folder}") from None
    # The record is there, so it no longer matters who holds the lock; Windows refuses if another process does.
    with suppress(OSError):
        lock.unlink(missing_ok=True)
    return record
