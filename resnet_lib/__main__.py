"""The command line: ``python -m resnet_lib degradation`` measures the degradation problem."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from resnet_lib import __version__
from resnet_lib._arguments import SHORTCUTS
from resnet_lib.datasets import DATASETS
from resnet_lib.experiments import degradation_grid, format_table, make_folder, run_grid
from resnet_lib.records import Recipe, Record
from resnet_lib.training import DEVICES, choose_device


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses in one line instead of printing its usage first."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (--help lists the options)", file=sys.stderr)
        sys.exit(2)


def build_parser() -> Parser:
    parser = Parser(prog="python -m resnet_lib", description="Experiments on residual networks.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    help_line = "train plain and residual networks of several depths and compare their training errors"
    degradation = commands.add_parser(
        "degradation",
        help=help_line,
        description=f"{help_line[0].upper()}{help_line[1:]}.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = degradation.add_argument
    add("--dataset", choices=DATASETS, default="digits", help="the images")
    add("--depths", type=int, nargs="+", default=[8, 20, 56], metavar="N", help="weight layers, 6n+2")
    add("--shortcuts", nargs="+", choices=SHORTCUTS, default=["none", "A"], help="the paper's options; none is plain")
    add("--seeds", type=int, default=3, metavar="N", help="runs of each network")
    add("--epochs", type=int, default=10, metavar="N", help="passes over the training images")
    add("--lr", type=float, default=0.1, metavar="X", help="highest learning rate")
    add("--width", type=int, default=8, metavar="N", help="channels of the first stage")
    add("--batch-size", type=int, default=128, metavar="N", help="images in a step")
    add("--device", choices=DEVICES, default="auto", help="where to train; auto takes a GPU if there is one")
    add("--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of the records, one file a run")
    add("--json", action="store_true", help="print the runs as one JSON document instead of the table")
    return parser


def plan_degradation(args: argparse.Namespace) -> list[Recipe]:
    """The recipes to run, having checked that they can: what fails later is no fault of the command."""
    recipes = degradation_grid(
        args.depths,
        args.shortcuts,
        args.seeds,
        dataset=args.dataset,
        epochs=args.epochs,
        lr=args.lr,
        width=args.width,
        batch_size=args.batch_size,
    )
    choose_device(args.device)
    make_folder(args.out)
    return recipes


def run_degradation(args: argparse.Namespace, recipes: Sequence[Recipe]) -> None:
    try:
        records = run_grid(recipes, args.out, args.device)
    except KeyboardInterrupt:
        print(f"Stopped. The finished runs are in {args.out}; the same command does the rest.", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        print(f"A record can't be written: {error}. The finished runs are in {args.out}.", file=sys.stderr)
        sys.exit(1)
    if args.json:
        print(json.dumps({"runs": [describe(record) for record in records]}, indent=1))
    else:
        print(f"{args.dataset}, width {args.width}, {args.epochs} epochs, batch {args.batch_size}, lr {args.lr:g}")
        print(format_table(records))
        print(f"mean ± standard deviation over seeds; records in {args.out}")


def describe(record: Record) -> dict:
    """A record as ``--json`` prints it: the recipe's fields beside the outcome's, errors in percent."""
    fields = asdict(record)
    return {**fields.pop("recipe"), **fields}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser()
    args = parser.parse_args(arguments)
    try:
        recipes = plan_degradation(args)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    run_degradation(args, recipes)


if __name__ == "__main__":
    main()
