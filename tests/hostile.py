"""Do to runs and reports what disks, machines and people do, and print a table of how each trial ended.

python -m tests.hostile          all trials, about two minutes on an idle core; Linux alone
python -m tests.hostile WORD     those whose group or name holds the word

Each runs in a forked process of its own, in an empty folder. It is as it should be if the process ends as the trial
says, in one sentence without a traceback, if nothing is lost, and if the same command then leads to the very figures of
an undisturbed run.
"""

import argparse
import contextlib
import errno
import fcntl
import functools
import itertools
import json
import os
import re
import resource
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "lib"))

from outcomes import figures, made_up
from run_processes import fork, prepare_to_fork
from test_datasets import WRONG as WRONG_IMAGES
from test_datasets import make_folder
from test_records import NOT_RECORDS

from resnet_lib.experiments import degradation_grid
from resnet_lib.records import FORMAT as RECORD
from resnet_lib.records import load_records, save_record

GRID = degradation_grid(depths=[8], seeds=1, width=2, epochs=2, images=200)
COMMAND = "degradation --depths 8 --seeds 1 --width 2 --epochs 2 --images 200 --device cpu --out runs"
LONG = COMMAND.replace("--epochs 2", "--epochs 40")
SLOW = "degradation --depths 56 --seeds 1 --width 64 --epochs 2 --device cpu --out runs"
PATIENCE = 120.0  # seconds
NAME = GRID[0].file_name
Trial = Callable[[], str | None]  # what is not as it should be


class Ended(NamedTuple):
    code: int  # negative: by this signal
    out: str
    err: str


def start(command: str, before: Callable[..., Any] | None = None) -> BaseProcess:
    return fork(shlex.split(command), "out", "err", before)


