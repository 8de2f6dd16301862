"""What a run is asked to do.

Source: He et al. 2016, section 4.2: batch 128, momentum 0.9, weight decay 1e-4, learning rate 0.1 with two drops, 64k
iterations; 4 pixels of padding, random crop and flip.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from numbers import Integral, Real
from typing import Any

SHORTCUTS = ("none", "A", "B", "C")  # "none" is the plain network, the others are the paper's options
SCHEDULES = ("one-cycle", "steps")
PRECISIONS = ("float32", "bfloat16", "float16")  # the last is in records alone, nothing is trained in it any more
MOST = 100_000  # seeds, layers, channels, epochs, images in a batch: beyond it no run could begin, or end


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not among the choices, in a sentence that names it and them."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_number(name: str, value: Any, least: float = 1, most: float = math.inf, kind: type = Integral) -> Any:
    """The value as an int or, of the kind ``Real``, a float; NumPy's count too. Anything else is refused."""
    is_number = isinstance(value, kind) and not isinstance(value, bool)  # True would pass for 1
    if not is_number or not least <= value <= most:
        whole = "whole " if kind is Integral else ""
        bound = "up" if most == math.inf else f"to {most:,g}"
        raise ValueError(f"{name} must be a {whole}number from {least:g} {bound}, got {value!r}")
    return int(value) if kind is Integral else float(value)


def check_depth(depth: Any) -> int:
    """The depth as an int; one that is not 6n+2 is refused.

    >>> check_depth(55)
    Traceback (most recent call last):
    ...
    ValueError: depth must be 6n+2 (8, 14, 20, …), got 55: the nearest are 50 and 56
    """
    depth = check_number("depth", depth, most=MOST)
    if depth < 8 or depth % 6 != 2:
        below = max(8, depth - (depth - 2) % 6)
        raise ValueError(f"depth must be 6n+2 (8, 14, 20, …), got {depth}: the nearest are {below} and {below + 6}")
    return depth


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's outcome, the machine aside.

    SGD with momentum. Two schedules of the learning rate:

    - "one-cycle" climbs to ``lr`` over the first 30% of the steps and falls to nearly zero over the rest;
    - "steps" holds ``lr``, takes a tenth of it from half of the steps on, and a hundredth from three quarters on.

    A value that no run can have is a ValueError; the sentence names the field, what came and what would do.

    >>> Recipe(depth=56, shortcut="none").name
    'digits-plain-56-seed0'
    """

    dataset: str = "digits"
    depth: int = 20  # weight layers, 6n+2
    shortcut: str = "A"  # "none", "A", "B" or "C"
    seed: int = 0  # decides the initial weights, the order of the images, and how each is cropped and flipped
    width: int = 8  # channels of the first stage
    epochs: int = 10  # passes over the training images
    batch_size: int = 128
    lr: float = 0.1  # the highest learning rate
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "one-cycle"
    warm_up: bool = False  # a tenth of the learning rate until an epoch's training error is below 80 %
    augment: bool = False  # pad by 4 pixels, crop at random, mirror half of the images
    images: int | None = None  # train on so many of the training images; None: on all that are not held out
    held_out: int = 0  # training images that are kept for choosing
    precision: str = "float32"  # of activations and gradients; the weights are always float32

    def __post_init__(self) -> None:
        if not isinstance(self.dataset, str):
            raise ValueError(f"dataset must be a name, got {self.dataset!r}")
        for name, choices in {"shortcut": SHORTCUTS, "schedule": SCHEDULES, "precision": PRECISIONS}.items():
            check_choice(name, getattr(self, name), choices)
        for name in ("warm_up", "augment"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.warm_up and self.schedule != "steps":
            raise ValueError("warm_up needs the schedule 'steps', got 'one-cycle', which warms up by itself")
        # Stored as Python's own numbers: lr=1 and lr=1.0 are one recipe in one file, and so are 8 and NumPy's 8.
        numbers = {"depth": check_depth(self.depth)}
        for name in ("width", "epochs", "batch_size"):
            numbers[name] = check_number(name, getattr(self, name), most=MOST)
        for name, least in {"seed": 0, "images": 1, "held_out": 0}.items():
            if name != "images" or self.images is not None:
                numbers[name] = check_number(name, getattr(self, name), least)
        for name, lowest in {"lr": 1e-30, "momentum": 0, "weight_decay": 0}.items():
            numbers[name] = check_number(name, getattr(self, name), lowest, 1e30, Real)
        for name, number in numbers.items():
            object.__setattr__(self, name, number)

    @property
    def name(self) -> str:
        """A name for people: data set, kind of network, depth, seed."""
        kind = "plain" if self.shortcut == "none" else f"residual-{self.shortcut}"
        return f"{self.dataset}-{kind}-{self.depth}-seed{self.seed}"

    @property
    def file_name(self) -> str:
        """The name of the run's record: `name` and a digest of the whole recipe."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.name}-{digest[:8]}.json"


