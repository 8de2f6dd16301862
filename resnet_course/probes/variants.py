"""Networks with one thing changed: without BatchNorm, with weaker branches, with blocks added that do nothing.

Each function changes the network that it is given, in place, and returns it, unless it says that it returns a copy.

Sources
-------
Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 5.1: the last BatchNorm of a branch starts at zero.
Zhang, Dauphin, Ma 2019, "Fixup Initialization", https://arxiv.org/abs/1901.09321: no BatchNorm, weaker branches.
De, Smith 2020, https://arxiv.org/abs/2002.10444: BatchNorm makes branches weaker; a learned factor does so without.
"""

import copy

import torch
from torch import nn

from resnet_lib._arguments import check_count, check_not_negative
from resnet_lib.blocks import BasicBlock, Bottleneck
from resnet_lib.networks import zero_last_batchnorm

Block = BasicBlock | Bottleneck


def blocks_of(model: nn.Module) -> dict[str, Block]:
    """The blocks of a network by name, from the first to the last.

    >>> from resnet_lib.networks import cifar_resnet
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


def remove_batchnorm(model: nn.Module) -> nn.Module:
    """Take every BatchNorm out. The convolutions get a bias, since BatchNorm's goes with it.

    The weights stay as they were drawn: He's initialization, which keeps the size of the signal from layer to layer
    without BatchNorm.

    >>> from resnet_lib.networks import cifar_resnet
    >>> model = remove_batchnorm(cifar_resnet(8))
    >>> any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    False
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.Conv2d) and child.bias is None:
                child.bias = nn.Parameter(torch.zeros(child.out_channels))
    return model


@torch.no_grad()
def scale_to_unit_responses(model: nn.Module, images: torch.Tensor) -> nn.Module:
    """Multiply the weights of each convolution by one number, so that its response to these images has deviation 1.

    What BatchNorm does in each step is done once, before the first. The standard deviation is taken over all images,
    channels and pixels.

    Shapes: images (N, C, H, W).

    Source: Mishkin and Matas 2016, "All you need is a good init", https://arxiv.org/abs/1511.06422, algorithm 1.

    >>> layer = scale_to_unit_responses(nn.Sequential(nn.Conv2d(1, 4, 3, bias=False)), images := torch.rand(8, 1, 8, 8))
    >>> print(f"{layer(images).std():.3f}")
    1.000
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
    return model


class Scale(nn.Module):
    """Multiply by one number, which is fixed or learned. Shapes: any → the same.

    >>> Scale(0.5)(torch.ones(2))
    tensor([0.5000, 0.5000])
    """

    def __init__(self, factor: float, learned: bool = False) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(float(factor)), requires_grad=learned)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


def scale_branches(model: nn.Module, factor: float, learned: bool = False) -> nn.Module:
    """Let every block add ``factor``·F(x) instead of F(x); a learned factor is one more parameter a block.

    With factor 0 and learned this is SkipInit. In a plain network it scales what the blocks hand on.

    Source: De and Smith 2020 (SkipInit); Zhang et al. 2019 make branches weaker by their initial weights.

    >>> from resnet_lib.networks import cifar_resnet
    >>> scale_branches(cifar_resnet(8), 0.5).layer1[0].bn2[1].factor.item()
    0.5
    """
    check_not_negative("factor", factor)
    for block in blocks_of(model).values():
        setattr(block, last_norm(block), nn.Sequential(getattr(block, last_norm(block)), Scale(factor, learned)))
    return model


def start_near_identity(model: nn.Module, noise: float = 0.1) -> nn.Module:
    """Let every 3×3 convolution start as the identity plus ``noise`` times the weights that it was drawn with.

    Source: the identity of He et al. 2016, section 1, as a start; after Hardt and Ma 2017,
    https://arxiv.org/abs/1611.04231, who ask that a layer express the identity easily.

    >>> from resnet_lib.networks import cifar_resnet
    >>> start_near_identity(cifar_resnet(8), noise=0.0).layer1[0].conv1.weight[0, 0]
    tensor([[0., 0., 0.],
            [0., 1., 0.],
            [0., 0., 0.]], grad_fn=<SelectBackward0>)
    """
    check_not_negative("noise", noise)
    for block in blocks_of(model).values():
        for conv in (module for module in block.modules() if isinstance(module, nn.Conv2d)):
            with torch.no_grad():
                conv.weight.copy_(nn.init.dirac_(torch.empty_like(conv.weight)) + noise * conv.weight)
    return model


def insert_zero_blocks(model: nn.Module, count: int) -> nn.Module:
    """A copy, deeper by ``count`` blocks behind each stage's last one, that computes the same to the last bit.

    The last BatchNorm of a new block has weight and bias zero, so its branch adds 0, and ReLU does nothing to what has
    been through a ReLU. All of it can learn.

    Raises:
        ValueError: a plain network, in which such a block would put out zeros.

    Source: the construction of He et al. 2016, section 1, made with the zeros of Goyal et al. 2017, section 5.1.

    >>> from resnet_lib.networks import cifar_resnet
    >>> len(blocks_of(insert_zero_blocks(cifar_resnet(8), 2)))
    9
    """
    check_count("count", count)
    model = copy.deepcopy(model)
    stages = {name: stage for name, stage in model.named_children() if name.startswith("layer")}
    for stage in stages.values():
        block = stage[-1]
        if block.downsample is None:
            raise ValueError("model must be residual: a plain block of zeros puts out zeros, and not its input")
        out_channels = getattr(block, last_norm(block)).num_features
        mode = block.training
        for _ in range(count):
            new = type(block)(out_channels, out_channels // block.expansion, shortcut="B")
            zero_last_batchnorm(new)
            stage.append(new.train(mode))
    return model
