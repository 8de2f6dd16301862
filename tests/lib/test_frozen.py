"""What no release may change: names and bytes of recorded runs, and the figures that a recipe gives."""

from dataclasses import replace
from pathlib import Path

import pytest

from resnet_lib.experiments import run_grid
from resnet_lib.recipes import PAPER_CIFAR10, Recipe, paper_grid
from resnet_lib.records import load_record, results_folder, save_record

NAMES = {
    "digits-residual-A-20-seed0-95052c6e.json": Recipe(),
    "cifar10-residual-A-20-seed0-4ac223ad.json": PAPER_CIFAR10,
    "cifar10-residual-A-110-seed0-9c67e526.json": paper_grid(seeds=1)[-1],
    "digits-residual-C-20-seed0-67405799.json": Recipe(
        shortcut="C", lr=1, momentum=0, weight_decay=0, precision="float16"
    ),
    "others-residual-B-14-seed1-2bbe10f8.json": Recipe(
        dataset="others", depth=14, shortcut="B", seed=1, width=16, epochs=3, batch_size=64, lr=0.2, momentum=0.8,
        weight_decay=0.0, schedule="steps", warm_up=True, augment=True, images=1000, held_out=100, precision="bfloat16",
    ),  # no field has its default
}  # fmt: skip
# Depth 8, two epochs of the digits: (width, seed, shortcut): training and test error in %, loss of each epoch.
FIGURES = {
    (2, 0, "none"): (58.39, 57.78, 2.2587, 2.0152),
    (2, 0, "A"): (53.72, 53.61, 2.2643, 1.9117),
    (2, 0, "B"): (59.78, 62.22, 2.2025, 1.8131),
    (2, 1, "none"): (73.07, 75.56, 2.2485, 2.0791),
    (2, 1, "A"): (75.02, 75.00, 2.2837, 2.0598),
    (2, 1, "B"): (62.77, 67.22, 2.2286, 1.9204),
    (4, 0, "none"): (62.28, 66.94, 2.2307, 1.8216),
    (4, 0, "A"): (47.67, 47.50, 2.2518, 1.7459),
    (4, 0, "B"): (27.77, 28.06, 2.1290, 1.3756),
    (4, 1, "none"): (51.22, 51.94, 2.2153, 1.7597),
    (4, 1, "A"): (42.17, 38.89, 2.2181, 1.4714),
    (4, 1, "B"): (36.74, 37.50, 2.1310, 1.4574),
}


@pytest.mark.parametrize(("name", "recipe"), NAMES.items(), ids=NAMES)
def test_a_recipe_keeps_the_name_of_its_file(name, recipe):
    assert recipe.file_name == name


@pytest.mark.parametrize(("folder", "count"), [("digits", 18), ("digits-long", 3), ("cifar10-jpg", 18), ("h100", 10)])
def test_recorded_runs_load_and_are_saved_again_byte_by_byte(folder, count, tmp_path):
    paths = sorted(results_folder(folder).glob("*.json"))
    assert len(paths) == count
    for path in paths:
        saved = save_record(load_record(path), tmp_path)
        assert saved.name == path.name and lines(saved) == lines(path)


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()  # a checkout on Windows may have other line ends


def test_a_tiny_grid_gives_the_figures_that_it_always_gave(one_thread):
    base = Recipe(depth=8, epochs=2)
    recipes = [replace(base, width=width, seed=seed, shortcut=shortcut) for width, seed, shortcut in FIGURES]
    for record, (train_error, test_error, *losses) in zip(
        run_grid(recipes, device="cpu"), FIGURES.values(), strict=True
    ):
        # Processors add in different orders: AVX2 and AVX-512 part by up to 0.14 % (2 images), 0.56 % (2) and 0.0006.
        assert record.train_error == pytest.approx(train_error, abs=1.0), record.recipe
        assert record.test_error == pytest.approx(test_error, abs=2.0), record.recipe
        assert record.curves["train_loss"] == pytest.approx(losses, abs=0.005), record.recipe
