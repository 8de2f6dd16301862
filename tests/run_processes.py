"""Runs in processes of their own, which can be killed at any moment and start in no time.

Run as a script, this file loads PyTorch and the digits once and then, for each order on its standard input, forks a
process that works as ``python -m resnet_lib`` does. What it adds is one line in a log for each epoch that begins.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

import torch

import resnet_lib
from resnet_lib.__main__ import main
from resnet_lib.datasets import load_dataset
from resnet_lib.training import Run

PATIENCE = 300  # seconds; a busy machine can be ten times slower than usual

# Elsewhere there is no fork, or not with PyTorch loaded.
CAN_FORK = sys.platform == "linux"


def prepare_to_fork() -> None:
    """Do all that takes time before the first fork, on one thread."""
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1)], lr=1.0)  # the first optimizer imports hundreds of modules
    load_dataset("digits")


def fork(arguments: Sequence[str], out: str, err: str, before: Callable[..., Any] | None = None) -> BaseProcess:
    """Start the command line in a process that first does something to itself."""
    process = multiprocessing.get_context("fork").Process(target=become_a_run, args=(arguments, out, err, before))
    process.start()
    return process


def become_a_run(arguments: Sequence[str], out: str, err: str, before: Callable[..., Any] | None) -> None:
    """What the forked process does, until its end."""
    for path, descriptor in ((os.devnull, 0), (out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), descriptor)
    # A shell that starts pytest in the background makes it, and what it starts, deaf to interrupts; nohup to SIGHUP.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if before:
        before()
    main(arguments)


@dataclass
class RunProcess:
    """One start of the command line."""

    processes: "RunProcesses"
    pid: int
    out_file: Path
    err_file: Path

    def signal(self, number: int) -> None:
        """Send a signal; it comes too late if the process has ended."""
        os.kill(self.pid, number)  # until it was waited for, its number is no one else's

    def kill(self) -> bool:
        """``kill -9``, and whether it came in time."""
        self.signal(signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def has_ended(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"

    def wait(self) -> int:
        """The exit code, once it has ended; that of a signal is negative."""
        return self.processes.ask({"wait": self.pid})

    @property
    def out(self) -> str:
        return self.out_file.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self.err_file.read_text(encoding="utf-8")


class RunProcesses:
    """Starts the command line again and again; what the processes print and log goes into a folder."""

    def print_into(self, folder: Path) -> None:
        """From now on, into another folder."""
        self.folder = folder
        self.log_file = folder / "log"
        self.started = 0

    def __enter__(self) -> Self:
        here = Path(resnet_lib.__file__).parents[1]
        self.server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(here), "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
        )
        assert self.server.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.stdin.close()  # it then kills what it has started, and ends
        self.server.wait(PATIENCE)
        self.server.stdout.close()

    def ask(self, order: dict) -> int:
        print(json.dumps(order), file=self.server.stdin, flush=True)
        return json.loads(self.server.stdout.readline())

    def start(self, *arguments: str | Path) -> RunProcess:
        self.started += 1
        out, err = (self.folder / f"{name}{self.started}" for name in ("out", "err"))
        err.touch()  # it may be looked at before the process has opened it
        order = {"arguments": list(map(str, arguments)), "out": str(out), "err": str(err), "log": str(self.log_file)}
        return RunProcess(self, self.ask({"start": order}), out, err)

    def epochs_begun(self) -> list[tuple[int, str, int]]:
        """The log so far: process, file name of the recipe, number of epochs that were done before."""
        lines = self.log_file.read_text(encoding="utf-8").splitlines() if self.log_file.exists() else []
        return [(int(pid), name, int(epoch)) for pid, name, epoch in map(str.split, lines)]


def wait_until(happened: Callable[[], bool], process: RunProcess) -> bool:
    """Whether it happened before the process ended."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if process.has_ended():
            return happened()
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.0005)
    return True


# The script


def serve() -> None:
    prepare_to_fork()
    runs: dict[int, BaseProcess] = {}
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "start" in order:
            log = order["start"].pop("log")
            run = fork(**order["start"], before=partial(note_each_epoch, log))
            runs[run.pid] = run
            print(run.pid, flush=True)
        else:
            run = runs.pop(order["wait"])
            run.join()
            print(run.exitcode, flush=True)
    for run in runs.values():
        run.kill()


def note_each_epoch(file: str) -> None:
    train_epoch = Run.train_epoch

    def noted(run: Run) -> None:
        with open(file, "a", encoding="utf-8") as log:
            log.write(f"{os.getpid()} {run.recipe.file_name} {run.epochs_done}\n")
        train_epoch(run)

    Run.train_epoch = noted


if __name__ == "__main__":
    serve()
