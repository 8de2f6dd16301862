"""How large gradients are, and how much the gradients at two inputs have to do with each other.

Sources
-------
Glorot, Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html, section 4: gradients followed layer by layer.
Balduzzi, Frean, Leary, Lewis, Ma, McWilliams 2017, "The Shattered Gradients Problem",
    https://arxiv.org/abs/1702.08591: gradients along a line of inputs beside white and brown noise.
Santurkar, Tsipras, Ilyas, Madry 2018, "How Does Batch Normalization Help Optimization?",
    https://arxiv.org/abs/1805.11604: how long a gradient stays right along its own direction.
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lib._arguments import check_count


def weight_layers(model: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """The layers that count as depth, by name and in order: convolutions and linear layers, not those on shortcuts.

    >>> from resnet_lib.networks import cifar_resnet
    >>> list(weight_layers(cifar_resnet(8)))[:3]
    ['conv1', 'layer1.0.conv1', 'layer1.0.conv2']
    """
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear)) and "downsample" not in name.split(".")
    }


def gradient_norms(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """The norm of the loss's gradient with respect to each layer's weights, by name, in training mode.

    The loss is the mean cross-entropy of the batch, as in a step of SGD. The model stays as it is.

    Shapes: images (N, …) float32, labels (N,) int64.

    Source: Glorot and Bengio 2010, section 4; He et al. 2016, section 4.1, whose authors checked these norms.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    >>> list(gradient_norms(model, torch.rand(3, 4), torch.tensor([0, 1, 0])))
    ['0', '1']
    """
    return {name: gradient.norm().item() for name, gradient in _weight_gradients(model, images, labels).items()}


def _weight_gradients(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    model = copy.deepcopy(model).train()  # a copy, since a pass in training mode moves BatchNorm's running statistics
    layers = weight_layers(model)
    loss = F.cross_entropy(model(images), labels)
    return dict(zip(layers, torch.autograd.grad(loss, [layer.weight for layer in layers.values()]), strict=True))


def gradient_agreement(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, step_sizes: Sequence[float]
) -> list[float]:
    """How right the gradient still is after a step along it: the cosine between old and new gradient.

    A step of size s moves each layer's weights W against their gradient by s·‖W‖. The cosine is taken layer by layer
    and then averaged over the layers that have a gradient: 1 is "the same direction", 0 is "unrelated".

    Shapes: images (N, …) float32, labels (N,) int64.

    Source: after Santurkar et al. 2018, figure 4 ("gradient predictiveness", there as a distance).

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    >>> print(f"{gradient_agreement(model, torch.rand(3, 4), torch.tensor([0, 1, 0]), [0.0])[0]:.3f}")
    1.000
    """
    # Directions in float64: the gradients of a deep network can be too small for their squares in float32.
    gradients = _weight_gradients(model, images, labels)
    before = {name: F.normalize(g.double().flatten(), dim=0) for name, g in gradients.items() if g.any()}
    agreements = []
    for size in step_sizes:
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for name, direction in before.items():
                weight = moved.get_submodule(name).weight
                weight -= size * weight.norm() * direction.view_as(weight).float()
        after = _weight_gradients(moved, images, labels)
        cosines = [direction @ F.normalize(after[name].double().flatten(), dim=0) for name, direction in before.items()]
        agreements.append(torch.stack(cosines).mean().item())
    return agreements


def freeze_batchnorm(model: nn.Module, images: torch.Tensor) -> nn.Module:
    """A copy in evaluation mode whose BatchNorms hold the mean and variance of these images.

    The copy treats every image by itself, so its gradient at one image does not depend on the others.

    Shapes: images (N, …) float32.

    >>> frozen = freeze_batchnorm(nn.BatchNorm1d(1), torch.tensor([[1.0], [3.0]]))
    >>> frozen.running_mean, frozen.training
    (tensor([2.]), False)
    """
    model = copy.deepcopy(model)
    norms = [module for module in model.modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over all batches seen: here, this one
    with torch.no_grad():
        model.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


def input_gradients(model: nn.Module, inputs: torch.Tensor, output: int = 0) -> torch.Tensor:
    """The gradient of one output with respect to each input, one row an input, in the model's present mode.

    Use a model in evaluation mode, such as `freeze_batchnorm` returns: in training mode BatchNorm mixes the inputs.

    Shapes: inputs (N, …) → (N, numbers in an input).

    Source: Balduzzi et al. 2017, figure 1.

    >>> input_gradients(nn.Linear(2, 1, bias=False).requires_grad_(False), torch.rand(3, 2)).shape
    torch.Size([3, 2])
    """
    inputs = inputs.detach().clone().requires_grad_()
    return torch.autograd.grad(model(inputs)[:, output].sum(), inputs)[0].flatten(1)


def points_on_line(start: torch.Tensor, end: torch.Tensor, points: int) -> torch.Tensor:
    """Equally spaced inputs from ``start`` to ``end``: two of shape (…) → (points, …).

    >>> points_on_line(torch.tensor([0.0]), torch.tensor([1.0]), 3).flatten()
    tensor([0.0000, 0.5000, 1.0000])
    """
    check_count("points", points, at_least=2)
    weights = torch.linspace(0, 1, points).view(-1, *[1] * start.dim())
    return start + weights * (end - start)


def autocorrelation(values: torch.Tensor, max_lag: int) -> torch.Tensor:
    """How alike a sequence is to itself, shifted by 0, 1, …, max_lag places; 1 for shift 0.

    With the mean m over the sequence: r(k) = Σₜ (vₜ - m)·(vₜ₊ₖ - m) / Σₜ |vₜ - m|². The numerator has k terms fewer,
    so it shrinks a little with k by itself; noise is treated likewise.

    Shapes: values (T,) or (T, D), where the product is the inner product → (max_lag + 1,).

    Raises:
        ValueError: a lag as long as the sequence, or a constant sequence, which has none.

    Source: Balduzzi et al. 2017, figure 2.

    >>> autocorrelation(torch.tensor([1.0, -1.0, 1.0, -1.0]), 2)
    tensor([ 1.0000, -0.7500,  0.5000])
    """
    check_count("max_lag", max_lag, at_least=0)
    if max_lag >= len(values):
        raise ValueError(f"max_lag must be below the number of values, {len(values)}, got {max_lag}")
    centred = values.reshape(len(values), -1).double()
    centred = centred - centred.mean(0)
    total = centred.square().sum()
    if not total > 0:
        raise ValueError("values must vary to have an autocorrelation, but they are all the same")
    products = [(centred[: len(centred) - lag] * centred[lag:]).sum() for lag in range(max_lag + 1)]
    return (torch.stack(products) / total).float()


def white_noise(points: int, generator: torch.Generator) -> torch.Tensor:
    """Independent normal numbers, (points,): the value at one place says nothing about the next.

    >>> white_noise(3, torch.Generator().manual_seed(0)).shape
    torch.Size([3])
    """
    return torch.randn(points, generator=generator)


def brown_noise(points: int, generator: torch.Generator) -> torch.Tensor:
    """A random walk, (points,): each value is the one before and a normal step.

    >>> brown_noise(3, torch.Generator().manual_seed(0)).shape
    torch.Size([3])
    """
    return white_noise(points, generator).cumsum(0)


def mean_cosine(gradients: torch.Tensor) -> float:
    """The mean cosine between the gradients at two different inputs, over all pairs: (N, D) → one number.

    Raises:
        ValueError: fewer than two inputs.

    Source: Balduzzi et al. 2017, theorem 1, where the correlation is taken over random weights.

    >>> mean_cosine(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    0.0
    """
    n = len(gradients)
    if n < 2:
        raise ValueError(f"gradients must hold at least 2 rows, got {n}")
    directions = F.normalize(gradients.double(), dim=1)
    # |Σ u|² holds each pair twice, and each direction with itself once.
    return ((directions.sum(0).square().sum() - directions.square().sum()) / (n * (n - 1))).item()
