"""What trains in the page: the networks' code as one text for the browser's workers, and the digits they train on."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from front import title_of
from matplotlib.figure import Figure

from explorers import degradation
from resnet_lib import figures
from resnet_lib.datasets import load_dataset
from resnet_lib.recipes import Recipe, describe_recipe
from resnet_lib.records import load_records, results_folder

RECIPE = Recipe(width=4, images=512, batch_size=64)  # small enough for a telephone
DEPTHS = range(8, 45, 6)
CODE = Path(__file__).parents[2] / "_static" / "train"
PARTS = ("random", "assembler", "kernels", "layers", "network", "training", "worker")
SCRIPTS, STYLES = ("train-engine.js",), ("train.css",)
PICTURE_TEXT = (
    "Training error against depth on handwritten digits, one dot for each recorded run. The plain networks' error is "
    "near zero at 8 and 20 layers and rises steeply to 56 layers. The residual networks' stays near zero."
)


def data() -> dict[str, Any]:
    return {"depths": list(DEPTHS), "start": 32, "epochs": RECIPE.epochs, "about": describe_recipe(RECIPE)}


def engine() -> dict[str, Any]:
    """The code, and the images as letters: "a" is 0, the paper, and "q" is 16, ink."""
    images = load_dataset(RECIPE.dataset).part(RECIPE.images)[0]
    return {
        "code": "\n".join((CODE / f"{part}.js").read_text(encoding="utf-8") for part in PARTS),
        "recipe": asdict(RECIPE),
        "side": images.train_images.shape[-1],
        "pixels": "".join(chr(ord("a") + value) for value in images.train_images.flatten().tolist()),
        "labels": "".join(map(str, images.train_labels.tolist())),
        "mean": images.mean.item(),
        "std": images.std.item(),
    }


def write_engine(folder: Path) -> None:
    """As a script, since a page that lies in a folder may load nothing else."""
    text = f"const trainEngine = {json.dumps(engine(), separators=(',', ':'))};\n"
    (folder / SCRIPTS[0]).write_text(text, encoding="utf-8")


def picture() -> Figure:
    """The recorded runs of the book's own experiment, for a page without scripts."""
    records = load_records(results_folder("digits"))
    return figures.plot_error_against_depth(records, title_of(records))


def table() -> list[list[str]]:
    """Those runs' training errors, as the degradation explorer's page has them."""
    return [row[1:4] for row in degradation.table() if row[0] in ("Runs", degradation.SETS["digits"])]
