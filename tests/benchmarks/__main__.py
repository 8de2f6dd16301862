"""``python -m tests.benchmarks``, from the repository's root: measure, and print one Markdown table."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from resnet_lib.environment import describe_environment
from resnet_lib.fast import choose_precision
from resnet_lib.files import write_whole

from .measure import Result, Row, as_json, format_table, interleave
from .rows import CPU, GPU, all_rows


def main(arguments: Sequence[str] | None = None) -> None:
    rows = all_rows()
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure ratios of speed and memory. The machine should do nothing else meanwhile.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    names = [row.name for row in rows]
    parser.add_argument("--rows", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--pairs", type=int, default=7, metavar="N", help="pairs of measurements a row")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures there too, as JSON")
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean nothing")
    args = parser.parse_args(arguments)
    environment = describe_machine(args.quick)  # before the benchmarks are part of its load
    results: list[Result] = []
    try:
        for row in tqdm([row for row in rows if row.name in args.rows], unit="row"):
            results.append(measure(row, 1 if args.quick else args.pairs, args.quick))
    except KeyboardInterrupt:  # keeps the rows that are done
        print("Stopped.")
    print(format_table(results), end="\n\n")
    print(", ".join(f"{key}: {value}" for key, value in environment.items()))
    if args.out:
        write_whole(args.out, (json.dumps(as_json(results, environment), indent=1) + "\n").encode())


def measure(row: Row, pairs: int, quick: bool) -> Result:
    if row.missing:
        return Result(row, not_measured=row.missing)
    # What the row holds, a DataLoader's workers too, is let go before the next row begins.
    return Result(row, interleave(*row.prepare(1 if quick else row.work), pairs))


def describe_machine(quick: bool) -> dict[str, Any]:
    """What one must know to judge the ratios."""
    has_gpu = torch.cuda.is_available()
    return {
        **describe_environment(CPU),
        "threads": torch.get_num_threads(),
        "cpu_precision": choose_precision(CPU),
        "gpu": torch.cuda.get_device_name(GPU) if has_gpu else None,
        "gpu_precision": choose_precision(GPU) if has_gpu else None,
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "quick": quick,
    }


if __name__ == "__main__":
    main()
