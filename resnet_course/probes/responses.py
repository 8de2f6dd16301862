"""How much each layer says: the size of its response, and of a branch beside its shortcut.

Source: He et al. 2016, https://arxiv.org/abs/1512.03385, section 4.2 and figure 7.
"""

import torch
from torch import nn

from resnet_course.probes.variants import blocks_of, last_norm


@torch.no_grad()
def response_std(model: nn.Module, images: torch.Tensor) -> dict[str, float]:
    """The standard deviation of each 3×3 layer's response, by the name of its BatchNorm, in evaluation mode.

    The response is what BatchNorm puts out, before the ReLU and before the addition. The standard deviation is taken
    over all images, channels and pixels. In a network whose BatchNorms were taken out it is what stands in their place.

    Shapes: images (N, C, H, W).

    Source: He et al. 2016, figure 7.

    >>> from resnet_lib.networks import cifar_resnet
    >>> list(response_std(cifar_resnet(8, in_channels=1), torch.rand(4, 1, 8, 8)))[:3]
    ['bn1', 'layer1.0.bn1', 'layer1.0.bn2']
    """
    norms = {
        name: module
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in ("bn1", "bn2", "bn3") and "downsample" not in name.split(".")
    }
    outputs = _run_and_watch(model, images, list(norms.values()))
    return {name: output.std().item() for name, output in zip(norms, outputs, strict=True)}


@torch.no_grad()
def branch_shares(model: nn.Module, images: torch.Tensor) -> dict[str, float]:
    """Of each residual block, the size of what the branch adds beside what the shortcut brings: ‖F(x)‖ / ‖x‖.

    In evaluation mode. A plain block has no share.

    Shapes: images (N, C, H, W).

    Source: De and Smith 2020, https://arxiv.org/abs/2002.10444, where the variances are compared.

    >>> from resnet_lib.networks import cifar_resnet
    >>> list(branch_shares(cifar_resnet(8, in_channels=1), torch.rand(4, 1, 8, 8)))
    ['layer1.0', 'layer2.0', 'layer3.0']
    """
    blocks = {name: block for name, block in blocks_of(model).items() if block.downsample is not None}
    ends = [getattr(block, last_norm(block)) for block in blocks.values()]
    branches = _run_and_watch(model, images, ends)
    shortcuts = _run_and_watch(model, images, [block.downsample for block in blocks.values()])
    pairs = zip(blocks, branches, shortcuts, strict=True)
    return {name: (branch.norm() / shortcut.norm()).item() for name, branch, shortcut in pairs}


def _run_and_watch(model: nn.Module, images: torch.Tensor, modules: list[nn.Module]) -> list[torch.Tensor]:
    """What each of the modules puts out for these images; the model's mode stays."""
    outputs: list[torch.Tensor] = []
    # A copy, since a block adds its shortcut into the tensor that BatchNorm has put out.
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: outputs.append(output.clone()))
        for module in modules
    ]
    mode = model.training
    try:
        model.eval()(images)
    finally:
        model.train(mode)
        for hook in hooks:
            hook.remove()
    return outputs
