"""How much each layer says: the size of its response, and of a branch beside its shortcut.

Source: He et al. 2016, https://arxiv.org/abs/1512.03385, section 4.2 and figure 7.
"""

import copy
import functools
from collections.abc import Iterable

import torch
from torch import nn

from resnet_course.probes.gradients import mean_cosine
from resnet_course.probes.variants import blocks_of, last_norm


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
    paths = [name.split(".") for name, _ in model.named_modules()]
    norms = [".".join(path) for path in paths if path[-1] in ("bn1", "bn2", "bn3") and "downsample" not in path]
    return {name: output.std().item() for name, output in _run_and_watch(model, images, norms).items()}


def branch_shares(model: nn.Module, images: torch.Tensor) -> dict[str, float]:
    """Of each residual block, the size of what the branch adds beside what the shortcut brings: ‖F(x)‖ / ‖x‖.

    In evaluation mode. A plain block has no share.

    Shapes: images (N, C, H, W).

    Source: De and Smith 2020, https://arxiv.org/abs/2002.10444, where the variances are compared.

    >>> from resnet_lib.networks import cifar_resnet
    >>> list(branch_shares(cifar_resnet(8, in_channels=1), torch.rand(4, 1, 8, 8)))
    ['layer1.0', 'layer2.0', 'layer3.0']
    """
    ends = {name: last_norm(block) for name, block in blocks_of(model).items() if block.downsample is not None}
    names = [f"{name}.{part}" for name, norm in ends.items() for part in (norm, "downsample")]
    sizes = {name: output.norm() for name, output in _run_and_watch(model, images, names).items()}
    return {name: (sizes[f"{name}.{norm}"] / sizes[f"{name}.downsample"]).item() for name, norm in ends.items()}


def dead_channels(model: nn.Module, images: torch.Tensor) -> list[float]:
    """Of each ReLU in a block, in order, the share of channels in which it is 0 everywhere, for all the images.

    In training mode, so BatchNorm takes the images' own statistics. Through a dead channel no gradient passes.

    Shapes: images (N, C, H, W) → two numbers a basic block.

    >>> from resnet_lib.networks import cifar_resnet
    >>> dead_channels(cifar_resnet(8, "none", in_channels=1), torch.rand(4, 1, 8, 8))
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    return [(output.amax((0, 2, 3)) <= 0).double().mean().item() for output in _relu_outputs(model, images)]


def signal_by_layer(model: nn.Module, images: torch.Tensor) -> tuple[list[float], list[float]]:
    """Behind each ReLU in a block: how alike two images' features are, and how many dimensions all of them fill.

    The likeness is the mean cosine over all pairs of images. The dimensions are Roy and Vetterli's effective rank of
    the features, the exponential of the entropy of their singular values' shares. In training mode.

    Shapes: images (N, C, H, W) → two numbers a basic block, twice.

    Source: Schoenholz et al. 2017, https://arxiv.org/abs/1611.01232, for the likeness; Daneshmand et al. 2020,
    https://arxiv.org/abs/2003.01652, for the rank.
    """
    likeness, rank = [], []
    for output in _relu_outputs(model, images):
        features = output.flatten(1).double()
        likeness.append(mean_cosine(features))
        shares = torch.linalg.svdvals(features)
        shares = shares[shares > 0] / shares.sum()
        rank.append(torch.special.entr(shares).sum().exp().item())
    return likeness, rank


@torch.no_grad()
def _relu_outputs(model: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    model, outputs = copy.deepcopy(model).train(), []
    for block in blocks_of(model).values():
        block.relu.register_forward_hook(lambda module, inputs, output: outputs.append(output.clone()))
    model(images)
    return outputs


@torch.no_grad()
def _run_and_watch(model: nn.Module, images: torch.Tensor, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """What each of the modules of these names puts out for these images, in evaluation mode."""
    model, outputs = copy.deepcopy(model).eval(), {}

    def keep(name: str, module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        outputs[name] = output.clone()  # since a block adds its shortcut into the tensor that BatchNorm has put out

    for name in names:
        model.get_submodule(name).register_forward_hook(functools.partial(keep, name))
    model(images)
    return outputs
