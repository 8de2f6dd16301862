"""The command line: ``python -m resnet_course`` measures what chapters 9 and 10 show, and gathers a class's runs."""

from collections.abc import Sequence
from pathlib import Path

from resnet_course.probes import MEASUREMENTS, record_measurements
from resnet_lib import __version__
from resnet_lib.__main__ import Parser, a_path, ending_well


def build_parser() -> Parser:
    parser = Parser(prog="python -m resnet_course", description="Probes, and a class's runs.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    helps = "make or continue the records of chapters 9 and 10: hours on two cores"
    probes = commands.add_parser("probes", help=helps, description=helps)
    add = probes.add_argument
    add("--out", type=a_path, required=True, metavar="DIR", help="folder of the records, one file a measurement")
    add("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), help="the measurements to make")

    helps = "gather the records of a class into one page"
    class_report = commands.add_parser("class-report", help=helps, description=helps)
    add = class_report.add_argument
    add("folder", type=a_path, metavar="FOLDER", help="holds a folder or a zip file of records for each student")
    helps = "the page (.html) or the table (.csv)"
    add("--out", type=a_path, default=Path("class-report.html"), metavar="FILE", help=helps)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser()
    with ending_well(parser):
        args = parser.parse_args(arguments)
        try:
            if args.command == "probes":
                print(*record_measurements(args.out, args.only), sep="\n")
            else:
                from resnet_course.classroom import make_class_report  # here, as in resnet_lib's main

                print(make_class_report(args.folder, args.out))
        except (ValueError, TypeError) as error:
            parser.error(str(error))


if __name__ == "__main__":
    main()
