"""A network of n residual blocks as 2ⁿ paths, each through the branches of some blocks and past the others.

Source: Veit, Wilber, Belongie 2016, https://arxiv.org/abs/1605.06431, sections 3 and 5.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from resnet_course.probes.variants import Block, blocks_of, last_norm


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
    blocks, inputs, gradient = _record(model, images, labels)
    by_length = [gradient]
    for block, x in reversed(list(zip(blocks.values(), inputs, strict=True))):
        around, through = _go_back_both_ways(block, x, by_length)
        nothing = torch.zeros_like(x)
        by_length = [a + b for a, b in zip([nothing, *through], [*around, nothing], strict=True)]
    return torch.stack(by_length)


def gradient_by_way(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, tuple[float, float]]:
    """The norm of the gradient that each block hands back to its input by the shortcut, and by the branch.

    What arrives is the sum of the two. The model runs in its present mode and stays as it is. A plain network, which
    has one way only, is a ValueError. Shapes: images (N, C, H, W), labels (N,).

    Source: He et al. 2016, "Identity Mappings in Deep Residual Networks", equation 5.

    >>> from resnet_lib.networks import cifar_resnet
    >>> list(gradient_by_way(cifar_resnet(8, width=4), torch.rand(2, 3, 8, 8), torch.tensor([0, 1])))
    ['layer1.0', 'layer2.0', 'layer3.0']
    """
    blocks, inputs, gradient = _record(model, images, labels)
    norms = {}
    for (name, block), x in reversed(list(zip(blocks.items(), inputs, strict=True))):
        around, through = (ways[0] for ways in _go_back_both_ways(block, x, [gradient]))
        norms[name] = around.double().norm().item(), through.double().norm().item()
        gradient = around + through
    return dict(reversed(norms.items()))


def _record(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor
) -> tuple[dict[str, Block], list[torch.Tensor], torch.Tensor]:
    """The blocks of a copy of the model, what comes into each, and the loss's gradient at what leaves the last."""
    model = copy.deepcopy(model)
    blocks, seen = blocks_of(model), []  # seen: what comes into each block, and what leaves the last
    if any(block.downsample is None for block in blocks.values()):
        raise ValueError("model must be residual: in a plain network there is one path only")

    def cut(block: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    hooks = [block.register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0])) for block in blocks.values()]
    hooks.append([*blocks.values()][-1].register_forward_hook(cut))
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(images), labels), seen[-1])
    for hook in hooks:
        hook.remove()
    return blocks, seen[:-1], gradient


def _go_back_both_ways(block: Block, x: torch.Tensor, gradients: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Each gradient at the block's output, taken back to its input by the shortcut alone, and by the branch alone."""
    ways = []
    for blocked in (getattr(block, last_norm(block)), block.downsample):
        hook = blocked.register_forward_hook(lambda module, inputs, output: output.detach())
        start = x.detach().requires_grad_()
        out = block(start)
        hook.remove()
        ways.append([torch.autograd.grad(out, start, gradient, retain_graph=True)[0] for gradient in gradients])
    return ways