def wait(process: BaseProcess) -> Ended:
    process.join(PATIENCE)
    process.kill()
    process.join()
    out, err = (Path(name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err"))
    return Ended(process.exitcode, out, err)


def complaint(ended: Ended, code: int, words: str) -> str | None:
    """What is wrong with an end that should have this code, and a last line that matches the words."""
    last = ended.err.rstrip().rpartition("\n")[2]
    as_said = ended.code == code and "Traceback" not in ended.err and re.search(words, last or ended.out)
    return None if as_said else f"ended with {ended.code}: {last[:150]}"


def says(code: int, words: str, command: str, before: Callable[..., Any] | None = None) -> str | None:
    return complaint(wait(start(command, before)), code, words)


def outcome(command: str) -> tuple[dict[str, str], set[str]]:
    """The figures of the runs, by the names of their records, and whatever else lies in the folder."""
    ended = wait(start(command))
    records = [] if ended.code else load_records(Path("runs"))
    found = {record.recipe.file_name: figures(record) for record in records}
    return found, {path.name for path in Path("runs").iterdir()} - found.keys()


@functools.cache
def undisturbed(command: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return outcome(command)[0]


def again(command: str = COMMAND, leaves: str = "") -> str | None:
    """What is wrong with what the same command now comes to."""
    found, others = outcome(command)
    wanted = undisturbed(command), {leaves} - {""}
    return None if (found, others) == wanted else f"other figures than undisturbed, or other files: {others}"


def survives(code: int, words: str, before: Callable[..., Any]) -> str | None:
    return says(code, words, COMMAND, before) or again()


# What disks and machines do

OPERATIONS = {"open": (Path, "open"), "fsync": (os, "fsync"), "replace": (os, "replace"), "unlink": (os, "unlink")}


def strike(operation: str, number: int, after: bool, blow: Callable[..., Any]) -> None:
    """Let the blow fall before or after the operation's so-manieth call."""
    owner, name = OPERATIONS[operation]
    whole, calls = getattr(owner, name), []

    def struck(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == number and not after:
            blow()
        try:
            return whole(*args, **options)
        finally:
            if len(calls) == number and after:
                blow()

    setattr(owner, name, struck)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(code: int, *args: Any) -> None:
    raise OSError(code, os.strerror(code))


def close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
        setattr(sys, {1: "stdout", 2: "stderr"}[descriptor], None)


def short_of_memory() -> str | None:
    held = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_AS, (held + 300_000_000,) * 2)
    return says(1, "too little memory", COMMAND.replace("--width 2", "--width 3000"), limit)


# What people do


def interrupted(number: int, times: int, code: int, words: str, command: str = LONG) -> str | None:
    """So many signals in the midst of runs; what is lost is at most the epoch under way."""
    process = start(command)
    while not list(Path("runs").glob("*.checkpoint" if command == LONG else "*.lock")):
        time.sleep(0.001)
    for _ in range(times):
        time.sleep(0.02 if command == LONG else 1)
        os.kill(process.pid, number)
    begun = time.monotonic()
    problem = complaint(wait(process), code, words)
    if command == SLOW:
        return problem or ("it took its time" if time.monotonic() - begun > 1 else None)
    return problem or again(LONG)


def typed(arguments: str, code: int, words: str) -> str | None:
    problem = says(code, words, arguments)
    return problem or (f"left {os.listdir()}" if {*os.listdir()} - {"out", "err"} else None)


# What lies in folders


def found(content: bytes | Callable[[Path], Any]) -> str | None:
    """A file in a record's place: it is set aside as it was, the run is done, and a report passes it over."""
    path = Path("runs", NAME)
    path.parent.mkdir()
    content(path) if callable(content) else path.write_bytes(content)
    problem = again(leaves=f"{NAME}.set-aside")
    aside = path.with_name(f"{NAME}.set-aside")
    if not problem and isinstance(content, bytes) and aside.read_bytes() != content:
        problem = "its content was changed"
    if not problem:
        aside.rename(path.with_name("stranger.json"))
        listed = says(0, "", "report runs") or Path("out").read_text(encoding="utf-8")
        problem = None if "\n  stranger.json: " in listed else listed
    return problem


def pictures(place: str, spoil: Callable[[Path], Any], words: str) -> str | None:
    """A folder of images of which something is spoilt."""
    make_folder(Path("images"))
    spoil(Path("images", place))
    return says(2, words, f"{COMMAND} --dataset folder:images")


def long_name() -> str | None:
    make_folder(Path("x" * 255))
    return says(0, "", COMMAND.replace("--images 200", f"--dataset folder:{'x' * 255}"))


def many_recipes() -> str | None:
    for seed in range(2000):
        recipe = degradation_grid([8], ["none"], 1, width=seed + 1, epochs=1)[0]
        save_record(made_up(recipe), Path("runs"))
    return says(0, "", "report runs --out page.html")  # within our PATIENCE


# The table

STOPPED = "Stopped. The runs so far are in runs; the same command does the rest."
OF_ANOTHER_RUN = json.dumps({"format": RECORD, **asdict(made_up(GRID[1]))}).encode()
SPOILT: dict[str, bytes | Callable[[Path], Any]] = {
    **NOT_RECORDS,
    "another's recipe": OF_ANOTHER_RUN,
    "300 MB": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 300_000_000),
    "a pipe": os.mkfifo,
}
TYPED = {
    "--lr=-1": "--lr",
    f"--depths {6 * 10**30 + 2}": "--depths",
    "--dataset folder:/dev/null": "must hold a folder",
    "--out /dev/null": "out must be a folder",
    "--epochs two": "--epochs",
}


def trials() -> dict[tuple[str, str], Trial]:
    """What is done, by its group and name."""
    table: dict[tuple[str, str], Trial] = {}

    def add(group: str, name: str, trial: Callable[..., str | None], *args: Any, **options: Any) -> None:
        table[group, name] = functools.partial(trial, *args, **options)

    def hit(group: str, name: str, code: int, words: str, before: Callable[..., Any], *args: Any) -> None:
        add(group, name, survives, code, words, functools.partial(before, *args))

    for operation, number, after in itertools.product(OPERATIONS, (1, 2, 3), (False, True)):
        name = f"{'after' if after else 'before'} {operation} {number}"
        hit("killed", name, -signal.SIGKILL, "", strike, operation, number, after, kill)
    for operation, number, code in itertools.product(["open", "fsync", "replace"], (1, 3), (errno.ENOSPC, errno.EIO)):
        name, words = f"{errno.errorcode[code]} at {operation} {number}", re.escape(os.strerror(code))
        blow = functools.partial(fail, code)
        hit("disk", name, 1, f"{words}.*[Tt]he same command", strike, operation, number, False, blow)
    for code in (errno.ENOLCK, errno.EOPNOTSUPP):
        name, words = f"no locks ({errno.errorcode[code]})", "can't be locked .*: name a folder on another file system"
        hit("disk", name, 1, words, setattr, fcntl, "flock", functools.partial(fail, code))
    for limit, value, words in (("FSIZE", 10_000, "File too large"), ("NOFILE", 3, "Too many open files")):
        hit("limits", words, 1, words, resource.setrlimit, getattr(resource, f"RLIMIT_{limit}"), (value, value))
    add("limits", "too little memory", short_of_memory)
    for descriptors in ([1], [2], [1, 2]):
        hit("output", f"closed: {descriptors}", 0, "", close, *descriptors)
    add("signals", "one Ctrl-C", interrupted, signal.SIGINT, 1, 130, STOPPED)
    add("signals", "two Ctrl-C in the midst of an epoch", interrupted, signal.SIGINT, 2, 130, "Stopped at once", SLOW)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        add("signals", number.name, interrupted, number, 1, -number, "")
    for options, words in TYPED.items():
        add("typed", options[:40], typed, f"degradation --device cpu {options}", 2, words)
    add("typed", "paper-cifar10 without a GPU", typed, "paper-cifar10", 2, "days.* --device cpu")
    for name, content in SPOILT.items():
        add("records", name, found, content)
    add("records", "2,000 recipes on one page", many_recipes)
    add("typed", "--out ~nobody", says, 0, "", COMMAND.replace("runs", "~nobody"))
    add("images", "a folder with a long name", long_name)
    for name, case in WRONG_IMAGES.items():
        add("images", name, pictures, *case)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("word", nargs="?", default="", metavar="WORD", help="only trials whose group or name holds it")
    word = parser.parse_args().word
    prepare_to_fork()
    chosen = {key: trial for key, trial in trials().items() if word in " ".join(key)}
    problems = 0
    for (group, name), trial in chosen.items():
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            problem = trial()
        problems += problem is not None
        print(f"{group:12} {name:42} {problem or 'as it should be'}", flush=True)
    print(f"{len(chosen) - problems} of {len(chosen)} trials ended as they should")
    sys.exit(problems > 0)


if __name__ == "__main__":
    main()
