"""The command line: ``python -m resnet_lib`` measures the degradation problem, small or at the paper's scale."""

import argparse
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from resnet_lib import __version__
from resnet_lib._arguments import check_not_negative
from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.experiments import ENGINES, check_engine, degradation_grid, run_grid
from resnet_lib.fast import choose_precision
from resnet_lib.files import check_folder, make_folder
from resnet_lib.recipes import PRECISIONS, SHORTCUTS, Recipe, paper_grid
from resnet_lib.records import Record, format_table
from resnet_lib.report import compare, describe_recipe, make_report
from resnet_lib.training import DEVICES, choose_device

MOVED = ("probes", "class-report")  # to the command line of resnet_course


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses in one line instead of printing its usage first."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (--help lists the options)", file=sys.stderr)
        sys.exit(2)


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Names the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default is None or action.default is False
        return action.help if silent else super()._get_help_string(action)


def build_parser() -> Parser:
    parser = Parser(prog="python -m resnet_lib", description="Experiments on residual networks.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    degradation = add_command(
        commands,
        "degradation",
        "train plain and residual networks of several depths and compare their training errors",
    )
    add = degradation.add_argument
    add_dataset(degradation, "digits")
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

    paper = add_command(
        commands,
        "paper-cifar10",
        "run the paper's CIFAR-10 experiments by its own recipe: 64k iterations a network, for a GPU",
    )
    add_dataset(paper, "cifar10")
    paper.add_argument("--seeds", type=int, default=5, metavar="N", help="runs of each network")
    add_running(paper, "auto")

    report = add_command(commands, "report", "say what the records in a folder show: as text, a picture or a page")
    report.add_argument("folder", type=Path, metavar="DIR", help="folder of the records")
    report.add_argument("--out", type=Path, metavar="FILE", help="write .txt, .png or .html instead of printing")
    return parser


def add_command(commands: argparse._SubParsersAction, name: str, help_line: str) -> Parser:
    command = commands.add_parser(
        name,
        help=help_line,
        description=f"{help_line[0].upper()}{help_line[1:]}.",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    return command


def add_dataset(command: Parser, default: str) -> None:
    names = "digits, cifar10, fashion_mnist, or folder:PATH for images in PATH/train/CLASS and PATH/test/CLASS"
    command.add_argument("--dataset", default=default, metavar="NAME", help=names)
    command.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="folder of downloads")


def add_running(command: Parser, precision: str) -> None:
    add = command.add_argument
    add("--device", choices=DEVICES, default="auto", help="where to train; auto takes a GPU if there is one")
    add("--precision", choices=("auto", *PRECISIONS), default=precision, help="auto takes the device's fastest")
    add("--engine", choices=ENGINES, default="local", help="ray makes every run a task of a Ray cluster")
    add("--gpus-per-run", type=float, default=0, metavar="X", help="with ray: share of a GPU that a run takes")
    add("--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of the records, one file a run")
    add("--json", action="store_true", help="print the runs as one JSON document instead of the table")


def choose_recipes(args: argparse.Namespace, dataset: str, precision: str) -> list[Recipe]:
    if args.command == "paper-cifar10":
        return paper_grid(args.seeds, dataset, precision)
    return degradation_grid(
        args.depths,
        args.shortcuts,
        args.seeds,
        dataset=dataset,
        epochs=args.epochs,
        lr=args.lr,
        width=args.width,
        batch_size=args.batch_size,
        images=args.images,
        augment=args.augment,
        precision=precision,
    )


def plan(args: argparse.Namespace) -> tuple[list[Recipe], Dataset]:
    """What to run on which images, having checked that it can: what fails later is no fault of the command."""
    device = choose_device(args.device)
    check_engine(args.engine, args.out)
    check_not_negative("gpus_per_run", args.gpus_per_run)
    precision = choose_precision(device) if args.precision == "auto" else args.precision
    choose_recipes(args, "unknown yet", precision)  # refuse wrong numbers before a long download
    check_folder(args.out)
    dataset = load_dataset(args.dataset, args.data)
    recipes = choose_recipes(args, dataset.name, precision)
    dataset.part(recipes[0].images, recipes[0].held_out)
    make_folder(args.out)
    return recipes, dataset


def run(args: argparse.Namespace, recipes: Sequence[Recipe], dataset: Dataset) -> None:
    try:
        records = run_grid(recipes, args.out, args.device, dataset, args.engine, args.gpus_per_run)
    except KeyboardInterrupt:
        print(f"Stopped. The runs so far are in {args.out}; the same command does the rest.", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        print(f"A record can't be written: {error}. The runs so far are in {args.out}.", file=sys.stderr)
        sys.exit(1)
    if args.json:
        print(json.dumps({"runs": [describe(record) for record in records]}, indent=1))
    else:
        print(describe_recipe(next(iter(compare(records)))))
        print(format_table(records))
        print(f"mean ± standard deviation over seeds; records in {args.out}")


def describe(record: Record) -> dict:
    """A record as ``--json`` prints it: the recipe's fields beside the outcome's, errors in percent."""
    fields = asdict(record)
    return {**fields.pop("recipe"), **fields}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser()
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and given[0] in MOVED:
        parser.error(f"{given[0]} is a command of the course now: say python -m resnet_course {given[0]}")
    args = parser.parse_args(given)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a console may lack a letter of somebody's name
        sys.stdout.reconfigure(errors="replace")
    try:
        if args.command == "report":
            print(make_report(args.folder, args.out))
            return
        recipes, dataset = plan(args)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on.", file=sys.stderr)
        sys.exit(130)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    run(args, recipes, dataset)


if __name__ == "__main__":
    main()
