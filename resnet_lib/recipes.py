"""What a run is asked to do.

Sources
-------
He et al. 2016, section 4.2: batch 128, momentum 0.9, weight decay 1e-4, learning rate 0.1, a tenth of it from 32k
    iterations on and a hundredth from 48k to the end at 64k; 4 pixels of padding, random crop and flip.
Smith and Topin 2018, "Super-Convergence", https://arxiv.org/abs/1708.07120: the one-cycle schedule.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace

from resnet_lib._arguments import (
    check_choice,
    check_count,
    check_counts,
    check_depth,
    check_flag,
    check_not_negative,
    check_positive,
    check_shortcut,
)

SCHEDULES = ("one-cycle", "steps")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's outcome, the machine aside.

    SGD with momentum. Two schedules of the learning rate:

    - "one-cycle" climbs to ``lr`` over the first 30% of the steps and falls to nearly zero over the rest;
    - "steps" holds ``lr``, takes a tenth of it from half of the steps on, and a hundredth from three quarters on.

    Raises:
        TypeError, ValueError: a value out of range.

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
            raise TypeError(f"dataset must be a name, got {self.dataset!r}")
        check_depth(self.depth)
        check_shortcut(self.shortcut)
        check_count("seed", self.seed, at_least=0)
        check_counts(width=self.width, epochs=self.epochs, batch_size=self.batch_size)
        check_positive("lr", self.lr)
        check_not_negative("momentum", self.momentum)
        check_not_negative("weight_decay", self.weight_decay)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_flag("warm_up", self.warm_up)
        check_flag("augment", self.augment)
        if self.warm_up and self.schedule != "steps":
            raise ValueError("warm_up needs the schedule 'steps', got 'one-cycle', which warms up by itself")
        if self.images is not None:
            check_count("images", self.images)
        check_count("held_out", self.held_out, at_least=0)
        check_choice("precision", self.precision, PRECISIONS)
        for name in ("lr", "momentum", "weight_decay"):  # so that lr=1 and lr=1.0 are the same recipe
            object.__setattr__(self, name, float(getattr(self, name)))

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


# The paper's recipe for CIFAR-10. 182 epochs of 352 batches (45,000 images, the last batch of 72) are 64,064
# iterations, the paper's 64k; the schedule's half and three quarters are its 32k and 48k. One departure: the paper
# subtracts each pixel's mean; here each channel is shifted and scaled, as the paper's own authors do on ImageNet
# in later code, so that one rule serves every data set.
PAPER_CIFAR10 = Recipe(dataset="cifar10", width=16, epochs=182, schedule="steps", augment=True, held_out=5000)


def paper_grid(seeds: int = 5, dataset: str = "cifar10", precision: str = "float32") -> list[Recipe]:
    """The runs of the paper's Table 6 and Figure 6, left and middle, in order of worth.

    Plain and residual networks of 20, 56, 32 and 44 layers, then residual-110 with its warm-up; one seed of them all
    comes before the next seed.

    Source: He et al. 2016, section 4.2.

    >>> [recipe.name for recipe in paper_grid(seeds=1)][:2]
    ['cifar10-plain-20-seed0', 'cifar10-residual-A-20-seed0']
    >>> len(paper_grid(seeds=5))
    45
    """
    check_count("seeds", seeds)
    networks = [(depth, shortcut) for depth in (20, 56, 32, 44) for shortcut in ("none", "A")] + [(110, "A")]
    return [
        replace(
            PAPER_CIFAR10,
            dataset=dataset,
            precision=precision,
            depth=depth,
            shortcut=shortcut,
            seed=seed,
            warm_up=depth == 110,
        )
        for seed in range(seeds)
        for depth, shortcut in networks
    ]
