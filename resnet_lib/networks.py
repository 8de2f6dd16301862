"""Whole networks: blocks stacked in stages between a stem and a head.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385:
table 1 lists the ImageNet networks, section 4.2 describes the CIFAR networks.
The modules have the names of torchvision.models.resnet, so that its weights load into these networks.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lib.blocks import BasicBlock, Bottleneck, conv3x3
from resnet_lib.recipes import check_depth


def make_layer(
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    channels: int,
    num_blocks: int,
    stride: int = 1,
    shortcut: str = "B",
    bias: bool = False,
) -> nn.Sequential:
    """One stage: ``num_blocks`` blocks, of which only the first may change the shape; torchvision's `_make_layer`.

    Shapes: (N, in_channels, H, W) → (N, channels·expansion, ⌈H/stride⌉, ⌈W/stride⌉). Source: table 1.

    >>> make_layer(Bottleneck, 64, 64, 3)(torch.rand(1, 64, 56, 56)).shape
    torch.Size([1, 256, 56, 56])
    """
    blocks = []
    for i in range(num_blocks):
        blocks.append(block(in_channels, channels, stride if i == 0 else 1, shortcut, bias=bias))
        in_channels = channels * block.expansion
    return nn.Sequential(*blocks)


def initialize(network: nn.Module) -> None:
    """Draw every convolution's weights from He's normal distribution, variance 2 / (k·k·out_channels).

    BatchNorm keeps PyTorch's start (weight 1, bias 0) and so does the linear layer.
    Source: He et al. 2015, https://arxiv.org/abs/1502.01852, equation 14; `fan_out` as in torchvision.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def zero_last_batchnorm(network: nn.Module) -> None:
    """Let every residual branch start at zero, so that every block starts as ReLU of its shortcut.

    Source: Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 5.1; torchvision's `zero_init_residual`.
    """
    for module in network.modules():
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)


class ResNet(nn.Module):
    """The paper's network for ImageNet: a 7×7 stem, four stages of ``layers`` blocks, global average pooling, ``fc``.

    Shapes: (N, in_channels, H, W) → (N, num_classes), for H and W from 32 up. Source: table 1.
    The options: ``shortcut`` as in `make_shortcut`; ``bias`` gives every convolution one, as many tutorials do, which
    BatchNorm makes dead weight; ``zero_init_residual`` starts every branch at zero, and is a ValueError without a
    shortcut. Unlike torchvision's, the network has no module ``avgpool`` (``forward`` takes the mean itself, whose
    backward repeats bit for bit on a GPU), its blocks have no ``stride``, and an identity is an `nn.Identity`.

    >>> ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10)(torch.rand(2, 3, 64, 64)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        shortcut: str = "B",
        bias: bool = False,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        if zero_init_residual and shortcut == "none":
            raise ValueError("zero_init_residual=True needs a shortcut, or the output is constant: got shortcut='none'")

        self.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=bias)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        expansion = block.expansion
        self.layer1 = make_layer(block, 64, 64, layers[0], 1, shortcut, bias)
        self.layer2 = make_layer(block, 64 * expansion, 128, layers[1], 2, shortcut, bias)
        self.layer3 = make_layer(block, 128 * expansion, 256, layers[2], 2, shortcut, bias)
        self.layer4 = make_layer(block, 256 * expansion, 512, layers[3], 2, shortcut, bias)
        self.fc = nn.Linear(512 * expansion, num_classes)

        initialize(self)
        if zero_init_residual:
            zero_last_batchnorm(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # (N, 64, H/2, W/2)
        x = self.maxpool(x)  # (N, 64, H/4, W/4)
        x = self.layer1(x)
        x = self.layer2(x)  # (N, 128·expansion, H/8, W/8)
        x = self.layer3(x)  # (N, 256·expansion, H/16, W/16)
        x = self.layer4(x)  # (N, 512·expansion, H/32, W/32)
        x = x.mean((2, 3), keepdim=True)  # global average pooling: (N, 512·expansion, 1, 1)
        return self.fc(x.flatten(1))


def resnet18(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """ResNet-18, with 11,689,512 parameters; ``options`` are the keyword arguments of `ResNet`, here and below."""
    return ResNet(BasicBlock, [2, 2, 2, 2], num_classes, in_channels, **options)


def resnet34(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """ResNet-34, with 21,797,672 parameters."""
    return ResNet(BasicBlock, [3, 4, 6, 3], num_classes, in_channels, **options)


def resnet50(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """ResNet-50, with 25,557,032 parameters."""
    return ResNet(Bottleneck, [3, 4, 6, 3], num_classes, in_channels, **options)


def resnet101(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """ResNet-101, with 44,549,160 parameters."""
    return ResNet(Bottleneck, [3, 4, 23, 3], num_classes, in_channels, **options)


def resnet152(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """ResNet-152, with 60,192,808 parameters."""
    return ResNet(Bottleneck, [3, 8, 36, 3], num_classes, in_channels, **options)


def plain18(num_classes: int = 1000, in_channels: int = 3, *, bias: bool = False) -> ResNet:
    """ResNet-18 without its shortcuts, the paper's plain network of 18 layers: 11,515,688 parameters."""
    return ResNet(BasicBlock, [2, 2, 2, 2], num_classes, in_channels, shortcut="none", bias=bias)


def plain34(num_classes: int = 1000, in_channels: int = 3, *, bias: bool = False) -> ResNet:
    """ResNet-34 without its shortcuts, the paper's plain network of 34 layers: 21,623,848 parameters."""
    return ResNet(BasicBlock, [3, 4, 6, 3], num_classes, in_channels, shortcut="none", bias=bias)


class CifarResNet(nn.Module):
    """The paper's network for small images: a 3×3 stem without pooling, three stages, 6n+2 weight layers.

    ``width`` is the channels of the first stage; the stages work on H, ⌈H/2⌉ and ⌈H/4⌉ pixels. A plain network and the
    one with option A have the same parameters. A ``depth`` that is not 6n+2 is a ValueError with the nearest two.
    Shapes: (N, in_channels, H, W) → (N, num_classes). Source: section 4.2.

    >>> CifarResNet(20, "none", width=8, in_channels=1)(torch.rand(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, depth: int, shortcut: str = "A", *, width: int = 16, in_channels: int = 3, num_classes: int = 10
    ) -> None:
        super().__init__()
        check_depth(depth)
        blocks_per_stage = (depth - 2) // 6
        self.conv1 = conv3x3(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = make_layer(BasicBlock, width, width, blocks_per_stage, 1, shortcut)
        self.layer2 = make_layer(BasicBlock, width, 2 * width, blocks_per_stage, 2, shortcut)
        self.layer3 = make_layer(BasicBlock, 2 * width, 4 * width, blocks_per_stage, 2, shortcut)
        self.fc = nn.Linear(4 * width, num_classes)
        initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))  # (N, width, H, W)
        x = self.layer1(x)
        x = self.layer2(x)  # (N, 2·width, H/2, W/2)
        x = self.layer3(x)  # (N, 4·width, H/4, W/4)
        x = x.mean((2, 3), keepdim=True)  # (N, 4·width, 1, 1)
        return self.fc(x.flatten(1))


cifar_resnet = CifarResNet  # under the name of the other builders
