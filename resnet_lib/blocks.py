"""The building blocks: two convolutions, or three, and a shortcut around them.

Sources
-------
He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385.
    Equation 1 is the block, section 3.3 names the shortcut options A, B and C, figure 5 draws both blocks.
torchvision.models.resnet gives the names of the modules, so that its weights load into these blocks.

Shapes stand in comments as (N, C, H, W): images in the batch, channels, height, width.
"""

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lib._arguments import check_counts, check_images, check_shortcut


class Residual(nn.Module):
    """Two 3×3 convolutions F(x), and the input added back: ReLU(F(x) + x).

    This is the block as most tutorials teach it. Its convolutions keep their bias, and the 1×1 convolution of its
    shortcut has no BatchNorm; `BasicBlock` differs in both, as the paper's networks do.

    Shapes: (N, input_channels, H, W) → (N, num_channels, ⌈H/strides⌉, ⌈W/strides⌉).

    Args:
        input_channels: channels that come in.
        num_channels: channels that go out.
        use_1x1conv: bring the shortcut to the new shape by a 1×1 convolution.
        strides: stride of the first 3×3 convolution and of the 1×1 convolution, in pixels.

    Raises:
        TypeError, ValueError: a size that is not a positive whole number, or a change of shape without use_1x1conv.

    Source: He et al. 2016, equations 1 and 2.

    >>> Residual(3, 3)(torch.rand(4, 3, 6, 6)).shape
    torch.Size([4, 3, 6, 6])
    >>> Residual(3, 6, use_1x1conv=True, strides=2)(torch.rand(4, 3, 6, 6)).shape
    torch.Size([4, 6, 3, 3])
    """

    def __init__(self, input_channels: int, num_channels: int, use_1x1conv: bool = False, strides: int = 1) -> None:
        super().__init__()
        check_counts(input_channels=input_channels, num_channels=num_channels, strides=strides)
        if not use_1x1conv and (strides != 1 or input_channels != num_channels):
            raise ValueError(
                f"strides={strides} and {input_channels} to {num_channels} channels change the shape, "
                "so the input can't be added back: pass use_1x1conv=True"
            )
        self.conv1 = nn.Conv2d(input_channels, num_channels, kernel_size=3, stride=strides, padding=1)
        self.bn1 = nn.BatchNorm2d(num_channels)
        self.conv2 = nn.Conv2d(num_channels, num_channels, kernel_size=3, padding=1)
        self.bn2 = nn.BatchNorm2d(num_channels)
        self.conv3 = nn.Conv2d(input_channels, num_channels, kernel_size=1, stride=strides) if use_1x1conv else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, self.conv1.in_channels)
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.conv3 is not None:
            x = self.conv3(x)
        return F.relu(out + x)


def resnet_block(
    input_channels: int, num_channels: int, num_residuals: int, first_block: bool = False
) -> list[Residual]:
    """One stage: a list of `Residual` blocks, of which the first may change the shape.

    The first block of a stage halves height and width and brings the channels to ``num_channels``. The stage that
    follows the stem (``first_block=True``) does neither, since the stem's pooling has just halved the image.

    Shapes, through all blocks in turn: (N, input_channels, H, W) → (N, num_channels, ⌈H/2⌉, ⌈W/2⌉), or unchanged
    where ``first_block``.

    Raises:
        TypeError, ValueError: a size that is not a positive whole number, or ``first_block`` with a change of channels.

    Source: He et al. 2016, table 1; the name and arguments are those of "Dive into Deep Learning", section 8.6.

    >>> stage = torch.nn.Sequential(*resnet_block(64, 128, 2))
    >>> stage(torch.rand(1, 64, 56, 56)).shape
    torch.Size([1, 128, 28, 28])
    """
    check_counts(input_channels=input_channels, num_channels=num_channels, num_residuals=num_residuals)
    if first_block and input_channels != num_channels:
        raise ValueError(
            f"first_block=True keeps the channels, but {input_channels} come in and {num_channels} go out: "
            "pass first_block=False, or equal channels"
        )
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

    >>> sum(p.numel() for p in conv3x3(256, 256).parameters())
    589824
    """
    check_counts(in_channels=in_channels, out_channels=out_channels, stride=stride)
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=bias)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """1×1 convolution: (N, in_channels, H, W) → (N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉).

    >>> sum(p.numel() for p in conv1x1(256, 64).parameters())
    16384
    """
    check_counts(in_channels=in_channels, out_channels=out_channels, stride=stride)
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=bias)


class ZeroPadShortcut(nn.Module):
    """Option A: every stride-th pixel, and channels of zeros on both sides. It has no parameters.

    Shapes: (N, in_channels, H, W) → (N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉). The new channels are split evenly;
    an odd one goes behind.

    Raises:
        TypeError, ValueError: a size that is not a positive whole number, or fewer channels out than in, which zeros
            can't bring about.

    Source: He et al. 2016, section 3.3, option (A).

    >>> shortcut = ZeroPadShortcut(1, 3, stride=2)
    >>> shortcut(torch.ones(1, 1, 4, 4)).sum((2, 3))
    tensor([[0., 4., 0.]])
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        check_counts(in_channels=in_channels, out_channels=out_channels, stride=stride)
        if out_channels < in_channels:
            raise ValueError(
                f"shortcut='A' can only add channels, but {in_channels} come in and {out_channels} go out: use 'B'"
            )
        self.stride = stride
        self.before = (out_channels - in_channels) // 2
        self.behind = out_channels - in_channels - self.before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.before, self.behind))  # pads width, height, channels, in this order