def plain_text(value: Any) -> str:
    """A value from others' hands, as at most 120 characters that can be printed on one line.

    >>> plain_text("red\\x1b[31m")
    'red?[31m'
    """
    text = str(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
    text = text if len(text) <= 120 else f"{text[:119]}…"
    return "".join(character if character.isprintable() else "?" for character in text)


def describe_recipe(recipe: Recipe) -> str:
    """What the runs of a comparison share, in one line.

    >>> describe_recipe(Recipe())
    'digits, width 8, 10 epochs, batch 128, learning rate 0.1 (one-cycle), momentum 0.9, weight decay 0.0001, float32'
    """
    schedule = f"{recipe.schedule}{', with a warm-up not as in the paper' * recipe.warm_up}"
    parts = [recipe.dataset, f"width {recipe.width}", f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)}"]
    parts += [f"batch {recipe.batch_size}", f"learning rate {recipe.lr:g} ({schedule})"]
    parts += [f"momentum {recipe.momentum:g}", f"weight decay {recipe.weight_decay:g}"]
    parts += [f"{recipe.images} training images"] * bool(recipe.images)
    parts += [f"{recipe.held_out} images held out"] * bool(recipe.held_out)
    parts += ["cropped and mirrored at random"] * recipe.augment
    return ", ".join(map(plain_text, [*parts, recipe.precision]))


# The paper's recipe for CIFAR-10. 182 epochs of 352 batches (45,000 images, the last batch of 72) are 64,064
# iterations, the paper's 64k; the schedule's half and three quarters are its 32k and 48k. One departure: the paper
# subtracts each pixel's mean; here each channel is shifted and scaled, as the paper's own authors do on ImageNet
# in later code, so that one rule serves every data set.
PAPER_CIFAR10 = Recipe(dataset="cifar10", width=16, epochs=182, schedule="steps", augment=True, held_out=5000)


def paper_grid(seeds: int = 5, dataset: str = "cifar10", precision: str = "float32") -> list[Recipe]:
    """The runs of the paper's Table 6 and Figure 6, left and middle, in order of worth.

    Plain and residual networks of 20, 56, 32 and 44 layers, then residual-110 with its warm-up; one seed of them all
    comes before the next seed. Source: He et al. 2016, section 4.2.

    >>> [recipe.name for recipe in paper_grid(seeds=1)][:2]
    ['cifar10-plain-20-seed0', 'cifar10-residual-A-20-seed0']
    """
    base = replace(PAPER_CIFAR10, dataset=dataset, precision=precision)
    networks = [(depth, shortcut) for depth in (20, 56, 32, 44) for shortcut in ("none", "A")] + [(110, "A")]
    return [
        replace(base, depth=depth, shortcut=shortcut, seed=seed, warm_up=depth == 110)
        for seed in range(check_number("seeds", seeds, most=MOST))
        for depth, shortcut in networks
    ]
