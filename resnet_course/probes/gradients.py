"""How large gradients are, how long they stay right, and how much those at two inputs have to do with each other.

Sources
-------
Glorot, Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html, section 4: gradients followed layer by layer.
Balduzzi, Frean, Leary, Lewis, Ma, McWilliams 2017, "The Shattered Gradients Problem",
    https://arxiv.org/abs/1702.08591: gradients along a line of inputs beside white and brown noise.
Santurkar, Tsipras, Ilyas, Madry 2018, "How Does Batch Normalization Help Optimization?",
    https://arxiv.org/abs/1805.11604: how long a gradient stays right along its own direction.
"""

import copy
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import nn


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
    model, layers = _in_training(model), list(weight_layers(model))
    gradients = dict(zip(_names(model), _gradients(model, images, labels), strict=True))
    return {name: gradients[f"{name}.weight"].norm().item() for name in layers}


def _in_training(model: nn.Module) -> nn.Module:
    """A copy, since a pass in training mode moves BatchNorm's running statistics."""
    return copy.deepcopy(model).train()


def _names(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def _gradients(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
    """Of the loss with respect to each parameter, in float64: squares of tiny float32 numbers would be 0."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    loss = F.cross_entropy(model(images), labels)
    return [gradient.double() for gradient in torch.autograd.grad(loss, parameters)]


def _flat(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])


def _direction(vectors: torch.Tensor) -> torch.Tensor:
    """Along the last dimension of length 1, however short the vectors are in float64; zeros stay zeros."""
    return F.normalize(vectors.double(), dim=-1, eps=1e-300)


def gradient_agreement(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, step_sizes: Sequence[float]
) -> list[float]:
    """How right the gradient still is after a step against it: the cosine between old and new gradient.

    All parameters together are one vector θ, from which a step of size s takes s·‖θ‖ in the gradient's direction.
    A cosine of 1 is "the same direction", 0 is "unrelated".

    Shapes: images (N, …) float32, labels (N,) int64.

    Source: after Santurkar et al. 2018, figure 4 ("gradient predictiveness", there as a distance).

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    >>> print(f"{gradient_agreement(model, torch.rand(3, 4), torch.tensor([0, 1, 0]), [0.0])[0]:.3f}")
    1.000
    """
    model = _in_training(model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    start = [parameter.detach().clone() for parameter in parameters]
    before = _direction(_flat(_gradients(model, images, labels)))
    agreements = []
    for size in step_sizes:
        with torch.no_grad():
            moved = _flat(start) - size * _flat(start).norm() * before
            for parameter, value in zip(parameters, moved.split([p.numel() for p in parameters]), strict=True):
                parameter.copy_(value.view_as(parameter))
        agreements.append((before @ _direction(_flat(_gradients(model, images, labels)))).item())
    return agreements


def hessian_range(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, iterations: int = 12
) -> tuple[float, float]:
    """The smallest and the largest eigenvalue of the loss's Hessian over all parameters, by Lanczos iterations.

    In training mode and float64. Gradient descent with a fixed rate is stable where the rate is below 2 / the largest.
    Between two kinks of its ReLUs a network is smooth, and the Hessian knows of no kink: what they add to the
    curvature over a step of some length is not in it.

    Shapes: images (N, …), labels (N,) int64.

    Source: Golub and Van Loan, "Matrix Computations", section 10.1; Cohen et al. 2021,
    https://arxiv.org/abs/2103.00065, section 2, for the rate.

    >>> model = nn.Linear(1, 2, bias=False)  # of two outputs only the difference counts, so one eigenvalue is 0
    >>> smallest, largest = hessian_range(model, torch.tensor([[2.0]]), torch.tensor([0]))
    >>> abs(smallest) < 1e-9 < largest
    True
    """
    model = _in_training(model).double()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    loss = F.cross_entropy(model(images.double()), labels)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    basis = [_direction(torch.randn(len(gradient), generator=torch.Generator().manual_seed(0)))]
    products: list[torch.Tensor] = []
    while len(products) < iterations:
        products.append(_flat(torch.autograd.grad(gradient @ basis[-1], parameters, retain_graph=True)))
        rest = products[-1]
        for vector in [*basis, *basis]:  # twice, or rounding leaves a part of the directions that it has been along
            rest = rest - (vector @ rest) * vector
        if rest.norm() <= 1e-9 * products[-1].norm():
            break  # all directions that matter are there
        basis.append(_direction(rest))
    projected = torch.stack(basis[: len(products)]) @ torch.stack(products).T
    eigenvalues = torch.linalg.eigvalsh((projected + projected.T) / 2)
    return eigenvalues[0].item(), eigenvalues[-1].item()


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


def autocorrelation(values: torch.Tensor, max_lag: int) -> torch.Tensor:
    """How alike a sequence is to itself, shifted by 0, 1, …, max_lag places; 1 for shift 0.

    With the mean m over the sequence: r(k) = Σₜ (vₜ - m)·(vₜ₊ₖ - m) / Σₜ |vₜ - m|². The numerator has k terms fewer,
    so it shrinks a little with k by itself; noise is treated likewise.

    Shapes: values (T,) or (T, D), where the product is the inner product → (max_lag + 1,).

    A constant sequence has none: not a number.

    Source: Balduzzi et al. 2017, figure 2.

    >>> autocorrelation(torch.tensor([1.0, -1.0, 1.0, -1.0]), 2)
    tensor([ 1.0000, -0.7500,  0.5000])
    """
    centred = values.reshape(len(values), -1).double()
    centred = centred - centred.mean(0)
    products = [(centred[: len(centred) - lag] * centred[lag:]).sum() for lag in range(max_lag + 1)]
    return (torch.stack(products) / centred.square().sum()).float()


def cosines(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The cosine between the rows of the same place, in float64, so that tiny gradients count: (N, D) twice → (N,).

    >>> cosines(torch.tensor([[1e-30, 0.0]]), torch.tensor([[2e-30, 0.0]]))
    tensor([1.], dtype=torch.float64)
    """
    return (_direction(one) * _direction(other)).sum(1)


def mean_cosine(gradients: torch.Tensor) -> float:
    """The mean cosine between the gradients at two different inputs, over all pairs: (N, D) → one number.

    Source: Balduzzi et al. 2017, theorem 1, where the correlation is taken over random weights.

    >>> mean_cosine(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    0.0
    """
    n, directions = len(gradients), _direction(gradients)
    # |Σ u|² holds each pair twice, and each direction with itself once.
    return ((directions.sum(0).square().sum() - directions.square().sum()) / (n * (n - 1))).item()


class LineNet(nn.Module):
    """A fully connected network from one number to one number, of ``depth`` hidden layers with ``width`` ReLUs each.

    The first layer has random biases, so that its ReLUs switch at different places. Each further layer takes its input
    h to ReLU, to random weights W of variance 2/width, and

    - plain: to BatchNorm, h ← BN(W·ReLU(h));
    - residual: back to where it came from, h ← h + β·W·ReLU(BN(h)).

    BatchNorm has no parameters of its own. Its mean and variance are those of the inputs given, and count as
    constants for the gradient, so that each input has a gradient of its own.

    Shapes: (N, 1) → (N, 1).

    Source: Balduzzi et al. 2017, figures 1 and 2: 200 ReLUs a layer, 256 inputs from -2 to 2, β = 1 and β = 0.1.

    >>> LineNet(3, residual=True)(torch.linspace(-2, 2, 5).unsqueeze(1)).shape
    torch.Size([5, 1])
    """

    def __init__(self, depth: int, residual: bool = False, width: int = 200, beta: float = 1.0) -> None:
        super().__init__()
        self.residual, self.beta = residual, beta
        self.first = nn.Linear(1, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(depth - 1))
        self.last = nn.Linear(width, 1, bias=False)
        nn.init.normal_(self.first.weight)
        nn.init.normal_(self.first.bias)
        for layer in [*self.hidden, self.last]:
            nn.init.normal_(layer.weight, std=(2 / width) ** 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        for layer in self.hidden:
            h = h + self.beta * layer(F.relu(_normalise(h))) if self.residual else _normalise(layer(F.relu(h)))
        return self.last(F.relu(h))


def _normalise(h: torch.Tensor) -> torch.Tensor:
    return (h - h.mean(0).detach()) / h.std(0).detach().clamp_min(1e-6)
