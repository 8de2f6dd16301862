"""The command line prints one table or one JSON document, and refuses in one line."""

import errno
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

import resnet_lib
from resnet_lib import __main__ as command_line
from resnet_lib.__main__ import build_parser, main
from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.recipes import Recipe, paper_grid
from resnet_lib.records import Record, format_table, load_records

PATIENCE = 300  # seconds; a busy machine can be ten times slower than usual
TINY = ["--depths", "8", "--seeds", "1", "--epochs", "1", "--width", "2", "--device", "cpu"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    """No test may leave records in the folder from which pytest was started."""
    monkeypatch.chdir(tmp_path)


def refused(capsys, *arguments: str) -> str:
    """The one line with which the command line refuses, having checked that it is one, with exit code 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()
    assert caught.value.code == 2 and out == ""
    assert err.endswith("\n") and err.count("\n") == 1 and "Traceback" not in err
    assert err.startswith("python -m resnet_lib")
    return err


# What it prints


def test_the_table_shows_the_mean_errors_and_the_records_lie_under_out(capsys):
    main(["degradation", *TINY, "--out", "here"])
    lines = capsys.readouterr().out.splitlines()
    records = load_records(Path("here"))
    assert len(records) == 2
    assert lines[0].startswith("digits, width 2, 1 epoch, batch 128, learning rate 0.1 (one-cycle), ")
    assert not [path.name for path in Path("here").iterdir() if path.suffix != ".json"]
    assert lines[1:4] == format_table(records).splitlines()
    assert lines[4:] == ["mean ± standard deviation over seeds; records in here"]


def test_json_is_one_document_with_every_run(capsys):
    main(["degradation", *TINY, "--seeds", "2", "--out", "here", "--json"])
    document = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert list(document) == ["runs"]
    runs = document["runs"]
    assert [(run["depth"], run["shortcut"], run["seed"]) for run in runs] == [
        (8, "none", 0),
        (8, "A", 0),
        (8, "none", 1),
        (8, "A", 1),
    ]
    records = {(record.recipe.shortcut, record.recipe.seed): record for record in load_records(Path("here"))}
    for run in runs:
        record = records[run["shortcut"], run["seed"]]
        for field in fields(Record):
            assert field.name == "recipe" or run[field.name] == getattr(record, field.name)
        for field in fields(Recipe):
            assert run[field.name] == getattr(record.recipe, field.name)
        assert 0 <= run["train_error"] <= 100 and 0 <= run["test_error"] <= 100
        assert run["train_error"] * 1437 / 100 == pytest.approx(round(run["train_error"] * 1437 / 100)), "in percent"
        assert math.isfinite(run["train_loss"])


def test_a_diverged_run_is_still_a_json_document(capsys):
    main(["degradation", *TINY, "--lr", "1e30", "--shortcuts", "none", "--json"])
    (run,) = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))["runs"]
    assert run["train_loss"] is None and 0 <= run["train_error"] <= 100


def test_the_same_command_again_prints_the_same_and_trains_nothing(capsys, monkeypatch):
    command = ["degradation", *TINY, "--json"]
    main(command)
    first = capsys.readouterr()
    monkeypatch.setattr("resnet_lib.runs.train", lambda *args: pytest.fail("a run was done again"))
    main(command)
    second = capsys.readouterr()
    assert second.out == first.out and second.err == ""


def test_progress_goes_to_stderr(capsys):
    main(["degradation", *TINY])
    out, err = capsys.readouterr()
    assert "100%" in err and "left" in err and "%|" not in out


# The options


def parsed(*arguments: str) -> dict:
    return vars(build_parser().parse_args(arguments))


def test_the_defaults_are_the_books():
    assert parsed("degradation") == {
        "command": "degradation",
        "dataset": "digits",
        "data": Path("data"),
        "depths": [8, 20, 56],
        "shortcuts": ["none", "A"],
        "seeds": 3,
        "epochs": 10,
        "lr": 0.1,
        "width": 8,
        "batch_size": 128,
        "images": None,
        "augment": False,
        "device": "auto",
        "precision": "float32",
        "engine": "local",
        "gpus_per_run": 0,
        "out": Path("runs"),
        "json": False,
    }


def test_the_defaults_of_the_papers_experiments_are_the_papers():
    assert parsed("paper-cifar10") == {
        "command": "paper-cifar10",
        "dataset": "cifar10",
        "data": Path("data"),
        "seeds": 5,
        "device": "auto",
        "precision": "auto",
        "engine": "local",
        "gpus_per_run": 0,
        "out": Path("runs"),
        "json": False,
    }


@pytest.fixture
def grids(monkeypatch) -> list[tuple]:
    """What `run_grid` was asked for, instead of running it."""
    asked = []

    def pretend_to_run(recipes, *rest) -> list[Record]:
        asked.append((recipes, *rest))
        return [Record(recipes[0], 1.0, 2.0, 2.0, None, 0.5, {}, 0.5, 100.0)]

    monkeypatch.setattr(command_line, "run_grid", pretend_to_run)
    return asked


def test_every_option_reaches_the_grid(grids, monkeypatch, capsys):
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
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("digits, width 4, 5 epochs, batch 64, learning rate 0.02 (one-cycle), ")
    assert line.endswith("1000 training images, cropped and mirrored at random, bfloat16")


def test_the_data_set_comes_from_the_folder_named_and_gives_the_recipes_its_name(grids, monkeypatch):
    digits, loads = load_dataset("digits"), []
    others = replace(digits, name="others")
    monkeypatch.setattr(command_line, "load_dataset", lambda *args: loads.append(args) or others)
    main(["degradation", *TINY, "--dataset", "folder:pictures/mine", "--data", "kept"])
    ((recipes, _, _, dataset, *_),) = grids
    assert loads == [("folder:pictures/mine", Path("kept"))] and dataset is others
    assert {recipe.dataset for recipe in recipes} == {"others"}


# The digits are too few for the paper's 5,000 held-out images, so a made-up data set stands in for CIFAR-10.
CIFAR10 = Dataset(
    "cifar10",
    10,
    torch.zeros(50_000, 1, 1, 1, dtype=torch.uint8),
    torch.zeros(50_000, dtype=torch.int64),
    torch.zeros(1, 1, 1, 1, dtype=torch.uint8),
    torch.zeros(1, dtype=torch.int64),
)


@pytest.mark.parametrize(
    ("options", "seeds", "precision"),
    [("", 5, "float16"), ("--seeds 2 --precision float32", 2, "float32"), ("--precision bfloat16", 5, "bfloat16")],
)
def test_paper_cifar10_asks_for_the_papers_grid(options, seeds, precision, grids, monkeypatch):
    monkeypatch.setattr(command_line, "load_dataset", lambda *args: CIFAR10)
    monkeypatch.setattr(command_line, "choose_precision", lambda device: "float16")
    main(["paper-cifar10", "--device", "cpu", *options.split()])
    ((recipes, out, device, dataset, engine, _),) = grids
    assert recipes == paper_grid(seeds, "cifar10", precision)
    assert (out, device, dataset, engine) == (Path("runs"), "cpu", CIFAR10, "local")


def test_paper_cifar10_refuses_too_few_images_for_what_is_held_out(capsys):
    line = refused(capsys, "paper-cifar10", "--device", "cpu", "--dataset", "digits")
    assert "5000" in line and "1437" in line and "digits" in line


@pytest.mark.parametrize("command", ["degradation", "paper-cifar10"])
def test_precision_auto_takes_what_the_device_computes_fastest_in(command, grids, monkeypatch):
    monkeypatch.setattr(command_line, "load_dataset", lambda *args: CIFAR10)
    monkeypatch.setattr(command_line, "choose_precision", lambda device: {"cpu": "bfloat16"}[device.type])
    main([command, "--seeds", "1", "--device", "cpu", "--precision", "auto"])
    ((recipes, *_),) = grids
    assert {recipe.precision for recipe in recipes} == {"bfloat16"}


COMMON = ["auto", "local", "0", "runs"]
DEFAULTS = {
    "degradation": ["digits", "data", "[8, 20, 56]", "['none', 'A']", "3", "10", "0.1", "8", "128", "float32", *COMMON],
    "paper-cifar10": ["cifar10", "data", "5", *COMMON],
}


@pytest.mark.parametrize("command", ["degradation", "paper-cifar10"])
def test_help_names_every_option_with_its_default(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    out, err = capsys.readouterr()
    assert caught.value.code == 0 and err == ""
    for option in parsed(command):
        assert option == "command" or f"--{option.replace('_', '-')}" in out
    for default in DEFAULTS[command]:
        assert f"(default: {default})" in re.sub(r"\s+", " ", out)
    assert "(default: None)" not in out and "(default: False)" not in out


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    out, err = capsys.readouterr()
    assert caught.value.code == 0 and err == ""
    assert "degradation" in out and "paper-cifar10" in out and "report" in out


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0 and capsys.readouterr().out == f"{resnet_lib.__version__}\n"


# What it refuses


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "COMMAND"),
        ("degrade", "degrade"),
        ("--json degradation", "--json"),
        ("--vers", "COMMAND"),
        ("degradation --colour red", "--colour"),
        ("degradation extra", "extra"),
        ("degradation --depth 8", "--depth"),
        ("degradation --batch 8", "--batch"),
        ("degradation --dataset mnist", "dataset mnist digits cifar10 fashion_mnist folder"),
        ("degradation --dataset", "--dataset"),
        ("degradation --depths", "--depths"),
        ("degradation --depths deep", "--depths deep"),
        ("degradation --depths 8.0", "--depths 8.0"),
        ("degradation --depths 8,20", "--depths 8,20"),
        ("degradation --depths 8 55", "depth 55 50 56"),
        ("degradation --depths 9", "depth 9 8 14"),
        ("degradation --depths 2", "depth 2 8 14"),
        ("degradation --depths 0", "depth 0 8 14"),
        ("degradation --depths -8", "depth -8 8 14"),
        ("degradation --shortcuts", "--shortcuts"),
        ("degradation --shortcuts D", "--shortcuts D none A B C"),
        ("degradation --shortcuts a", "--shortcuts a none A B C"),
        ("degradation --shortcuts none A plain", "--shortcuts plain"),
        ("degradation --seeds 0", "seeds 0 1"),
        ("degradation --seeds -1", "seeds -1 1"),
        ("degradation --seeds 1.5", "--seeds 1.5"),
        ("degradation --seeds many", "--seeds many"),
        ("degradation --epochs 0", "epochs 0 1"),
        ("degradation --epochs -3", "epochs -3 1"),
        ("degradation --epochs ten", "--epochs ten"),
        ("degradation --lr 0", "lr 0"),
        ("degradation --lr -0.1", "lr -0.1"),
        ("degradation --lr nan", "lr nan"),
        ("degradation --lr inf", "lr inf"),
        ("degradation --lr 1e999", "lr inf"),
        ("degradation --lr fast", "--lr fast"),
        ("degradation --lr 0,1", "--lr 0,1"),
        ("degradation --width 0", "width 0 1"),
        ("degradation --width -8", "width -8 1"),
        ("degradation --width 2.5", "--width 2.5"),
        ("degradation --batch-size 0", "batch_size 0 1"),
        ("degradation --batch-size all", "--batch-size all"),
        ("degradation --device gpu", "--device gpu auto cpu cuda mps"),
        ("degradation --out", "--out"),
        ("degradation --json yes", "yes"),
        ("degradation --images 0", "images 0 1"),
        ("degradation --images -5", "images -5 1"),
        ("degradation --images 999999", "images 999999 1437 digits"),
        ("degradation --images 1438", "images 1438 1437 digits"),
        ("degradation --images many", "--images many"),
        ("degradation --augment yes", "yes"),
        ("degradation --precision foo", "--precision foo auto float32 bfloat16 float16"),
        ("degradation --engine foo", "--engine foo local ray"),
        ("degradation --gpus-per-run half", "--gpus-per-run half"),
        ("degradation --gpus-per-run -1", "gpus_per_run -1"),
        ("degradation --gpus-per-run nan", "gpus_per_run nan"),
        ("degradation --schedule steps", "--schedule"),
        ("degradation --data", "--data"),
        ("degradation --dataset folder:not-here", "not-here"),
        ("paper-cifar10 --dataset mnist", "dataset mnist digits cifar10"),
        ("paper-cifar10 --dataset digits", "held_out 5000 1437 digits"),
        ("paper-cifar10 --seeds 0", "seeds 0 1"),
        ("paper-cifar10 --precision foo", "--precision foo auto float32"),
        ("paper-cifar10 --engine foo", "--engine foo local ray"),
        ("paper-cifar10 --depths 20", "--depths"),
        ("paper-cifar10 --epochs 1", "--epochs"),
    ],
)
def test_a_wrong_option_or_value_is_refused_in_one_line_before_any_run(arguments, words, capsys, monkeypatch):
    monkeypatch.setattr("resnet_lib.runs.train", lambda *args: pytest.fail("a run was begun"))
    line = refused(capsys, *arguments.split())
    for word in words.split():
        assert word in line
    assert not list(Path().iterdir()), "nothing is written"


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_refused_in_one_line(device, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    line = refused(capsys, "degradation", *TINY, "--device", device)
    assert device in line and "'cpu' or 'auto'" in line
    assert not list(Path().iterdir())


@pytest.mark.parametrize("out", ["notes.txt", "notes.txt/runs"])
def test_an_out_that_is_a_file_is_refused_in_one_line_and_the_file_kept(out, capsys):
    Path("notes.txt").write_text("precious", encoding="utf-8")
    line = refused(capsys, "degradation", *TINY, "--out", out)
    assert "out must be a folder" in line and "notes.txt" in line
    assert Path("notes.txt").read_text(encoding="utf-8") == "precious"


def test_an_out_that_cannot_be_made_is_refused_in_one_line(capsys, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "Permission denied" in refused(capsys, "degradation", *TINY, "--out", "here")


@pytest.mark.parametrize("error", [TypeError("a bug"), ValueError("a bug"), KeyError("a bug")], ids=repr)
def test_a_bug_is_not_passed_off_as_a_wrong_option(error, capsys, monkeypatch):
    """What goes wrong inside a run is no fault of the command: it needs the traceback."""

    def stumble(*args):
        raise error

    monkeypatch.setattr("resnet_lib.runs.train", stumble)
    with pytest.raises(type(error), match="a bug"):
        main(["degradation", *TINY])


def test_an_interrupt_ends_in_one_line_and_exit_code_130(capsys, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "run_grid", interrupt)
    with pytest.raises((SystemExit, KeyboardInterrupt)) as caught:  # a stray KeyboardInterrupt would end pytest
        main(["degradation", *TINY, "--out", "here"])
    out, err = capsys.readouterr()
    assert caught.type is SystemExit and caught.value.code == 130 and out == ""
    assert err.count("\n") == 1 and "here" in err and "the same command does the rest" in err


@pytest.mark.parametrize("command", ["probes", "class-report"])
def test_a_command_that_moved_names_its_new_place(capsys, command):
    assert f"python -m resnet_course {command}" in refused(capsys, command, "somewhere")


def test_an_interrupt_while_the_images_load_ends_in_one_line_and_exit_code_130(capsys, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "load_dataset", interrupt)
    with pytest.raises((SystemExit, KeyboardInterrupt)) as caught:
        main(["degradation", *TINY])
    out, err = capsys.readouterr()
    assert caught.type is SystemExit and caught.value.code == 130 and out == ""
    assert err.count("\n") == 1 and "The same command goes on" in err


def test_a_disk_that_is_full_is_told_in_one_line_and_the_finished_runs_are_kept(capsys, monkeypatch):
    def fill_up(source, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr(os, "replace", fill_up)
        main(["degradation", *TINY, "--out", "here"])
    out, err = capsys.readouterr()
    assert caught.value.code == 1 and out == "" and "Traceback" not in err
    last = err.splitlines()[-1]
    assert "No space left" in last and "here" in last
    assert not [path.name for path in Path("here").iterdir() if path.suffix != ".lock"], "nothing half-written"
    main(["degradation", *TINY, "--out", "here"])
    assert len(load_records(Path("here"))) == 2


# The real thing


def start(folder: Path, *arguments: str, launch: tuple[str, ...] = ("-m", "resnet_lib")) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *launch, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(Path(resnet_lib.__file__).parents[1])},
    )


def test_python_m_resnet_lib_prints_the_table(tmp_path):
    process = start(tmp_path, "degradation", *TINY)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert out.splitlines()[1:4] == format_table(load_records(tmp_path / "runs")).splitlines()
    assert "Warning" not in err and "Traceback" not in err


# A shell that starts pytest in the background makes it, and what it starts, deaf to interrupts.
HEARING = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from resnet_lib.__main__ import main; main()"
)


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows an interrupt can't be sent to one process alone")
def test_ctrl_c_ends_without_a_traceback_and_leaves_the_finished_runs(tmp_path):
    process = start(tmp_path, "degradation", *TINY, "--seeds", "500", launch=("-c", HEARING))
    deadline = time.monotonic() + PATIENCE
    while len(list((tmp_path / "runs").glob("*.json"))) < 4 and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and out == ""
    assert "Traceback" not in err and err.splitlines()[-1].startswith("Stopped. The runs so far are in runs")
    assert 4 <= len(load_records(tmp_path / "runs")) < 1000
    besides = {path.suffix for path in (tmp_path / "runs").iterdir()} - {".json"}
    assert besides <= {".checkpoint", ".lock"}, "what the next start goes on from"
