"""The command line: ``python -m resnet_lib`` measures the degradation problem, small or at the paper's scale."""

import argparse
import io
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch

from resnet_lib import __version__, cifar_resnet
from resnet_lib.arithmetic import cifar_resnet_cost
from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.environment import DEVICES, choose_device
from resnet_lib.experiments import ENGINES, check_engine, degradation_grid, run_grid
from resnet_lib.fast import TRAINED_IN, choose_precision
from resnet_lib.files import check_folder, make_folder
from resnet_lib.recipes import SHORTCUTS, Recipe, describe_recipe, paper_grid
from resnet_lib.records import format_table


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Names the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default is None or action.default is False
        return action.help if silent else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses in one line instead of printing its usage first, and names the defaults."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


@contextmanager
def ending_well(parser: Parser, kept: str = "The same command goes on.") -> Iterator[None]:
    """Let a mistake, an interrupt, a full disk or too little memory end in one line, and a closed pipe in none."""
    for name in ("stdout", "stderr"):  # closed, its number would go to the next file, and prints into it
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):  # a console may lack a letter of somebody's name
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        if any(thread.name.startswith("ThreadPool") for thread in threading.enumerate()):  # in the midst of an epoch
            print(f"Stopped at once. {kept}", file=sys.stderr, flush=True)
            os._exit(130)
        parser.exit(130, f"Stopped. {kept}\n")
    except OSError as error:
        parser.exit(1, f"{parser.prog}: {error}. {kept}\n")
    except (MemoryError, RuntimeError) as error:
        if "memory" not in f"{type(error).__name__} {error}".lower().replace("illegal memory access", ""):
            raise
        parser.exit(1, f"{parser.prog}: there is too little memory for networks or batches of this size. {kept}\n")


def a_path(text: str) -> Path:
    """A path as it was typed, with ~ for the home folder, which the shell leaves alone in --out=~/runs."""
    return Path(os.path.expanduser(text))


