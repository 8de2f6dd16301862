"""List what the book says about two ways of training, and the sweep behind it; exit code 1 where one does not hold.

It holds if the words stand in the chapter, and the best learning rate of each network named lies inside its sweep and
was tried with three seeds. `resnet_course.probes.sweeps` says what that means.

python book/comparisons.py
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat

from resnet_course.probes import best_inside, best_rate, load_measurement, of_network
from resnet_course.probes.plans import JUDGED
from resnet_lib.records import load_records, results_folder

ROOT = Path(__file__).parents[1]
Rows = list[dict[str, Any]]


def probe(kind: str, record: str = "sweeps", **more: Any) -> tuple[str, Rows]:
    """The sweep of a kind of network that chapter 9 has on record, and a name for it."""
    network = {"kind": kind, "depth": 56, **({"width": 8, "epochs": 10} if record == "sweeps" else {}), **more}
    rows = load_measurement(results_folder("probes") / f"{record}.json")["rows"]
    return f"probes/{record}.json, {network}", of_network(rows, network)


def runs(folder: str, **wanted: Any) -> tuple[str, Rows]:
    """The sweep of recipes among the book's runs."""
    found = [
        {"unit": {"lr": run.recipe.lr, "seed": run.recipe.seed}, "train_error": run.train_error, "loss": run.train_loss}
        for run in load_records(results_folder(folder))
        if wanted.items() <= vars(run.recipe).items()
    ]
    return f"{folder}, {wanted}", found


ELSEWHERE = [
    probe(kind, width=width, epochs=epochs) for kind in JUDGED for width, epochs in ((8, 40), (16, 10), (32, 10))
]
OPTION_C = runs("chapters", depth=56, shortcut="C", width=8, epochs=10, dataset="digits", schedule="one-cycle")
PROJECTIONS = ("projections, identity start", "projections, bare", "projections, bare, identity start")
COMPARISONS: list[tuple[str, str, list[tuple[str, Rows]]]] = [
    ("01_degradation", "None of the three learning rates rescues it", [probe("plain"), probe("residual")]),
    (
        "04_shortcuts",
        "No rate rescues it, and the best on average, 0.1, lies well inside the sweep",
        [OPTION_C],
    ),
    ("04_shortcuts", "The BatchNorm is the main culprit", [probe(kind, "projections") for kind in PROJECTIONS]),
    (
        "07_cifar",
        "a sweep of six rates, and three seeds at the best of them",
        [runs("chapters", dataset="cifar10-jpg-9fe92d9f-imagenet-stem")],
    ),
    ("09_why_it_works", "no learning rate has decided it", [probe("plain"), probe("residual")]),
    ("09_why_it_works", "Residual-56 *without* it fits at 0.2", [probe("residual, no BN, scaled")]),
    (
        "09_why_it_works",
        "get nine images of ten right in some seeds and not in others",
        [probe("residual, no BN, SkipInit"), probe("plain, no BN, near identity")],
    ),
    ("09_why_it_works", "Plain-56 fails in every column", ELSEWHERE),
    ("09_why_it_works", "Plain-56 trains without a single shortcut", [probe("plain, near identity")]),
    ("09_why_it_works", "Delta-orthogonal kernels", [probe("plain, delta-orthogonal")]),
    (
        "09_why_it_works",
        "with half of the usual noise it fails. A second way is to bend the ReLU less",
        [probe(kind) for kind in ("plain, near identity 0.5", "plain, leaky 0.3", "plain, leaky 0.6")],
    ),
    (
        "09_why_it_works",
        "with steps of even size",
        [probe(kind, "even_steps") for kind in ("plain", "residual", "plain, near identity")],
    ),
]


def problems(chapter: str, words: str, sweeps: Sequence[tuple[str, Rows]]) -> Iterator[str]:
    cells = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4).cells
    if not any(words in cell.source for cell in cells if cell.cell_type == "markdown"):
        yield "these words do not stand in the chapter"
    for name, rows in sweeps:
        try:
            best_inside(rows)
        except ValueError as error:
            yield f"{name}: {error}"


def main() -> None:
    failed = False
    for chapter, words, sweeps in COMPARISONS:
        print(f"{chapter}: “{words}”")
        for name, rows in sweeps:
            rates = sorted({row["unit"]["lr"] for row in rows})
            print(f"    {name}: rates {rates[0]:g} to {rates[-1]:g}, best {best_rate(rows)[0]:g}")
        for problem in problems(chapter, words, sweeps):
            failed = True
            print(f"    FAILS: {problem}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
