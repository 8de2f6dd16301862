"""The building blocks: two convolutions, or three, and a shortcut around them. Shapes are (N, C, H, W).

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385:
equation 1 is the block, section 3.3 names the shortcut options A, B and C, figure 5 draws both blocks.
The modules have the names of torchvision.models.resnet, so that its weights load into these blocks.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    """Two 3×3 convolutions F(x), and the input added back: ReLU(F(x) + x). The block as most tutorials teach it.

    Its convolutions keep their bias, and its 1×1 convolution has no BatchNorm; `BasicBlock` differs in both.
    Shapes: (N, input_channels, H, W) → (N, num_channels, ⌈H/strides⌉, ⌈W/strides⌉). Source: equations 1 and 2.
    Raises a ValueError where the shape changes without ``use_1x1conv``.

    >>> Residual(3, 6, use_1x1conv=True, strides=2)(torch.rand(4, 3, 6, 6)).shape
    torch.Size([4, 6, 3, 3])
    """

    def __init__(self, input_channels: int, num_channels: int, use_1x1conv: bool = False, strides: int = 1) -> None:
        super().__init__()
        if not use_1x1conv and (strides != 1 or input_channels != num_channels):
            change = f"strides={strides} and {input_channels} to {num_channels} channels change the shape"
            raise ValueError(f"{change}, so the input can't be added back: pass use_1x1conv=True")
        self.conv1 = nn.Conv2d(input_channels, num_channels, kernel_size=3, stride=strides, padding=1)
        self.bn1 = nn.BatchNorm2d(num_channels)
        self.conv2 = nn.Conv2d(num_channels, num_channels, kernel_size=3, padding=1)
        self.bn2 = nn.BatchNorm2d(num_channels)
        self.conv3 = nn.Conv2d(input_channels, num_channels, kernel_size=1, stride=strides) if use_1x1conv else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.conv3 is not None:
            x = self.conv3(x)
        return F.relu(out + x)


def resnet_block(
    input_channels: int, num_channels: int, num_residuals: int, first_block: bool = False
) -> list[Residual]:
    """One stage of `Residual` blocks, of which the first halves height and width and changes the channels.

    The stage behind the stem (``first_block=True``) does neither, since the stem's pooling has just halved the image.
    Shapes: (N, input_channels, H, W) → (N, num_channels, ⌈H/2⌉, ⌈W/2⌉). Source: "Dive into Deep Learning", 8.6.

    >>> torch.nn.Sequential(*resnet_block(64, 128, 2))(torch.rand(1, 64, 56, 56)).shape
    torch.Size([1, 128, 28, 28])
    """
    blocks = []
    for i in range(num_residuals):
        if i == 0 and not first_block:
            blocks.append(Residual(input_channels, num_channels, use_1x1conv=True, strides=2))
        else:
            blocks.append(Residual(num_channels, num_channels))
    return blocks


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """3×3 convolution, padded by 1: (N, in_channels, H, W) → (N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉).

    Without a bias by default: the BatchNorm that follows subtracts any constant again.

    >>> conv3x3(256, 256).weight.numel()
    589824
    """
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=bias)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """1×1 convolution: (N, in_channels, H, W) → (N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=bias)


class ZeroPadShortcut(nn.Module):
    """Option A: every stride-th pixel, and channels of zeros on both sides, an odd one behind. It has no parameters.

    Shapes: (N, in_channels, H, W) → (N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉), for out_channels from in_channels up.

    >>> ZeroPadShortcut(1, 3, stride=2)(torch.ones(1, 1, 4, 4)).sum((2, 3))
    tensor([[0., 4., 0.]])
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(f"shortcut 'A' adds channels, got {in_channels} to {out_channels}: use 'B'")
        self.stride = stride
        self.before = (out_channels - in_channels) // 2
        self.behind = out_channels - in_channels - self.before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.before, self.behind))  # pads width, height, channels, in this order


def make_shortcut(
    shortcut: str, in_channels: int, out_channels: int, stride: int = 1, bias: bool = False
) -> nn.Module | None:
    """The path around a block, from (N, in_channels, H, W) to the shape of its output; a plain block has none.

    "A" and "B" are the identity where the shape stays. Where it changes, "A" is a `ZeroPadShortcut`, and "B" a 1×1
    convolution with BatchNorm; "C" is that everywhere, and "none" nowhere anything. Another one is a ValueError.
    Source: section 3.3 (A, B) and table 3 (C).

    >>> make_shortcut("B", 64, 64)
    Identity()
    """
    same_shape = stride == 1 and in_channels == out_channels
    if shortcut == "none":
        return None
    if shortcut == "C" or (shortcut == "B" and not same_shape):
        return nn.Sequential(conv1x1(in_channels, out_channels, stride, bias), nn.BatchNorm2d(out_channels))
    if shortcut not in ("A", "B"):
        raise ValueError(f"shortcut must be one of 'none', 'A', 'B', 'C', got {shortcut!r}")
    return nn.Identity() if same_shape else ZeroPadShortcut(in_channels, out_channels, stride)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with BatchNorm and a shortcut: the block of ResNet-18 and ResNet-34.

    Shapes: (N, in_channels, H, W) → (N, channels, ⌈H/stride⌉, ⌈W/stride⌉). Source: figure 5, left.

    >>> BasicBlock(64, 128, stride=2)(torch.rand(1, 64, 56, 56)).shape
    torch.Size([1, 128, 28, 28])
    """

    expansion = 1  # output channels / channels

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, shortcut: str = "B", *, bias: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride, bias)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, bias=bias)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)  # saves one activation: BatchNorm's backward needs its input, not its output
        self.downsample = make_shortcut(shortcut, in_channels, channels, stride, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            out += self.downsample(x)  # into the branch's own tensor: x stays as the caller gave it
        return self.relu(out)


class Bottleneck(nn.Module):
    """1×1 down, 3×3, 1×1 up, and a shortcut: the block of ResNet-50, 101 and 152.

    The stride sits on the 3×3 convolution, as in torchvision ("ResNet v1.5"); in the paper it sits on the first 1×1.
    Shapes: (N, in_channels, H, W) → (N, 4·channels, ⌈H/stride⌉, ⌈W/stride⌉). Source: figure 5, right.

    >>> Bottleneck(256, 128, stride=2)(torch.rand(1, 256, 56, 56)).shape
    torch.Size([1, 512, 28, 28])
    """

    expansion = 4  # output channels / channels

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, shortcut: str = "B", *, bias: bool = False
    ) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = conv1x1(in_channels, channels, bias=bias)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, stride, bias)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, out_channels, bias=bias)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(shortcut, in_channels, out_channels, stride, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            out += self.downsample(x)
        return self.relu(out)
