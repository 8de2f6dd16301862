"""The networks in which shattered gradients were first shown: one number in, one number out.

Source: Balduzzi et al. 2017, https://arxiv.org/abs/1702.08591, figures 1 and 2: fully connected networks
with 200 ReLUs a layer, at 256 inputs from -2 to 2; residual ones with β = 1 and β = 0.1.
"""

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lib._arguments import check_counts, check_positive


class LineNet(nn.Module):
    """A fully connected ReLU network from one number to one number, plain or residual.

    The first layer has random biases, so that its ReLUs switch at different places. Each further layer takes its input
    h to ReLU, to random weights W of variance 2/width, and

    - plain: to BatchNorm, h ← BN(W·ReLU(h));
    - residual: back to where it came from, h ← h + β·W·ReLU(BN(h)).

    BatchNorm has no parameters of its own. Its mean and variance are those of the inputs given, and count as
    constants for the gradient, so that each input has a gradient of its own.

    Shapes: (N, 1) → (N, 1).

    Args:
        depth: hidden layers.
        residual: add the input back around each layer but the first.
        width: ReLUs in a layer.
        beta: the factor β of the residual branches.
        batchnorm: without it, BN is the identity.

    >>> LineNet(3, residual=True)(torch.linspace(-2, 2, 5).unsqueeze(1)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self, depth: int, residual: bool = False, width: int = 200, beta: float = 1.0, batchnorm: bool = True
    ) -> None:
        super().__init__()
        check_counts(depth=depth, width=width)
        check_positive("beta", beta)
        self.residual, self.beta, self.batchnorm = residual, beta, batchnorm
        self.first = nn.Linear(1, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(depth - 1))
        self.last = nn.Linear(width, 1, bias=False)
        nn.init.normal_(self.first.weight)
        nn.init.normal_(self.first.bias)
        for layer in [*self.hidden, self.last]:
            nn.init.normal_(layer.weight, std=(2 / width) ** 0.5)

    def normalise(self, h: torch.Tensor) -> torch.Tensor:
        if not self.batchnorm:
            return h
        return (h - h.mean(0).detach()) / h.std(0).detach().clamp_min(1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        for layer in self.hidden:
            h = self.residual_step(layer, h) if self.residual else self.normalise(layer(F.relu(h)))
        return self.last(F.relu(h))

    def residual_step(self, layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
        return h + self.beta * layer(F.relu(self.normalise(h)))
