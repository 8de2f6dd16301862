"""What the tests of runs share: little data, and what two runs of one recipe must have in common."""

import json
from dataclasses import asdict, replace

import torch

from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.recipes import Recipe
from resnet_lib.records import Record

CPU = torch.device("cpu")
OF_THE_MACHINE = ("seconds", "images_per_second", "environment")


def figures(record: Record) -> str:
    """All that a run computes, to the last bit: its record without the time and the machine."""
    return json.dumps({name: value for name, value in asdict(record).items() if name not in OF_THE_MACHINE})


def first_digits(train: int, test: int = 40) -> Dataset:
    """The digits cut to their first images: enough to train on in no time, and no multiple of a batch."""
    digits = load_dataset("digits")
    return replace(
        digits,
        train_images=digits.train_images[:train],
        train_labels=digits.train_labels[:train],
        test_images=digits.test_images[:test],
        test_labels=digits.test_labels[:test],
    )


def made_up(recipe: Recipe, train_error: float = 50.0, test_error: float = 60.0) -> Record:
    """A record as a run could have left it."""
    curves = {"train_loss": [1.0], "train_error": [train_error], "test_error": [test_error]}
    return Record(
        recipe,
        train_error,
        test_error,
        best_test_error=test_error,
        held_out_error=None,
        train_loss=1.0,
        curves={name: values * recipe.epochs for name, values in curves.items()},
        seconds=0.5,
        images_per_second=2874.0,
    )