def make_shortcut(
    shortcut: str, in_channels: int, out_channels: int, stride: int = 1, bias: bool = False
) -> nn.Module | None:
    """The path around a block, from (N, in_channels, H, W) to the shape of the block's output; None for a plain block.

    ========  ==========================  ====================================
    shortcut  where the shape stays       where it changes
    ========  ==========================  ====================================
    "none"    no shortcut: a plain block  no shortcut: a plain block
    "A"       identity                    stride and zero channels
    "B"       identity                    1×1 convolution and BatchNorm
    "C"       1×1 convolution, BatchNorm  1×1 convolution and BatchNorm
    ========  ==========================  ====================================

    Raises:
        ValueError: a shortcut that is none of the four.

    Source: He et al. 2016, section 3.3 (A, B) and table 3 (C).

    >>> make_shortcut("B", 64, 64)
    Identity()
    """
    check_shortcut(shortcut)
    same_shape = stride == 1 and in_channels == out_channels
    if shortcut == "none":
        return None
    if shortcut == "C" or (shortcut == "B" and not same_shape):
        return nn.Sequential(conv1x1(in_channels, out_channels, stride, bias), nn.BatchNorm2d(out_channels))
    return nn.Identity() if same_shape else ZeroPadShortcut(in_channels, out_channels, stride)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with BatchNorm and a shortcut: the block of ResNet-18 and ResNet-34.

    Shapes: (N, in_channels, H, W) → (N, channels, ⌈H/stride⌉, ⌈W/stride⌉).

    Args:
        in_channels: channels that come in.
        channels: channels of both convolutions, and of the output.
        stride: stride of the first convolution and of the shortcut, in pixels.
        shortcut: "none", "A", "B" or "C", see `make_shortcut`.
        bias: give every convolution a bias, as many tutorials do.

    Raises:
        TypeError, ValueError: a size that is not a positive whole number, or an unknown shortcut.

    Source: He et al. 2016, figure 5, left.

    >>> BasicBlock(64, 128, stride=2)(torch.rand(1, 64, 56, 56)).shape
    torch.Size([1, 128, 28, 28])
    """

    expansion = 1  # output channels / channels

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, shortcut: str = "B", *, bias: bool = False
    ) -> None:
        super().__init__()
        check_counts(in_channels=in_channels, channels=channels, stride=stride)
        self.conv1 = conv3x3(in_channels, channels, stride, bias)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, bias=bias)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)  # saves one activation: BatchNorm's backward needs its input, not its output
        self.downsample = make_shortcut(shortcut, in_channels, channels, stride, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, self.conv1.in_channels)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            out += self.downsample(x)  # into the branch's own tensor: x stays as the caller gave it
        return self.relu(out)


class Bottleneck(nn.Module):
    """1×1 down, 3×3, 1×1 up, and a shortcut: the block of ResNet-50, 101 and 152.

    The stride sits on the 3×3 convolution, as in torchvision. The paper puts it on the first 1×1 convolution, which
    then skips three quarters of its input.

    Shapes: (N, in_channels, H, W) → (N, 4·channels, ⌈H/stride⌉, ⌈W/stride⌉).

    Args:
        in_channels: channels that come in.
        channels: channels of the 3×3 convolution; four times as many go out.
        stride: stride of the 3×3 convolution and of the shortcut, in pixels.
        shortcut: "none", "A", "B" or "C", see `make_shortcut`.
        bias: give every convolution a bias, as many tutorials do.

    Raises:
        TypeError, ValueError: a size that is not a positive whole number, or an unknown shortcut.

    Source: He et al. 2016, figure 5, right; the stride as in torchvision, "ResNet v1.5".

    >>> Bottleneck(256, 64)(torch.rand(1, 256, 56, 56)).shape
    torch.Size([1, 256, 56, 56])
    >>> Bottleneck(256, 128, stride=2)(torch.rand(1, 256, 56, 56)).shape
    torch.Size([1, 512, 28, 28])
    """

    expansion = 4  # output channels / channels

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, shortcut: str = "B", *, bias: bool = False
    ) -> None:
        super().__init__()
        check_counts(in_channels=in_channels, channels=channels, stride=stride)
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
        check_images(x, self.conv1.in_channels)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            out += self.downsample(x)
        return self.relu(out)
