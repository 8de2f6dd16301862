"""The networks that the measurements compare, by name, and how they start.

All are the paper's networks for small images, of width 8, with one thing changed: shortcuts, BatchNorm, the start.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from resnet_course.probes.variants import (
    blocks_of,
    remove_batchnorm,
    scale_branches,
    scale_to_unit_responses,
    start_near_identity,
)
from resnet_lib._arguments import check_choice
from resnet_lib.networks import cifar_resnet, zero_last_batchnorm
from resnet_lib.parallel import seeded


@dataclass(frozen=True)
class Kind:
    """A kind of network: its shortcuts, and what is changed once it is drawn, given images to look at."""

    shortcut: str
    change: Callable[[nn.Module, torch.Tensor], nn.Module] = lambda model, images: model


def _zero_gamma(model: nn.Module, images: torch.Tensor) -> nn.Module:
    zero_last_batchnorm(model)
    return model


def _small_weights(model: nn.Module, images: torch.Tensor) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()  # PyTorch's own start: variance 1 / (3·k·k·in_channels)
    return remove_batchnorm(model)


def _weaker_branches(model: nn.Module, images: torch.Tensor) -> nn.Module:
    return scale_branches(remove_batchnorm(model), len(blocks_of(model)) ** -0.5)


KINDS = {
    "plain": Kind("none"),
    "residual": Kind("A"),
    "projections": Kind("C"),
    "residual, zero-gamma": Kind("A", _zero_gamma),
    "plain, near identity": Kind("none", lambda model, images: start_near_identity(model)),
    "plain, no BN, small weights": Kind("none", _small_weights),
    "plain, no BN": Kind("none", lambda model, images: remove_batchnorm(model)),
    "plain, no BN, unit responses": Kind(
        "none", lambda model, images: scale_to_unit_responses(remove_batchnorm(model), images)
    ),
    "plain, no BN, near identity": Kind("none", lambda model, images: start_near_identity(remove_batchnorm(model))),
    "residual, no BN": Kind("A", lambda model, images: remove_batchnorm(model)),
    "residual, no BN, scaled": Kind("A", _weaker_branches),
    "residual, no BN, SkipInit": Kind(
        "A", lambda model, images: scale_branches(remove_batchnorm(model), 0.0, learned=True)
    ),
}


def build_kind(kind: str, depth: int, seed: int, images: torch.Tensor) -> nn.Module:
    """A network of this kind for 10 classes, with the initial weights of its seed.

    Shapes: images (N, C, H, W), such as the network will be trained on.

    Raises:
        ValueError: an unknown kind.

    >>> sorted(build_kind("plain", 8, 0, torch.rand(2, 1, 8, 8)).state_dict())[:2]
    ['bn1.bias', 'bn1.num_batches_tracked']
    """
    check_choice("kind", kind, KINDS)
    with seeded(seed):
        model = cifar_resnet(depth, KINDS[kind].shortcut, width=8, in_channels=images.shape[1])
        return KINDS[kind].change(model, images)
