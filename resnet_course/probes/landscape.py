"""The loss on a plane through a trained network's weights.

Source: Li, Xu, Taylor, Studer, Goldstein 2018, "Visualizing the Loss Landscape of Neural Nets",
https://arxiv.org/abs/1712.09913, section 4.
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

Direction = dict[str, torch.Tensor]


def filter_normalised_direction(model: nn.Module, generator: torch.Generator) -> Direction:
    """A random direction in weight space, each filter as long as the model's own: one tensor a parameter, by name.

    A filter is what makes one output channel: a row of the weights. Biases and BatchNorm's weights stay where they are,
    direction 0.

    Why: with BatchNorm the weights of a layer can be multiplied by any number without changing the network, so a step
    of a fixed length would mean more in a network whose weights are small.

    Source: Li et al. 2018, section 4, equation 1.

    >>> model = nn.Linear(3, 2)
    >>> direction = filter_normalised_direction(model, torch.Generator().manual_seed(0))
    >>> torch.allclose(direction["weight"].norm(dim=1), model.weight.norm(dim=1)), direction["bias"]
    (True, tensor([0., 0.]))
    """
    direction = {}
    for name, parameter in model.named_parameters():
        weights = parameter.detach()
        if weights.dim() < 2:
            direction[name] = torch.zeros_like(weights)
            continue
        noise = torch.randn(weights.shape, generator=generator).flatten(1)
        noise = noise * (weights.flatten(1).norm(dim=1) / noise.norm(dim=1)).unsqueeze(1)
        direction[name] = noise.view_as(weights)
    return direction


@torch.no_grad()
def loss_surface(
    model: nn.Module,
    directions: tuple[Direction, Direction],
    steps: Sequence[float],
    images: torch.Tensor,
    labels: torch.Tensor,
    batch_statistics: bool = False,
) -> torch.Tensor:
    """The mean cross-entropy at weights + a·(first direction) + b·(second), for all a and b in ``steps``.

    BatchNorm normalises by its stored mean and variance, those of the unmoved network, as Li et al. do; or, with
    ``batch_statistics``, by those of the images at each point, as it would while training. The model stays as it is.

    Shapes: images (N, C, H, W), labels (N,) → (len(steps), len(steps)), a by row and b by column.

    Source: Li et al. 2018, section 4.

    >>> model = nn.Linear(3, 2)
    >>> plane = [filter_normalised_direction(model, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    >>> loss_surface(model, plane, [-1, 0, 1], torch.rand(4, 3), torch.tensor([0, 1, 0, 1])).shape
    torch.Size([3, 3])
    """
    moved = copy.deepcopy(model).train(batch_statistics)
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    surface = torch.empty(len(steps), len(steps))
    for i, a in enumerate(steps):
        for j, b in enumerate(steps):
            for name, parameter in moved.named_parameters():
                parameter.copy_(start[name] + a * directions[0][name] + b * directions[1][name])
            surface[i, j] = F.cross_entropy(moved(images), labels)
    return surface
