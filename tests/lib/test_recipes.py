"""A recipe decides a run, names its file, and the paper's recipe is the paper's."""

import math
from dataclasses import asdict, fields, replace
from itertools import product

import numpy as np
import pytest

from resnet_lib.experiments import degradation_grid
from resnet_lib.recipes import PAPER_CIFAR10, PRECISIONS, SCHEDULES, SHORTCUTS, Recipe, paper_grid

RECIPE = Recipe(depth=8, epochs=2)
# A change to every field of a recipe, each enough to make it another recipe.
CHANGES = {
    "dataset": "others",
    "depth": 14,
    "shortcut": "B",
    "seed": 1,
    "width": 16,
    "epochs": 3,
    "batch_size": 64,
    "lr": 0.1000000001,
    "momentum": 0.8,
    "weight_decay": 0.0,
    "schedule": "steps",
    "warm_up": True,
    "augment": True,
    "images": 1437,
    "held_out": 1,
    "precision": "bfloat16",
}


@pytest.mark.parametrize("field", fields(Recipe), ids=lambda field: field.name)
def test_a_change_to_any_field_of_a_recipe_changes_its_file(field):
    before = replace(RECIPE, schedule="steps") if field.name == "warm_up" else RECIPE
    other = replace(before, **{field.name: CHANGES[field.name]})
    assert other != before and other.file_name != before.file_name


@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_numpys_numbers_and_pythons_make_one_recipe_with_one_file(kind):
    pythons = Recipe(depth=8, seed=1, width=4, epochs=2, batch_size=64, images=100, held_out=7, lr=1.0, momentum=0.0)
    counts = ("depth", "seed", "width", "epochs", "batch_size", "images", "held_out")
    numpys = Recipe(**{name: kind(getattr(pythons, name)) for name in counts}, lr=np.float32(1), momentum=kind(0))
    assert numpys == pythons and numpys.file_name == pythons.file_name == Recipe(**asdict(pythons)).file_name
    assert {type(getattr(numpys, name)) for name in counts} == {int}
    assert type(numpys.lr) is type(Recipe(lr=1).lr) is type(numpys.momentum) is float


# The book's recipe and grid, and the paper's


def test_the_papers_recipe_takes_as_many_steps_as_its_section_4_2():
    steps_per_epoch = math.ceil((50_000 - PAPER_CIFAR10.held_out) / PAPER_CIFAR10.batch_size)
    assert 64_000 <= PAPER_CIFAR10.epochs * steps_per_epoch < 64_000 + steps_per_epoch


def test_the_papers_grid_comes_in_order_of_worth_and_one_seed_before_the_next():
    networks = [*product((20, 56, 32, 44), ("none", "A")), (110, "A")]
    grid = paper_grid(np.int64(2), "digits", "bfloat16")
    assert [(r.seed, r.depth, r.shortcut) for r in grid] == [(seed, *n) for seed in (0, 1) for n in networks]
    for recipe in grid:
        assert recipe.warm_up == (recipe.depth == 110)
        papers = replace(recipe, depth=20, shortcut="A", seed=0, warm_up=False)
        assert papers == replace(PAPER_CIFAR10, dataset="digits", precision="bfloat16")
    assert len(paper_grid()) == 45 and {recipe.dataset for recipe in paper_grid()} == {"cifar10"}


def test_the_default_grid_is_the_books_its_seeds_change_last_and_nothing_is_run_twice():
    networks = list(product((8, 20, 56), ("none", "A")))
    assert degradation_grid() == [Recipe(depth=d, shortcut=s, seed=seed) for seed in range(3) for d, s in networks]
    assert degradation_grid(iter([8, 8]), iter(["A", "none", "A"]), 2) == degradation_grid([8], ["A", "none"], 2)
    settings = {name: value for name, value in CHANGES.items() if name not in ("depth", "shortcut", "seed")}
    for recipe in degradation_grid(**settings):
        assert {name: getattr(recipe, name) for name in settings} == settings


# What is refused: one sentence says the field, what came and what would do


COUNTS = {"seed": 0, "width": 1, "epochs": 1, "batch_size": 1, "images": 1, "held_out": 0}
REFUSED = {
    **{name: (f"a whole number from {least} ", [least - 1, 8.0, "8", True]) for name, least in COUNTS.items()},
    **dict.fromkeys(["width", "epochs", "batch_size"], ("a whole number from 1 to 100,000", [0, 8.0, True, 10**30])),
    "lr": ("a number from 1e-30 to 1e+30", [0, -1, 1e308, math.nan, math.inf, "0.1", True, 1 + 0j]),
    **dict.fromkeys(["momentum", "weight_decay"], ("a number from 0 to 1e+30", [-0.1, math.nan, math.inf, "0"])),
    **dict.fromkeys(["augment", "warm_up"], ("True or False", [0, 1, "yes", None])),
    "dataset": ("a name", [None, 3]),
    "shortcut": ("'none', 'A', 'B', 'C'", ["D", "a", "", None]),
    "schedule": ("'one-cycle', 'steps'", ["linear", "Steps", None]),
    "precision": ("'float32', 'bfloat16', 'float16'", ["half", "float64", None, 16]),
    "depth": ("a whole number from 1 to 100,000", [8.0, "20", None, True, [8], 10**30]),
}


@pytest.mark.parametrize(
    ("name", "wanted", "value"),
    [(name, wanted, value) for name, (wanted, values) in REFUSED.items() for value in values],
)
def test_a_value_that_no_run_can_have_is_refused_in_one_sentence(name, wanted, value):
    with pytest.raises(ValueError, match=f"^{name} must be ") as caught:
        Recipe(**{"schedule": "steps", name: value})
    sentence = str(caught.value)
    assert wanted in sentence and f"got {value!r}" in sentence and "\n" not in sentence and not sentence.endswith(".")


def test_what_lies_on_the_edge_is_taken():
    Recipe(**COUNTS, momentum=0, weight_decay=0, lr=1e-30)
    for schedule, precision, shortcut in product(SCHEDULES, PRECISIONS, SHORTCUTS):
        Recipe(schedule=schedule, precision=precision, shortcut=shortcut)
    with pytest.raises(ValueError, match="warm_up needs the schedule 'steps'"):
        Recipe(warm_up=True)


@pytest.mark.parametrize("seeds", [0, 1.5, None])
@pytest.mark.parametrize(
    "grid", [paper_grid, lambda seeds: degradation_grid(seeds=seeds)], ids=["paper", "degradation"]
)
def test_a_grid_needs_a_seed(grid, seeds):
    with pytest.raises(ValueError, match=f"seeds must be a whole number from 1 to 100,000, got {seeds}"):
        grid(seeds)
