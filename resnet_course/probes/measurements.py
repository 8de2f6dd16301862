"""The measurements that take minutes: functions that turn a unit, such as a kind, a depth and a seed, into figures.

All but the last train on the digits, with batches of 128 and SGD with momentum.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from resnet_course.probes import gradients
from resnet_course.probes.landscape import filter_normalised_direction, loss_surface
from resnet_course.probes.lesions import (
    choose_blocks,
    lesion,
    lesion_table,
    rank_correlation,
    removable_blocks,
    swap_blocks,
)
from resnet_course.probes.path_lengths import gradient_by_path_length, gradient_by_way
from resnet_course.probes.responses import branch_shares, dead_channels, response_std, signal_by_layer
from resnet_course.probes.variants import blocks_of, build_kind
from resnet_lib.blocks import BasicBlock
from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.networks import initialize, make_layer
from resnet_lib.orderings import ORDERINGS, OrderedResNet
from resnet_lib.parallel import seeded
from resnet_lib.recipes import Recipe
from resnet_lib.training import Run, evaluate, fit


@functools.cache
def _digits() -> tuple[Dataset, torch.Tensor, torch.Tensor]:
    digits = load_dataset("digits")
    return digits, digits.normalise(digits.train_images), digits.train_labels


STEPS = [1e-5, 1e-4, 1e-3, 1e-2]  # of `gradient_agreement`


def measure_start(kind: str, depth: int, seed: int) -> dict[str, Any]:
    """What an untrained network is like, on 128 images, or 32 for the Hessian.

    - first, last: the norm of the gradient of the first and of the last 3×3 convolution
    - pairs: the mean cosine between the input gradients at two different images
    - near: the cosine between those at an image and at the same image with noise of deviation 0.1
    - agreement: `gradient_agreement` after steps of 0.001 %, 0.01 %, 0.1 % and 1 % of the parameters
    - hessian: the smallest and the largest eigenvalue of the loss's Hessian
    - likeness, rank: `signal_by_layer` behind the first, the middle and the last ReLU of the blocks
    """
    _, images, labels = _digits()
    images, labels = images[:128], labels[:128]
    model = build_kind(kind, depth, seed, images)
    norms = list(gradients.gradient_norms(model, images, labels).values())
    frozen = gradients.freeze_batchnorm(model, images)
    here = gradients.input_gradients(frozen, images)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    there = gradients.input_gradients(frozen, images + 0.1 * noise)
    likeness, rank = signal_by_layer(model, images)
    places = [0, len(rank) // 2, -1]
    return {
        "first": norms[0],
        "last": norms[-2],  # the very last is the linear layer's
        "pairs": gradients.mean_cosine(here),
        "near": gradients.cosines(here, there).mean().item(),
        "agreement": gradients.gradient_agreement(model, images, labels, STEPS),
        "hessian": list(gradients.hessian_range(model, images[:32], labels[:32], iterations=10)),
        "likeness": [likeness[place] for place in places],
        "rank": [rank[place] for place in places],
    }


def measure_sweep(kind: str, depth: int, lr: float, seed: int, width: int = 8, epochs: int = 10) -> dict[str, Any]:
    """Training and test error in percent after so many epochs, and the training loss, at one learning rate."""
    digits, images, _ = _digits()
    model = build_kind(kind, depth, seed, images[:256], width)
    fit(model, Recipe(lr=lr, seed=seed, epochs=epochs), digits)
    return _outcome(model)


def measure_training(kind: str, depth: int, seed: int, lr: float) -> dict[str, Any]:
    """The training error after ten epochs, in percent."""
    return {"train_error": measure_sweep(kind, depth, lr, seed)["train_error"]}


def _outcome(model: nn.Module) -> dict[str, float]:
    digits, images, labels = _digits()
    loss, error = evaluate(model, images, labels)
    test_error = evaluate(model, digits.normalise(digits.test_images), digits.test_labels)[1]
    return {"train_error": error, "test_error": test_error, "loss": loss}


def measure_even_steps(kind: str, depth: int, seed: int, lr: float) -> dict[str, Any]:
    """Errors and loss after ten epochs in which all layers take steps of one relative size, and nothing else moves.

    Before each step of SGD with momentum 0.9 and a one-cycle learning rate, the gradient of each weight tensor W is
    multiplied by ‖W‖ / ‖gradient‖. So neither large nor small gradients have a say in how far a layer moves.
    BatchNorm's weights and biases, and the linear layer's, stay as they start, since a start of 0 has no relative step.
    """
    _, images, labels = _digits()
    model = build_kind(kind, depth, seed, images[:256]).train()
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.dim() > 1)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=120, cycle_momentum=False)
    order = torch.Generator().manual_seed(seed)
    for _ in range(10):
        for batch in torch.randperm(len(labels), generator=order).split(128):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            for weight in weights:
                weight.grad *= weight.detach().norm() / weight.grad.norm().clamp_min(1e-30)
            optimizer.step()
            scheduler.step()
    return _outcome(model)


def measure_ordering(ordering: str, depth: int, seed: int, lr: float) -> dict[str, Any]:
    """The training error after ten epochs of a network whose blocks take their steps in this order, in percent."""
    with seeded(seed):
        model = OrderedResNet(depth, ORDERINGS[ordering], width=8, in_channels=1)
    fit(model, Recipe(lr=lr, seed=seed), _digits()[0])
    return {"train_error": _outcome(model)["train_error"]}


def _moments(run: Run) -> Iterator[str]:
    """Train for ten epochs, and stop for a look before, and after 1, 3 and 10."""
    for epoch in range(11):
        if epoch > 0:
            run.train_epoch()
        if epoch in (0, 1, 3, 10):
            yield str(epoch)


def measure_trained(kind: str, depth: int, seed: int, lr: float) -> dict[str, Any]:
    """A look inside a network after ten epochs, on 240 of its training images, or 64 for the loss's slices.

    - norms, weights, dead: before training and after 1, 3 and 10 epochs, the norms of the gradient of each layer's
      weights, those of the weights, and `dead_channels` by ReLU
    - error: the training error in percent, on all images
    - responses, shares: `response_std` by layer; `branch_shares` by block, of a residual network
    - single, renewed: the error without each block that can be removed; with BatchNorm's statistics taken anew
    - removed: how many blocks are taken out, and the error, mean of three draws
    - swapped: Kendall's rank correlation between the new order of the blocks and the old, and the error, for 18 draws
    - paths: the sizes of the gradient's parts by path length at the start and now, as shares; residual networks only
    - slice, batch_slice: the loss on 7×7 points, with BatchNorm's stored statistics and with the batch's
    """
    digits, images, labels = _digits()
    model = build_kind(kind, depth, seed, images[:256])
    is_residual = kind.startswith("residual")
    start = _path_shares(gradients.freeze_batchnorm(model, images[:256])) if is_residual else []
    found: dict[str, Any] = {"norms": {}, "weights": {}, "dead": {}}
    run = Run(Recipe(lr=lr, seed=seed), digits, torch.device("cpu"), model)
    for epochs in _moments(run):
        layers = gradients.weight_layers(model).values()
        found["norms"][epochs] = [*gradients.gradient_norms(model, images[:128], labels[:128]).values()]
        found["weights"][epochs] = [layer.weight.norm().item() for layer in layers]
        found["dead"][epochs] = dead_channels(model, images[:128])
    found["error"] = evaluate(model, images, labels)[1]
    some, their_labels = images[:240], labels[:240]

    def error(network: nn.Module) -> float:
        return evaluate(network, some, their_labels)[1]

    names = removable_blocks(model)
    without = [lesion(model, [name]) for name in names]
    found["responses"] = list(response_std(model, images).values())
    found["shares"] = list(branch_shares(model, images).values())
    found["single"] = [error(network) for network in without]
    found["renewed"] = [error(gradients.freeze_batchnorm(network, some)) for network in without]
    draws = [torch.Generator().manual_seed(10 * seed + draw) for draw in range(3)]
    found["removed"] = [
        [count, sum(error(lesion(model, choose_blocks(model, count, draw))) for draw in draws) / len(draws)]
        for count in sorted({round(share * len(names)) for share in (0, 0.04, 0.08, 0.15, 0.3, 0.5, 0.7, 1)})
    ]
    found["swapped"] = []
    marks = [block.conv1.weight.sum().item() for block in blocks_of(model).values()]  # to know each block by
    for swaps in (1, 2, 4, 8, 16, 64):
        for draw in draws:
            network = swap_blocks(model, swaps, draw)
            order = [marks.index(block.conv1.weight.sum().item()) for block in blocks_of(network).values()]
            found["swapped"].append([rank_correlation(order), error(network)])
    if is_residual:
        found["paths"] = [start, _path_shares(model.eval())]
    plane_of = torch.Generator().manual_seed(seed)
    plane = (filter_normalised_direction(model, plane_of), filter_normalised_direction(model, plane_of))
    for name, batch_statistics in (("slice", False), ("batch_slice", True)):
        points = [i / 3 for i in range(-3, 4)]
        found[name] = loss_surface(model, plane, points, images[:64], labels[:64], batch_statistics).tolist()
    return found


def _path_shares(model: nn.Module) -> list[float]:
    _, images, labels = _digits()
    sizes = gradient_by_path_length(model, images[:32], labels[:32]).flatten(1).norm(dim=1)
    return (sizes / sizes.sum()).tolist()


def measure_ways(kind: str, depth: int, seed: int, lr: float) -> dict[str, Any]:
    """`gradient_by_way` on 128 images before training and after 1, 3 and 10 epochs: shortcut and branch, by block."""
    digits, images, labels = _digits()
    run = Run(Recipe(lr=lr, seed=seed), digits, torch.device("cpu"), build_kind(kind, depth, seed, images[:256]))
    ways = {}
    for epochs in _moments(run):
        by_block = gradient_by_way(run.model.train(), images[:128], labels[:128])
        ways[epochs] = [list(norms) for norms in by_block.values()]
    return {"ways": ways}


def measure_lesions(kind: str, depth: int, seed: int) -> dict[str, Any]:
    """The test error in percent of the trained network without each subset of its blocks.

    - blocks: the names of the blocks that can be removed
    - errors: the test error for every mask from 0, the whole network, up; bit i is 1 where block i is removed
    - wrong: for every mask, which of the first 40 test images go wrong, as a number whose bit i is image i
    """
    digits, images, _ = _digits()
    model = build_kind(kind, depth, seed, images[:256])
    fit(model, Recipe(lr=0.1, seed=seed), digits)
    answers = [*lesion_table(model, digits).values()]
    return {
        "blocks": removable_blocks(model),
        "errors": [100 * wrong.double().mean().item() for wrong in answers],
        "wrong": [sum(1 << i for i, is_wrong in enumerate(wrong[:40].tolist()) if is_wrong) for wrong in answers],
    }


def measure_identity(blocks: int, shortcut: str, lr: float, seed: int, steps: int, channels: int = 8) -> dict[str, Any]:
    """The identity error of a stack of blocks after so many steps.

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
            return {"train_error": math.inf}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    x = draw()
    with torch.no_grad():
        return {"train_error": ((model.eval()(x) - x).square().sum() / (x - x.mean()).square().sum()).item()}
