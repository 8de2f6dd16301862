"""A recipe decides a run, names its file, and the paper's recipe is the paper's."""

import math
from dataclasses import asdict, fields, replace
from itertools import product

import pytest

from resnet_lib.recipes import PAPER_CIFAR10, PRECISIONS, SCHEDULES, Recipe, paper_grid

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


# The file of a recipe


@pytest.mark.parametrize("field", fields(Recipe), ids=lambda field: field.name)
def test_a_change_to_any_field_of_a_recipe_changes_its_file(field):
    before = replace(RECIPE, schedule="steps") if field.name == "warm_up" else RECIPE
    other = replace(before, **{field.name: CHANGES[field.name]})
    assert other != before and other.file_name != before.file_name


def test_no_two_recipes_of_a_large_grid_share_a_file_even_where_case_does_not_count():
    grid = product((8, 20, 56), ("none", "A", "B", "C"), range(6), (8, 16), (1, 10, 40), (0.1, 0.02), (0.0, 1e-4))
    recipes = [
        Recipe(depth=depth, shortcut=shortcut, seed=seed, width=width, epochs=epochs, lr=lr, weight_decay=decay)
        for depth, shortcut, seed, width, epochs, lr, decay in grid
    ]
    assert len({recipe.file_name.lower() for recipe in recipes}) == len(set(recipes)) == len(recipes)


def test_equal_recipes_have_one_file():
    assert Recipe(lr=1, momentum=0, weight_decay=0) == Recipe(lr=1.0, momentum=0.0, weight_decay=0.0)
    assert (
        Recipe(lr=1, momentum=0, weight_decay=0).file_name == Recipe(lr=1.0, momentum=0.0, weight_decay=0.0).file_name
    )
    assert Recipe().file_name == Recipe(**asdict(Recipe())).file_name


def test_the_name_of_a_file_says_what_ran_and_stays_the_same_from_release_to_release():
    assert Recipe(depth=56, shortcut="none", seed=2).file_name.startswith("digits-plain-56-seed2-")
    assert Recipe(depth=20, shortcut="A").file_name == "digits-residual-A-20-seed0-95052c6e.json"


def test_a_recipe_is_frozen_and_can_be_a_key():
    with pytest.raises(AttributeError):
        RECIPE.depth = 20
    assert {RECIPE: 1}[Recipe(depth=8, epochs=2)] == 1


# The book's recipe, and the paper's


def test_the_default_recipe_is_the_books():
    assert asdict(Recipe()) == {
        "dataset": "digits",
        "depth": 20,
        "shortcut": "A",
        "seed": 0,
        "width": 8,
        "epochs": 10,
        "batch_size": 128,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "schedule": "one-cycle",
        "warm_up": False,
        "augment": False,
        "images": None,
        "held_out": 0,
        "precision": "float32",
    }


def test_the_papers_recipe_is_that_of_its_section_4_2():
    assert asdict(PAPER_CIFAR10) == {
        "dataset": "cifar10",
        "depth": 20,
        "shortcut": "A",
        "seed": 0,
        "width": 16,
        "epochs": 182,
        "batch_size": 128,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "schedule": "steps",
        "warm_up": False,
        "augment": True,
        "images": None,
        "held_out": 5000,
        "precision": "float32",
    }


def test_the_papers_recipe_makes_its_64k_iterations_on_45k_images():
    steps_per_epoch = math.ceil((50_000 - PAPER_CIFAR10.held_out) / PAPER_CIFAR10.batch_size)
    assert 64_000 <= PAPER_CIFAR10.epochs * steps_per_epoch < 64_000 + steps_per_epoch


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_the_papers_grid_comes_in_order_of_worth_and_one_seed_before_the_next(seeds):
    grid = paper_grid(seeds)
    networks = [
        *[(depth, shortcut) for depth in (20, 56, 32, 44) for shortcut in ("none", "A")],
        (110, "A"),
    ]
    assert [(r.seed, r.depth, r.shortcut) for r in grid] == [(seed, *n) for seed in range(seeds) for n in networks]


def test_in_the_papers_grid_only_110_layers_warm_up_and_all_else_is_the_papers_recipe():
    for recipe in paper_grid(2):
        assert recipe.warm_up == (recipe.depth == 110)
        assert replace(recipe, depth=20, shortcut="A", seed=0, warm_up=False) == PAPER_CIFAR10


def test_the_papers_grid_may_be_run_on_other_images_and_in_another_precision():
    for recipe, usual in zip(paper_grid(2, "digits", "bfloat16"), paper_grid(2), strict=True):
        assert recipe == replace(usual, dataset="digits", precision="bfloat16")


# What is refused


def refusal(kind: type[Exception], **settings) -> str:
    with pytest.raises(kind) as caught:
        Recipe(**settings)
    (sentence,) = caught.value.args
    assert type(caught.value) is kind and "\n" not in sentence and not sentence.endswith(".")
    return sentence


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_schedule_and_precision_that_there_is_can_be_asked_for(schedule, precision):
    recipe = Recipe(schedule=schedule, precision=precision)
    assert (recipe.schedule, recipe.precision) == (schedule, precision)


@pytest.mark.parametrize("value", ["linear", "Steps", "", None, 1], ids=repr)
def test_an_unknown_schedule_is_refused_with_those_that_there_are(value):
    assert refusal(ValueError, schedule=value) == f"schedule must be one of 'one-cycle', 'steps', got {value!r}"


@pytest.mark.parametrize("value", ["half", "float64", "bf16", "auto", "", None, 16], ids=repr)
def test_an_unknown_precision_is_refused_with_those_that_there_are(value):
    sentence = refusal(ValueError, precision=value)
    assert sentence == f"precision must be one of 'float32', 'bfloat16', 'float16', got {value!r}"


@pytest.mark.parametrize("name", ["warm_up", "augment"])
@pytest.mark.parametrize("value", [0, 1, "yes", None, []], ids=repr)
def test_a_switch_that_is_neither_true_nor_false_is_refused(name, value):
    assert refusal(ValueError, **{"schedule": "steps", name: value}) == f"{name} must be True or False, got {value!r}"


def test_the_one_cycle_schedule_warms_up_by_itself():
    assert "warm_up needs the schedule 'steps'" in refusal(ValueError, warm_up=True)


@pytest.mark.parametrize(("name", "lowest", "good"), [("images", 1, None), ("held_out", 0, 0)])
def test_a_number_of_images_that_is_no_whole_number_is_refused(name, lowest, good):
    assert getattr(Recipe(**{name: good}), name) == good and getattr(Recipe(**{name: lowest}), name) == lowest
    for value in ("100", 100.0, True):
        assert refusal(ValueError, **{name: value}) == f"{name} must be a whole number from {lowest} up, got {value!r}"
    for value in (lowest - 1, -100):
        assert refusal(ValueError, **{name: value}) == f"{name} must be a whole number from {lowest} up, got {value}"


@pytest.mark.parametrize("seeds", [0, -1, 1.5, None])
def test_the_papers_grid_needs_a_seed(seeds):
    with pytest.raises((TypeError, ValueError), match=f"seeds must be a whole number from 1 up, got {seeds}"):
        paper_grid(seeds)
