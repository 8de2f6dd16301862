"""Networks with one thing changed: without BatchNorm, with weaker branches, with blocks added that do nothing.

Sources
-------
Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 5.1: the last BatchNorm of a branch starts at zero.
Mishkin, Matas 2016, "All you need is a good init", https://arxiv.org/abs/1511.06422, algorithm 1: unit responses.
Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington 2018, https://arxiv.org/abs/1806.05393: delta-orthogonal kernels.
Hardt, Ma 2017, https://arxiv.org/abs/1611.04231: a layer should express the identity easily.
Zhang, Dauphin, Ma 2019, "Fixup Initialization", https://arxiv.org/abs/1901.09321: no BatchNorm, weaker branches.
De, Smith 2020, https://arxiv.org/abs/2002.10444: BatchNorm makes branches weaker; SkipInit's factor does so without.
"""

import copy
import re
from collections.abc import Callable

import torch
from torch import nn

from resnet_lib.blocks import BasicBlock, Bottleneck
from resnet_lib.networks import cifar_resnet, zero_last_batchnorm
from resnet_lib.parallel import seeded

Block = BasicBlock | Bottleneck


def blocks_of(model: nn.Module) -> dict[str, Block]:
    """The blocks of a network by name, from the first to the last.

    >>> list(blocks_of(cifar_resnet(8)))
    ['layer1.0', 'layer2.0', 'layer3.0']
    """
    return {name: module for name, module in model.named_modules() if isinstance(module, (BasicBlock, Bottleneck))}


def last_norm(block: Block) -> str:
    """The name of the module that a branch ends with.

    >>> last_norm(BasicBlock(4, 4)), last_norm(Bottleneck(4, 4))
    ('bn2', 'bn3')
    """
    return "bn3" if isinstance(block, Bottleneck) else "bn2"