def build_parser() -> Parser:
    parser = Parser(prog="python -m resnet_lib", description="Experiments on residual networks.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    helps = "train plain and residual networks of several depths and compare their training errors"
    degradation = commands.add_parser("degradation", help=helps, description=helps)
    add_dataset(degradation, "digits")
    add = degradation.add_argument
    add("--depths", type=int, nargs="+", default=[8, 20, 56], metavar="N", help="weight layers, 6n+2")
    add("--shortcuts", nargs="+", choices=SHORTCUTS, default=["none", "A"], help="the paper's options; none is plain")
    add("--seeds", type=int, default=3, metavar="N", help="runs of each network")
    add("--epochs", type=int, default=10, metavar="N", help="passes over the training images")
    add("--lr", type=float, default=0.1, metavar="X", help="highest learning rate")
    add("--width", type=int, default=8, metavar="N", help="channels of the first stage")
    add("--batch-size", type=int, default=128, metavar="N", help="images in a step")
    add("--images", type=int, metavar="N", help="train on so many images instead of all")
    add("--augment", action="store_true", help="crop and mirror the training images at random")
    add_running(degradation, "float32")

    helps = "run the paper's CIFAR-10 experiments by its own recipe: 64k iterations a network, for a GPU"
    paper = commands.add_parser("paper-cifar10", help=helps, description=helps)
    add_dataset(paper, "cifar10")
    paper.add_argument("--seeds", type=int, default=5, metavar="N", help="runs of each network")
    add_running(paper, "auto")

    helps = "say what the records in a folder show: as text or as a page"
    report = commands.add_parser("report", help=helps, description=helps)
    report.add_argument("folder", type=a_path, metavar="DIR", help="folder of the records")
    report.add_argument(
        "--out", type=a_path, metavar="FILE", help="write a page with curves, .html, instead of printing"
    )
    return parser


def add_dataset(command: Parser, default: str) -> None:
    names = "digits, cifar10, fashion_mnist, or folder:PATH for images in PATH/train/CLASS and PATH/test/CLASS"
    command.add_argument("--dataset", default=default, metavar="NAME", help=names)
    command.add_argument("--data", type=a_path, default=Path("data"), metavar="DIR", help="folder of downloads")


def add_running(command: Parser, precision: str) -> None:
    add = command.add_argument
    add("--device", choices=DEVICES, default="auto", help="where to train; auto takes a GPU if there is one")
    add("--precision", choices=("auto", *TRAINED_IN), default=precision, help="auto: as begun, or the device's fastest")
    add("--engine", choices=ENGINES, default="local", help="ray makes every run a task of a Ray cluster")
    share = "with ray: share of a GPU that a run takes (default: 1 where the cluster has any, else 0)"
    add("--gpus-per-run", type=float, metavar="X", help=share)
    add("--out", type=a_path, default=Path("runs"), metavar="DIR", help="folder of the records, one file a run")


def plan(args: argparse.Namespace) -> tuple[list[Recipe], Dataset]:
    """What to run on which images, having checked that it can: what fails later is no fault of the command."""
    device = choose_device(args.device)
    check_engine(args.engine, args.out, args.gpus_per_run)

    def recipes_for(dataset: str, precision: str) -> list[Recipe]:
        if args.command == "paper-cifar10":
            return paper_grid(args.seeds, dataset, precision)
        names = ("epochs", "lr", "width", "batch_size", "images", "augment")
        settings = {"dataset": dataset, "precision": precision, **{name: getattr(args, name) for name in names}}
        return degradation_grid(args.depths, args.shortcuts, args.seeds, **settings)

    recipes = recipes_for("unknown yet", "float32")  # refuse wrong numbers before a long download
    check_folder(args.out)
    if args.command == "paper-cifar10" and args.device == "auto" and args.engine == "local" and device.type == "cpu":
        raise ValueError(f"{cost_on_a_cpu(recipes)} To begin all the same, say --device cpu")
    dataset = load_dataset(args.dataset, args.data)
    if args.precision != "auto":
        recipes = recipes_for(dataset.name, args.precision)
    else:
        begun = {file.stem for file in args.out.glob("*")}
        grids = [recipes_for(dataset.name, kind) for kind in TRAINED_IN]
        kinds = [grid for grid in grids if {Path(recipe.file_name).stem for recipe in grid} & begun]
        recipes = kinds[0] if len(kinds) == 1 else recipes_for(dataset.name, choose_precision(device))
        why = f"as the runs in {args.out} are" if len(kinds) == 1 else "the fastest on this device"
        print(f"precision: {recipes[0].precision}, {why}", file=sys.stderr)
    check_images(recipes[0], dataset)
    make_folder(args.out)
    return recipes, dataset


def check_images(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse more images than there are, and a batch from which BatchNorm would get one value a channel."""
    part, *_ = dataset.part(recipe.images, recipe.held_out)
    leaves_one = (len(part.train_labels) - 1) % recipe.batch_size == 0
    if leaves_one and max(part.train_images.shape[2:]) <= 4:
        raise ValueError(f"--batch-size {recipe.batch_size} leaves one tiny image, too few for BatchNorm: name another")


def cost_on_a_cpu(recipes: Sequence[Recipe]) -> str:
    """What a grid on CIFAR-10 would cost here, by its multiply-adds and the time that one step takes for its own."""
    macs = {r.depth: cifar_resnet_cost(r.depth, width=r.width).macs for r in recipes}
    model, images = cifar_resnet(20), torch.rand(128, 3, 32, 32)
    for _ in range(2):  # the first one warms up
        start = time.perf_counter()
        model(images).sum().backward()
    seconds = (time.perf_counter() - start) / (len(images) * macs[20])  # of a multiply-add of an image
    work = sum(macs[recipe.depth] * recipe.epochs * 45_000 for recipe in recipes)
    days = max(1, round(seconds * work / 86_400))
    return f"{len(recipes)} runs want a GPU, and there is none here: they would take this CPU {days} days."


def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser()
    given = sys.argv[1:] if arguments is None else arguments
    with ending_well(parser):
        if given and given[0] in ("probes", "class-report"):  # which this command line once had
            parser.error(f"{given[0]} is a command of the course now: say python -m resnet_course {given[0]}")
        args = parser.parse_args(given)
        try:
            from resnet_lib.report import make_report  # here, since Matplotlib refuses a misspelt MPLBACKEND

            if args.command == "report":
                print(make_report(args.folder, args.out))
                return
            recipes, dataset = plan(args)
        except ValueError as error:
            parser.error(str(error))
    with ending_well(parser, f"The runs so far are in {args.out}; the same command does the rest."):
        records = run_grid(recipes, args.out, args.device, dataset, args.engine, args.gpus_per_run)
        print(describe_recipe(recipes[0]), format_table(records), sep="\n")
        print(f"mean ± standard deviation over seeds; records in {args.out}")


if __name__ == "__main__":
    main()
