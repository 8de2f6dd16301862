"""A network of n residual blocks as 2ⁿ paths, each through the branches of some blocks and past the others.

Sources
-------
Veit, Wilber, Belongie 2016, https://arxiv.org/abs/1605.06431, sections 3 and 5.
"""

import copy
import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import nn

from resnet_course.probes.variants import Block, blocks_of, last_norm
from resnet_lib._arguments import check_choice, check_count


def path_length_distribution(blocks: int) -> list[float]:
    """The share of paths that lead through 0, 1, …, n branches of n blocks: the binomial distribution.

    Source: Veit et al. 2016, section 5.

    >>> path_length_distribution(2)
    [0.25, 0.5, 0.25]
    """
    check_count("blocks", blocks)
    return [math.comb(blocks, length) / 2**blocks for length in range(blocks + 1)]


class Stop(nn.Module):
    """Hand the value on, and no gradient back. Shapes: any → the same."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach()


def _stop_shortcut(block: Block) -> None:
    block.downsample = nn.Sequential(block.downsample, Stop())


def _stop_branch(block: Block) -> None:
    setattr(block, last_norm(block), nn.Sequential(getattr(block, last_norm(block)), Stop()))


def _check_residual(model: nn.Module) -> None:
    if any(block.downsample is None for block in blocks_of(model).values()):
        raise ValueError("model must be residual: in a plain network there is one path only")


def path_gradient(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, through: Iterable[str] = ()
) -> torch.Tensor:
    """The part of the loss's gradient that reaches the first block by one path.

    Forward, everything is computed as ever. Backward, the gradient takes the branch of each block named in
    ``through``, and the shortcut of each other block. The model runs in its present mode and stays as it is.

    Shapes: images (N, C, H, W), labels (N,) → the shape of the first block's input.

    Raises:
        ValueError: a plain network, or a name that is not one of its blocks.

    Source: Veit et al. 2016, section 5.

    >>> from resnet_lib.networks import cifar_resnet
    >>> path_gradient(cifar_resnet(8, width=4), torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), ["layer2.0"]).shape
    torch.Size([2, 4, 8, 8])
    """
    _check_residual(model)
    through = list(through)
    for name in through:
        check_choice("through", name, blocks_of(model))
    model = copy.deepcopy(model)
    blocks = blocks_of(model)
    for name, block in blocks.items():
        if name in through:
            _stop_shortcut(block)
        else:
            _stop_branch(block)
    inputs, loss = _run_from_first_block(model, images, labels)
    return torch.autograd.grad(loss, inputs[0])[0]


def _run_from_first_block(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The inputs of all blocks and the output of the last, as the loss knows them, and the loss."""
    seen: list[torch.Tensor] = []

    def see_input(block: nn.Module, arguments: tuple[torch.Tensor]) -> torch.Tensor:
        seen.append(arguments[0] if seen else arguments[0].detach().requires_grad_())
        return seen[-1]

    def see_output(block: nn.Module, arguments: tuple[torch.Tensor], output: torch.Tensor) -> None:
        seen.append(output)

    blocks = list(blocks_of(model).values())
    hooks = [block.register_forward_pre_hook(see_input) for block in blocks]
    hooks.append(blocks[-1].register_forward_hook(see_output))
    loss = F.cross_entropy(model(images), labels)
    for hook in hooks:
        hook.remove()
    return seen, loss


def gradient_by_path_length(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The gradient at the first block's input, split by the number of branches on the way: exactly, for all 2ⁿ paths.

    Going back block by block, all that has come through k branches so far is kept together. A shortcut hands it on as
    k, and a branch as k + 1. The sum over all k is the ordinary gradient. The model runs in its present mode and stays
    as it is.

    Shapes: images (N, C, H, W), labels (N,) → (n + 1, *the shape of the first block's input) for n blocks.

    Raises:
        ValueError: a plain network.

    Source: the question of Veit et al. 2016, section 5; there by sampling paths, here by adding up all of them.

    >>> from resnet_lib.networks import cifar_resnet
    >>> gradient_by_path_length(cifar_resnet(8, width=4), torch.rand(2, 3, 8, 8), torch.tensor([0, 1])).shape
    torch.Size([4, 2, 4, 8, 8])
    """
    _check_residual(model)
    model = copy.deepcopy(model)
    values, loss = _run_from_first_block(model, images, labels)
    by_length = [torch.autograd.grad(loss, values[-1])[0]]
    for block, x in zip(reversed(blocks_of(model).values()), reversed(values[:-1]), strict=True):
        by_branch, by_shortcut = copy.deepcopy(block), copy.deepcopy(block)
        _stop_shortcut(by_branch)
        _stop_branch(by_shortcut)
        nothing = torch.zeros_like(x)
        ways = [_go_back(way, x, by_length) for way in (by_branch, by_shortcut)]
        by_length = [a + b for a, b in zip([nothing, *ways[0]], [*ways[1], nothing], strict=True)]
    return torch.stack(by_length)


def _go_back(block: Block, x: torch.Tensor, gradients: list[torch.Tensor]) -> list[torch.Tensor]:
    """Each gradient at the block's output, taken back to its input."""
    x = x.detach().requires_grad_()
    out = block(x)
    return [torch.autograd.grad(out, x, gradient, retain_graph=True)[0] for gradient in gradients]
