"""What the degradation explorer shows: recorded runs, epoch by epoch, and the means over seeds."""

from typing import Any

from matplotlib.figure import Figure

from resnet_lib import figures
from resnet_lib.recipes import describe_recipe
from resnet_lib.records import Record, group_runs, load_records, results_folder, summarize

SETS = {
    "digits": "Digits, 10 epochs",
    "digits-long": "Digits, 40 epochs, plain networks of 56 layers",
    "cifar10-jpg": "Photographs (CIFAR-10), 10 epochs",
}
PICTURE_TEXT = (
    "Training error on digits over ten epochs, a curve for each run. The curves of residual networks and of plain ones "
    "of 8 and 20 layers fall to almost zero. Those of the plain networks of 56 layers end near 60 %."
)


def data() -> dict[str, Any]:
    """Of each folder of runs its networks; of each network the means and the runs. Errors are in percent."""
    return {
        "start": {"set": "digits", "depths": "all", "shortcuts": "all", "seed": "all", "error": "train"},
        "sets": {name: _set(title, load_records(results_folder(name))) for name, title in SETS.items()},
    }


def _set(title: str, records: list[Record]) -> dict[str, Any]:
    recipe = records[0].recipe
    groups = group_runs(records)
    several_options = len({shortcut for shortcut, _ in groups if shortcut != "none"}) > 1
    names = {shortcut: f"residual-{{}}{f', {shortcut}' if several_options else ''}" for shortcut, _ in groups}
    names["none"] = "plain-{}"
    networks = [
        {
            "shortcut": row.shortcut,
            "depth": row.depth,
            "name": names[row.shortcut].format(row.depth),
            "n": row.n,
            "train": with_deviation(row.train_error, row.train_std),
            "test": with_deviation(row.test_error, row.test_std),
            "runs": {str(record.recipe.seed): _run(record) for record in groups[row.shortcut, row.depth]},
        }
        for row in summarize(records)
    ]
    settings = describe_recipe(recipe).partition(", ")[2]  # without the data set, which the title names
    return {"title": title, "about": settings, "epochs": recipe.epochs, "networks": networks}


def _run(record: Record) -> dict[str, Any]:
    return {
        "train": with_deviation(record.train_error, None),
        "test": with_deviation(record.test_error, None),
        "curves": {kind: [round(error, 2) for error in record.curves[f"{kind}_error"]] for kind in ("train", "test")},
    }


def with_deviation(mean: float, deviation: float | None) -> str:
    """An error in percent as the page's table writes it.

    >>> with_deviation(60.009, 1.302), with_deviation(0.5, None)
    ('60.01 ± 1.30', '0.50')
    """
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"


def picture() -> Figure:
    """What the page opens with."""
    records = load_records(results_folder("digits"))
    return figures.plot_curves(records, "56 plain layers train worse than 8; 56 residual layers do not")


def table() -> list[list[str]]:
    """The means over seeds, for a page without scripts; the first row is the head."""
    rows = [["Runs", "Network", "Seeds", "Training error, %", "Test error, %"]]
    for one in data()["sets"].values():
        rows += [[one["title"], n["name"], str(n["n"]), n["train"], n["test"]] for n in one["networks"]]
    return rows
