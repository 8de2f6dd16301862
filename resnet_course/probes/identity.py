"""Can a stack of blocks learn to do nothing?

Source: He et al. 2016, https://arxiv.org/abs/1512.03385, section 3.1: the degradation problem suggests "that the
solvers might have difficulties in approximating identity mappings by multiple nonlinear layers".
"""

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lib._arguments import check_count, check_counts, check_positive
from resnet_lib.blocks import BasicBlock
from resnet_lib.networks import initialize, make_layer
from resnet_lib.parallel import seeded


def identity_error(model: nn.Module, x: torch.Tensor) -> float:
    """How far the model is from handing on x: Σ(f(x) - x)² / Σ(x - mean)², in evaluation mode.

    0 is the identity; 1 is what the best constant reaches.

    >>> identity_error(nn.Identity(), torch.rand(2, 3))
    0.0
    """
    mode = model.training
    with torch.no_grad():
        error = (model.eval()(x) - x).square().sum() / (x - x.mean()).square().sum()
    model.train(mode)
    return error.item()


def learn_identity(
    blocks: int, shortcut: str, seed: int, lr: float = 0.1, steps: int = 300, channels: int = 8
) -> float:
    """Train a stack of basic blocks to put out what comes in, and return its `identity_error` on new inputs.

    The inputs are positive, like the output of a ReLU: the positive part of normal noise, (64, channels, 8, 8), new in
    each step. SGD with momentum 0.9 and a one-cycle learning rate minimises the mean squared difference.

    Args:
        blocks: blocks in the stack, of two convolutions each.
        shortcut: "none" for plain blocks, "A" for residual ones.
        seed: decides the initial weights and the inputs.
        lr: the highest learning rate.
        steps: steps of SGD.
        channels: channels of the inputs and of every convolution.

    Returns:
        The error, or infinity if the training diverged.

    Source: the claim of He et al. 2016, section 3.1, made into an experiment.

    >>> learn_identity(1, "A", seed=0, steps=2) > 0
    True
    """
    check_counts(blocks=blocks, steps=steps, channels=channels)
    check_count("seed", seed, at_least=0)
    check_positive("lr", lr)
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
            return float("inf")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return identity_error(model, draw())
