"""ResNet, built step by step, counted and measured: the code of the book.

The models need torch alone and stand here; the experiment is in `resnet_lib.experiments`, its command line in
``python -m resnet_lib``.
"""

from resnet_lib.blocks import BasicBlock, Bottleneck, Residual, ZeroPadShortcut, conv1x1, conv3x3, resnet_block
from resnet_lib.networks import (
    CifarResNet,
    ResNet,
    cifar_resnet,
    plain18,
    plain34,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
)

__version__ = "0.1.0"

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "CifarResNet",
    "ResNet",
    "Residual",
    "ZeroPadShortcut",
    "cifar_resnet",
    "conv1x1",
    "conv3x3",
    "plain18",
    "plain34",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet_block",
]