def insert_zero_blocks(model: nn.Module, count: int) -> nn.Module:
    """A copy, deeper by ``count`` blocks behind each stage's last one, that computes the same to the last bit.

    The last BatchNorm of a new block has weight and bias zero, so its branch adds 0, and ReLU does nothing to what has
    been through a ReLU. All of it can learn.

    Raises:
        ValueError: a plain network, in which such a block would put out zeros.

    Source: the construction of He et al. 2016, section 1, made with the zeros of Goyal et al. 2017, section 5.1.

    >>> len(blocks_of(insert_zero_blocks(cifar_resnet(8), 2)))
    9
    """
    model = copy.deepcopy(model)
    for stage in (stage for name, stage in model.named_children() if name.startswith("layer")):
        block = stage[-1]
        if block.downsample is None:
            raise ValueError("model must be residual: a plain block of zeros puts out zeros, and not its input")
        out_channels = getattr(block, last_norm(block)).num_features
        for _ in range(count):
            new = type(block)(out_channels, out_channels // block.expansion, shortcut="B")
            zero_last_batchnorm(new)
            stage.append(new.train(block.training))
    return model


def _convolutions(model: nn.Module) -> list[nn.Conv2d]:
    """Those of the blocks."""
    modules = [module for block in blocks_of(model).values() for module in block.modules()]
    return [module for module in modules if isinstance(module, nn.Conv2d)]


@torch.no_grad()
def _near_identity(model: nn.Module, images: torch.Tensor, noise: float = 0.1) -> None:
    """Every convolution of a block starts as the identity and a share of the weights that it was drawn with."""
    for conv in _convolutions(model):
        conv.weight.copy_(nn.init.dirac_(torch.empty_like(conv.weight)) + noise * conv.weight)


@torch.no_grad()
def _delta_orthogonal(model: nn.Module, images: torch.Tensor) -> None:
    """Every kernel of a block is 0 but for its centre, where a random orthogonal matrix times √2 (for ReLU) stands."""
    for conv in _convolutions(model):
        nn.init.zeros_(conv.weight)
        nn.init.orthogonal_(conv.weight[:, :, 1, 1], gain=2**0.5)


def _leaky(model: nn.Module, images: torch.Tensor, slope: float) -> None:
    """The blocks' ReLUs let so much of what is negative through: 0 is ReLU, 1 makes the blocks linear."""
    for block in blocks_of(model).values():
        block.register_module("relu", nn.LeakyReLU(slope))


def _no_batchnorm(model: nn.Module, images: torch.Tensor) -> None:
    """Every BatchNorm goes, and the convolutions get a bias, since BatchNorm's goes with it.

    The weights stay as they were drawn: He's initialization keeps the size of the signal from layer to layer.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.Conv2d) and child.bias is None:
                child.bias = nn.Parameter(torch.zeros(child.out_channels))


def _small_weights(model: nn.Module, images: torch.Tensor) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, a=5**0.5)  # PyTorch's own start: variance 1 / (3·k·k·in_channels)


@torch.no_grad()
def _unit_responses(model: nn.Module, images: torch.Tensor) -> None:
    """The weights of each convolution times one number, so that its response to the images has deviation 1.

    What BatchNorm does in each step is done once, before the first, over all images, channels and pixels.
    """

    def rescale(module: nn.Conv2d, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        deviation = output.std()
        module.weight /= deviation
        return output / deviation

    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    hooks = [convolution.register_forward_hook(rescale) for convolution in convolutions]
    model(images)
    for hook in hooks:
        hook.remove()


class Scale(nn.Module):
    """Multiply by one number, which is fixed or learned. Shapes: any → the same."""

    def __init__(self, factor: float, learned: bool) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor), requires_grad=learned)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


def _scale_branches(model: nn.Module, factor: float, learned: bool = False) -> None:
    for block in blocks_of(model).values():
        setattr(block, last_norm(block), nn.Sequential(getattr(block, last_norm(block)), Scale(factor, learned)))


def _bare_projections(model: nn.Module, images: torch.Tensor) -> None:
    """No BatchNorm behind the projections, where the shape stays."""
    for block in blocks_of(model).values():
        if block.conv1.in_channels == block.conv2.out_channels:
            block.downsample[1] = nn.Identity()


def _identity_projections(model: nn.Module, images: torch.Tensor) -> None:
    """A projection starts as the identity where the shape stays."""
    for block in blocks_of(model).values():
        if block.conv1.in_channels == block.conv2.out_channels:
            nn.init.dirac_(block.downsample[0].weight)


SHORTCUTS = {"plain": "none", "residual": "A", "projections": "C"}
# What is done, in the order of the name, to a network that is drawn, given images to look at.
CHANGES: dict[str, Callable[..., None]] = {
    "zero-gamma": lambda model, images: zero_last_batchnorm(model),
    "near identity": _near_identity,
    "delta-orthogonal": _delta_orthogonal,
    "leaky": _leaky,
    "no BN": _no_batchnorm,
    "small weights": _small_weights,
    "unit responses": _unit_responses,
    "bare": _bare_projections,
    "identity start": _identity_projections,
    "scaled": lambda model, images: _scale_branches(model, len(blocks_of(model)) ** -0.5),
    "SkipInit": lambda model, images: _scale_branches(model, 0.0, learned=True),
}
KINDS = (
    "plain",
    "residual",
    "residual, no BN, scaled",
    "plain, no BN, near identity",
    "plain, near identity",
    "residual, no BN, SkipInit",
    "residual, no BN",
    "residual, zero-gamma",
    "plain, delta-orthogonal",
    "projections",
    "plain, no BN, delta-orthogonal",
    "plain, no BN",
    "plain, no BN, unit responses",
    "plain, no BN, small weights",
)


def build_kind(kind: str, depth: int, seed: int, images: torch.Tensor, width: int = 8) -> nn.Module:
    """A network of one kind, the paper's for small images with 10 classes, as its seed draws it.

    The name of a kind, such as those of `KINDS`, is a key of `SHORTCUTS`, and keys of `CHANGES` behind commas, which
    may end with a number: the share of noise in "near identity 0.3", the slope in "leaky 0.3".

    Shapes: images (N, C, H, W), such as the network will be trained on.

    Raises:
        KeyError: an unknown kind.
        ValueError: a depth that is not 6n+2.

    >>> sorted(build_kind("plain", 8, 0, torch.rand(2, 1, 8, 8)).state_dict())[:2]
    ['bn1.bias', 'bn1.num_batches_tracked']
    """
    shortcut, *changes = kind.split(", ")
    with seeded(seed):
        model = cifar_resnet(depth, SHORTCUTS[shortcut], width=width, in_channels=images.shape[1])
        for change in changes:
            name, *number = re.split(r" (?=[\d.]+$)", change)
            CHANGES[name](model, images, *map(float, number))
    return model
