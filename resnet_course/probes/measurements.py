"""The measurements that take minutes: what each one does with one network, and the networks that it takes.

Every measurement is a list of units, such as {"kind": "plain", "depth": 56, "seed": 0}, and a function that turns a
unit into figures. All but the last train on the digits, with width 8, batches of 128 and SGD with momentum.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from resnet_course.probes import gradients
from resnet_course.probes.lesions import lesion_table, removable_blocks
from resnet_course.probes.variants import KINDS, SHORTCUTS, build_kind
from resnet_lib.blocks import BasicBlock
from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.networks import initialize, make_layer
from resnet_lib.orderings import ORDERINGS, OrderedResNet
from resnet_lib.parallel import seeded
from resnet_lib.recipes import Recipe
from resnet_lib.training import Run, evaluate, fit

Unit = dict[str, Any]


@functools.cache
def _digits() -> tuple[Dataset, torch.Tensor, torch.Tensor]:
    digits = load_dataset("digits")
    return digits, digits.normalise(digits.train_images), digits.train_labels


def measure_gradients(kind: str, depth: int, seed: int, lr: float) -> dict[str, Any]:
    """Gradient norms by layer before training and after 1 and 3 of ten epochs, and the training error then."""
    digits, images, labels = _digits()
    model = build_kind(kind, depth, seed, images[:256])
    run = Run(Recipe(lr=lr, seed=seed), digits, torch.device("cpu"), model)
    norms: dict[str, list[float]] = {}
    for epoch in range(4):
        if epoch > 0:
            run.train_epoch()
        if epoch in (0, 1, 3):
            norms[str(epoch)] = list(gradients.gradient_norms(model, images[:256], labels[:256]).values())
    return {"norms": norms, "train_error": evaluate(model, images, labels)[1]}


def measure_start(kind: str, depth: int, seed: int) -> dict[str, Any]:
    """What the gradients of an untrained network are like, on 256 images.

    - first, last: the norm of the gradient of the first and of the last 3×3 convolution
    - pairs: the mean cosine between the input gradients at two different images
    - near: the cosine between those at an image and at the same image with noise of deviation 0.1
    - line: the autocorrelation at lags 0 to 16 along 64 points between two images, mean over 8 pairs of images
    - agreement: `gradient_agreement` after steps of 0.3 %, 1 % and 3 % of the weights
    """
    _, images, labels = _digits()
    images, labels = images[:256], labels[:256]
    model = build_kind(kind, depth, seed, images)
    norms = list(gradients.gradient_norms(model, images, labels).values())
    frozen = gradients.freeze_batchnorm(model, images)
    here = gradients.input_gradients(frozen, images)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    near = F.cosine_similarity(here.double(), gradients.input_gradients(frozen, images + 0.1 * noise).double())
    way = torch.linspace(0, 1, 64).view(-1, 1, 1, 1)
    lines = [start + way * (end - start) for start, end in images[:16].unflatten(0, (8, 2))]
    correlations = [gradients.autocorrelation(gradients.input_gradients(frozen, line), 16) for line in lines]
    return {
        "first": norms[0],
        "last": norms[-2],  # the very last is the linear layer's
        "pairs": gradients.mean_cosine(here),
        "near": near.mean().item(),
        "line": torch.stack(correlations).mean(0).tolist(),
        "agreement": gradients.gradient_agreement(model, images, labels, [0.003, 0.01, 0.03]),
    }


def measure_training(kind: str, depth: int, seed: int, lr: float) -> dict[str, Any]:
    """The training error after ten epochs, in percent."""
    _, images, _ = _digits()
    return {"train_error": _train(build_kind(kind, depth, seed, images[:256]), seed, lr)}


def _train(model: nn.Module, seed: int, lr: float) -> float:
    digits, images, labels = _digits()
    fit(model, Recipe(lr=lr, seed=seed), digits)
    return evaluate(model, images, labels)[1]


def measure_even_steps(kind: str, depth: int, seed: int, lr: float) -> dict[str, Any]:
    """The training error after ten epochs in which every layer takes steps of the same relative size.

    Before each step of SGD with momentum 0.9 and a one-cycle learning rate, the gradient of each weight tensor W is
    multiplied by ‖W‖ / ‖gradient‖. So neither large nor small gradients have a say in how far a layer moves.
    """
    _, images, labels = _digits()
    model = build_kind(kind, depth, seed, images[:256]).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=120, cycle_momentum=False)
    order = torch.Generator().manual_seed(seed)
    for _ in range(10):
        for batch in torch.randperm(len(labels), generator=order).split(128):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            for weight in (weight for weight in model.parameters() if weight.dim() > 1):
                weight.grad *= weight.detach().norm() / weight.grad.norm().clamp_min(1e-30)
            optimizer.step()
            scheduler.step()
    return {"train_error": evaluate(model, images, labels)[1]}


def measure_ordering(ordering: str, depth: int, seed: int, lr: float) -> dict[str, Any]:
    """The training error after ten epochs of a network whose blocks take their steps in this order, in percent."""
    with seeded(seed):
        model = OrderedResNet(depth, ORDERINGS[ordering], width=8, in_channels=1)
    return {"train_error": _train(model, seed, lr)}


def measure_lesions(kind: str, depth: int, seed: int) -> dict[str, Any]:
    """The test error in percent of the trained network without each subset of its blocks.

    - blocks: the names of the blocks that can be removed
    - errors: the test error for every mask from 0, the whole network, up; bit i is 1 where block i is removed
    """
    digits, images, _ = _digits()
    model = build_kind(kind, depth, seed, images[:256])
    fit(model, Recipe(lr=0.1, seed=seed), digits)
    return {"blocks": removable_blocks(model), "errors": [error for _, error in lesion_table(model, digits)]}


def measure_identity(
    blocks: int, shortcut: str, lr: float, seed: int, steps: int = 300, channels: int = 8
) -> dict[str, Any]:
    """The identity error of a stack of blocks after 300 steps.

    A stack of basic blocks, plain with shortcut "none", learns to put out what comes in: the positive part of normal
    noise, (64, channels, 8, 8), new in each step. SGD with momentum 0.9 and a one-cycle learning rate minimises the
    mean squared difference. The error Σ(f(x) - x)² / Σ(x - mean)², on new inputs and in evaluation mode, is 0 for the
    identity, 1 for the best constant, and infinite if the training diverged.

    Source: He et al. 2016, section 3.1: the degradation problem suggests "that the solvers might have difficulties in
    approximating identity mappings by multiple nonlinear layers".
    """
    generator = torch.Generator().manual_seed(seed)
    with seeded(seed):
        model = make_layer(BasicBlock, channels, channels, blocks, shortcut=shortcut)
        initialize(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, cycle_momentum=False)

    def draw() -> torch.Tensor:
        return F.relu(torch.randn(64, channels, 8, 8, generator=generator))

    for _ in range(steps):
        x = draw()
        loss = F.mse_loss(model(x), x)
        if not torch.isfinite(loss):
            return {"error": math.inf}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    x = draw()
    with torch.no_grad():
        return {"error": ((model.eval()(x) - x).square().sum() / (x - x.mean()).square().sum()).item()}


def _grid(**choices: Iterable[Any]) -> list[Unit]:
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


SEEDS, BOTH = [0, 1, 2], ["plain", "residual"]
# All seeds take the first learning rate. Seed 0 tries the second, too, which shows that the first does better.
LEARNING_RATES = {
    "plain, near identity": [0.02, 0.1],
    "plain, no BN, near identity": [0.004, 0.02],
    "residual, no BN, scaled": [0.02, 0.004],
    "residual, zero-gamma": [0.1, 0.02],
    "residual, no BN, SkipInit": [0.02, 0.004],
    "residual, no BN": [0.004, 0.02],
    "plain, no BN, unit responses": [0.02, 0.004],
}
_STARTS = _grid(seed=SEEDS, kind=KINDS, depth=[56]) + _grid(seed=SEEDS, kind=SHORTCUTS, depth=[20])
_TRAINING = [
    {"kind": kind, "depth": 56, "seed": seed, "lr": lr[trial]}
    for trial, seeds in enumerate([SEEDS, SEEDS[:1]])
    for seed in seeds
    for kind, lr in LEARNING_RATES.items()
]
_GRADIENTS = [
    *_grid(depth=[20, 56], seed=SEEDS, kind=BOTH, lr=[0.1]),
    *_grid(depth=[8, 110], seed=SEEDS, kind=BOTH, lr=[0.1]),
    *_grid(depth=[20, 56], seed=SEEDS, kind=["plain, no BN", "residual, no BN"], lr=[0.004]),
]
_ORDERINGS = [
    *_grid(depth=[110], seed=SEEDS, ordering=list(ORDERINGS), lr=[0.1, 0.02]),
    *_grid(depth=[56, 164], seed=SEEDS, ordering=["original", "full pre-activation"], lr=[0.1, 0.02]),
]
_CONTROLS = ["projections, identity start", "projections, bare", "projections, bare, identity start"]
_PROJECTIONS = _grid(kind=_CONTROLS, lr=[0.005, 0.02, 0.1, 0.5, 1.0], seed=SEEDS, depth=[56])
_STACKS: dict[str, list[Any]] = {"blocks": [1, 2, 4], "shortcut": ["none", "A"]}

# By name: the function, and the units that it is called with.
MEASUREMENTS: dict[str, tuple[Callable[..., dict[str, Any]], list[Unit]]] = {
    "starts": (measure_start, _STARTS),
    "training": (measure_training, _TRAINING),
    "projections": (measure_training, _PROJECTIONS),
    "gradients": (measure_gradients, _GRADIENTS),
    "even_steps": (measure_even_steps, _grid(lr=[0.005, 0.02], seed=SEEDS, kind=BOTH, depth=[56])),
    "orderings": (measure_ordering, _ORDERINGS),
    "lesions": (measure_lesions, _grid(seed=SEEDS, kind=BOTH, depth=[20])),
    "identity": (measure_identity, _grid(seed=SEEDS, **_STACKS, lr=[0.1]) + _grid(seed=[0], **_STACKS, lr=[0.02])),
}
