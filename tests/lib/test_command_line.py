"""The command line prints one table or one JSON document, and refuses in one line."""

import errno
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from outcomes import CPU

from resnet_lib import __main__ as command_line
from resnet_lib.__main__ import build_parser, main
from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.recipes import Recipe, paper_grid
from resnet_lib.records import Record, format_table, load_records

TINY = ["--depths", "8", "--seeds", "1", "--epochs", "1", "--width", "2", "--device", "cpu"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    """No test may leave records in the folder from which pytest was started."""
    monkeypatch.chdir(tmp_path)


def ended(capsys, code: int, *arguments: str) -> str:
    """The one line with which the command line ends with this exit code, having printed nothing else."""
    with pytest.raises((SystemExit, KeyboardInterrupt)) as caught:  # a stray KeyboardInterrupt would end pytest
        main(arguments)
    out, err = capsys.readouterr()
    assert caught.type is SystemExit and caught.value.code == code and out == ""
    assert "Traceback" not in err and err.endswith("\n")
    return err.splitlines()[-1]


def refused(capsys, *arguments: str) -> str:
    line = ended(capsys, 2, *arguments)
    assert line.startswith("python -m resnet_lib") and not list(Path().glob("*.json"))
    return line


# What it prints


def test_the_table_shows_the_mean_errors_and_the_same_command_again_trains_nothing(capsys, monkeypatch):
    main(["degradation", *TINY, "--out", "here"])
    out, err = capsys.readouterr()
    records = load_records(Path("here"))
    assert len(records) == 2 == len(list(Path("here").iterdir()))
    settings, *table, below = out.splitlines()
    assert settings.startswith("digits, width 2, 1 epoch, batch 128, learning rate 0.1 (one-cycle), ")
    assert table == format_table(records).splitlines() and "here" in below
    assert "100%" in err and "%|" not in out, "progress goes to stderr"
    monkeypatch.setattr(torch.optim, "SGD", lambda *args, **settings: pytest.fail("a run was done again"))
    main(["degradation", *TINY, "--out", "here"])
    assert capsys.readouterr() == (out, "")


# The options


def parsed(*arguments: str) -> dict:
    return vars(build_parser().parse_args(arguments))


RUNNING = {"device": "auto", "engine": "local", "gpus_per_run": None, "out": Path("runs")}
DEFAULTS = {
    "degradation": {"dataset": "digits", "depths": [8, 20, 56], "shortcuts": ["none", "A"], "seeds": 3, "epochs": 10}
    | {"lr": 0.1, "width": 8, "batch_size": 128, "images": None, "augment": False, "precision": "float32"},
    "paper-cifar10": {"dataset": "cifar10", "seeds": 5, "precision": "auto"},
}


@pytest.mark.parametrize("command", DEFAULTS)
def test_the_defaults_are_the_books_and_the_papers_and_help_names_them(command, capsys):
    defaults = {**DEFAULTS[command], **RUNNING, "data": Path("data")}
    assert parsed(command) == {"command": command, **defaults}
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert caught.value.code == 0
    for option, default in defaults.items():
        assert f"--{option.replace('_', '-')}" in text
        assert default is None or default is False or f"(default: {default})" in text
    assert "share of a GPU that a run takes (default: 1 where the cluster has any, else 0)" in text
    assert "(default: None)" not in text and "(default: False)" not in text


def test_a_tilde_is_the_home_folder_wherever_a_path_is_typed(monkeypatch):
    monkeypatch.setenv("HOME" if os.name != "nt" else "USERPROFILE", str(Path("home").absolute()))
    args = parsed("degradation", "--out=~/runs", "--data", "~/data")
    report = parsed("report", "~/runs", "--out=~/x.html")
    assert [args["out"], args["data"], report["folder"], report["out"]] == [
        Path("home").absolute() / name for name in ("runs", "data", "runs", "x.html")
    ]


@pytest.fixture
def grids(monkeypatch) -> list[tuple]:
    """What `run_grid` was asked for, instead of running it."""
    asked = []

    def pretend_to_run(recipes, *rest) -> list[Record]:
        asked.append((recipes, *rest))
        return [Record(recipes[0], 1.0, 2.0, 2.0, None, 0.5, {}, 0.5, 100.0)]

    monkeypatch.setattr(command_line, "run_grid", pretend_to_run)
    return asked


def test_every_option_reaches_the_grid(grids, monkeypatch):
    monkeypatch.setattr(command_line, "check_engine", lambda *args: None)  # whether Ray is here does not matter
    options = "--dataset digits --depths 14 8 --shortcuts B C --seeds 2 --epochs 5 --lr 0.02 --width 4 --batch-size 64"
    more = "--images 1000 --augment --precision bfloat16 --device cpu --out there --engine ray --gpus-per-run 0.25"
    main(["degradation", *options.split(), *more.split()])
    ((recipes, out, device, dataset, engine, gpus_per_run),) = grids
    assert (out, device, dataset.name, engine, gpus_per_run) == (Path("there"), "cpu", "digits", "ray", 0.25)
    settings = {"epochs": 5, "batch_size": 64, "lr": 0.02, "images": 1000, "augment": True, "precision": "bfloat16"}
    assert recipes == [
        Recipe("digits", depth, shortcut, seed, width=4, **settings)
        for seed in (0, 1)
        for depth in (14, 8)
        for shortcut in ("B", "C")
    ]


def test_the_data_set_comes_from_the_folder_named_and_gives_the_recipes_its_name(grids, monkeypatch):
    others, loads = replace(load_dataset("digits"), name="others"), []
    monkeypatch.setattr(command_line, "load_dataset", lambda *args: loads.append(args) or others)
    main(["degradation", *TINY, "--dataset", "folder:pictures/mine", "--data", "kept"])
    ((recipes, _, _, dataset, *_),) = grids
    assert loads == [("folder:pictures/mine", Path("kept"))] and dataset is others
    assert {recipe.dataset for recipe in recipes} == {"others"}


@pytest.mark.parametrize(
    ("options", "seeds", "precision"),
    [("", 5, "bfloat16"), ("--seeds 2 --precision float32", 2, "float32")],
)
def test_paper_cifar10_asks_for_the_papers_grid_in_the_devices_fastest_precision(
    options, seeds, precision, grids, cifar10, capsys
):
    main(["paper-cifar10", "--device", "cpu", *options.split()])
    ((recipes, out, device, dataset, engine, _),) = grids
    assert recipes == paper_grid(seeds, "cifar10", precision)
    assert (out, device, dataset, engine) == (Path("runs"), "cpu", cifar10, "local")
    assert bool(options) != ("precision: bfloat16, the fastest on this device" in capsys.readouterr().err)


@pytest.fixture
def cifar10(monkeypatch) -> Dataset:
    """The digits are too few for the paper's 5,000 held-out images, so a made-up data set stands in for CIFAR-10."""
    pixels, labels = torch.zeros(50_000, 1, 1, 1, dtype=torch.uint8), torch.zeros(50_000, dtype=torch.int64)
    made = Dataset("cifar10", 10, pixels, labels, pixels[:1], labels[:1])
    monkeypatch.setattr(command_line, "load_dataset", lambda *args: made)
    monkeypatch.setattr(command_line, "choose_precision", lambda device: {"cpu": "bfloat16"}[device.type])
    return made


@pytest.mark.parametrize("suffix", [".json", ".checkpoint"])
def test_a_folder_goes_on_in_the_precision_that_its_runs_have(suffix, grids, cifar10, capsys):
    Path("runs").mkdir()
    for precision, then in {"float32": "float32", "bfloat16": "bfloat16"}.items():  # the second makes it two kinds
        begun = Path("runs", paper_grid(1, "cifar10", precision)[2].file_name).with_suffix(suffix)
        begun.touch()
        main(["paper-cifar10", "--device", "cpu"])
        assert {recipe.precision for recipe in grids[-1][0]} == {then}
        why = "as the runs in runs are" if then == "float32" else "the fastest on this device"
        assert f"precision: {then}, {why}" in capsys.readouterr().err


def test_paper_cifar10_without_a_gpu_says_what_it_would_cost_and_asks(capsys, monkeypatch):
    monkeypatch.setattr(command_line, "choose_device", lambda name: CPU)
    monkeypatch.setattr(command_line, "load_dataset", lambda *args: pytest.fail("a download was begun"))
    assert re.search(
        r"45 runs .* would take this CPU [1-9]\d* days.*say --device cpu", refused(capsys, "paper-cifar10")
    )
    monkeypatch.setattr(command_line, "check_engine", lambda *args: None)
    for here, engine in ((torch.device("cuda"), "local"), (CPU, "ray")):  # whose cluster may have GPUs
        monkeypatch.setattr(command_line, "choose_device", lambda name, here=here: here)
        with pytest.raises(pytest.fail.Exception, match="a download was begun"):
            main(["paper-cifar10", "--engine", engine])


def test_a_last_batch_of_one_tiny_image_is_refused_before_any_run(grids, capsys, monkeypatch):
    pixels, labels = torch.zeros(129, 1, 4, 4, dtype=torch.uint8), torch.zeros(129, dtype=torch.int64)
    monkeypatch.setattr(command_line, "load_dataset", lambda *args: Dataset("tiny", 2, pixels, labels, pixels, labels))
    main(["degradation", "--device", "cpu", "--batch-size", "127"])
    assert len(grids) == 1 and capsys.readouterr()
    assert "--batch-size 64 leaves one tiny image" in refused(
        capsys, "degradation", "--device", "cpu", "--batch-size", "64"
    )


# What it refuses


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "COMMAND"),
        ("degradation --dataset mnist", "dataset mnist digits cifar10 fashion_mnist folder"),
        ("degradation --dataset folder:not-here", "not-here"),
        ("degradation --depths 8.0", "--depths int 8.0"),
        ("degradation --depths 8 55", "depth 55 50 56"),
        ("degradation --seeds 0", "seeds 0 1"),
        ("degradation --lr 1e308", "lr 1e+308 1e+30"),
        (f"degradation --width {10**30}", f"width 100,000 {10**30}"),
        ("probes --out x", "resnet_course probes"),
        ("class-report x", "resnet_course class-report"),
        ("degradation --device gpu", "--device gpu auto cpu cuda mps"),
        ("degradation --images 1438", "images 1438 1437 digits"),
        ("degradation --gpus-per-run -1", "gpus_per_run -1"),
        ("paper-cifar10 --dataset digits --device cpu", "held_out 5000 1437 digits"),
        ("report nowhere", "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_before_any_run(arguments, words, capsys, monkeypatch):
    monkeypatch.setattr(command_line, "run_grid", lambda *args: pytest.fail("a run was begun"))
    line = refused(capsys, *arguments.split())
    assert all(word in line for word in words.split()), line
    assert not list(Path().iterdir()), "nothing is written"


@pytest.mark.parametrize("command", ["resnet_lib report", "resnet_course class-report"])
def test_a_picture_format_that_matplotlib_does_not_know_is_refused_in_one_line(command):
    arguments = [sys.executable, "-m", *command.split(), *["."] * ("report" in command)]
    environment = {**os.environ, "MPLBACKEND": "misspelt"}
    done = subprocess.run(arguments, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 2 and "'misspelt' is not a valid value for backend" in done.stderr
    assert done.stderr.count("\n") == 1 and not list(Path().iterdir())


# What happens on the way


@pytest.mark.parametrize(
    ("place", "error", "code", "words"),
    [
        ("run_grid", KeyboardInterrupt(), 130, "Stopped here same"),
        ("load_dataset", KeyboardInterrupt(), 130, "Stopped same"),
        ("run_grid", OSError(errno.ENOSPC, "No space left on device"), 1, "No space here same"),
        ("make_folder", PermissionError(errno.EACCES, "Permission denied"), 1, "Permission denied"),
        ("run_grid", RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 1, "memory here"),
        ("run_grid", torch.OutOfMemoryError("CUDA out of memory."), 1, "memory here"),
    ],
    ids=repr,
)
def test_what_a_machine_or_a_person_does_ends_in_one_line(place, error, code, words, capsys, monkeypatch):
    def fail(*args):
        raise error

    monkeypatch.setattr(command_line, place, fail)
    line = ended(capsys, code, "degradation", *TINY, "--out", "here")
    assert all(word in line for word in words.split()), line


def test_a_gpu_that_fails_is_not_told_for_one_that_is_full(monkeypatch):
    failure = RuntimeError("CUDA error: an illegal memory access was encountered")
    monkeypatch.setattr(command_line, "run_grid", Mock(side_effect=failure))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        main(["degradation", *TINY])


def test_a_second_interrupt_ends_it_though_a_run_is_in_the_midst_of_an_epoch(capsys, monkeypatch):
    done = threading.Event()

    def be_interrupted_twice(*args):
        pool.submit(done.wait, 60)
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "run_grid", be_interrupted_twice)
    monkeypatch.setattr(os, "_exit", sys.exit)
    with ThreadPoolExecutor(1) as pool:
        try:
            assert ended(capsys, 130, "degradation", *TINY).startswith("Stopped at once. The runs so far are in runs;")
        finally:
            done.set()


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("a bug")], ids=repr)
def test_a_bug_is_not_passed_off_as_a_wrong_option(error, monkeypatch):
    def stumble(*args):
        raise error

    monkeypatch.setattr(command_line, "run_grid", stumble)
    with pytest.raises(type(error), match="a bug"):
        main(["degradation", *TINY])


def test_a_reader_that_leaves_and_a_closed_output_end_it_quietly(monkeypatch, capsys):
    main(["degradation", *TINY])
    capsys.readouterr()
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as nobody_reads:
        monkeypatch.setattr(sys, "stdout", nobody_reads)
        with pytest.raises(SystemExit):
            main(["report", "runs"])
    monkeypatch.setattr(sys, "stdout", None)
    main(["report", "runs"])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", None)
    main(["degradation", *TINY, "--out", "other"])
    assert len(load_records(Path("other"))) == 2
