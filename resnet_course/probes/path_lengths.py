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
    if any(block.downsample is None for block in blocks_of(model).values()):
        raise ValueError("model must be residual: in a plain network there is one path only")
    model = copy.deepcopy(model)
    blocks, seen = list(blocks_of(model).values()), []  # seen: what comes into each block, and what leaves the last

    def cut(block: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    hooks = [block.register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0])) for block in blocks]
    hooks.append(blocks[-1].register_forward_hook(cut))
    by_length = list(torch.autograd.grad(F.cross_entropy(model(images), labels), seen[-1]))
    for hook in hooks:
        hook.remove()
    for block, x in reversed(list(zip(blocks, seen[: len(blocks)], strict=True))):
        through = _go_back(block, x, by_length, past=block.downsample)
        around = _go_back(block, x, by_length, past=getattr(block, last_norm(block)))
        nothing = torch.zeros_like(x)
        by_length = [a + b for a, b in zip([nothing, *through], [*around, nothing], strict=True)]
    return torch.stack(by_length)


def _go_back(block: Block, x: torch.Tensor, gradients: list[torch.Tensor], past: nn.Module) -> list[torch.Tensor]:
    """Each gradient at the block's output, taken back to its input; none goes through the module ``past``."""
    hook = past.register_forward_hook(lambda module, inputs, output: output.detach())
    x = x.detach().requires_grad_()
    out = block(x)
    hook.remove()
    return [torch.autograd.grad(out, x, gradient, retain_graph=True)[0] for gradient in gradients]
