"""The same layers in another order: the five residual units of the second ResNet paper, as one parametrised block.

An ordering is a line of steps such as ``conv bn relu conv bn + relu``, in which ``+`` adds the shortcut. The five have
the same layers, so networks built from them have the same number of parameters and, from the same seed, the same
initial weights.

He, Zhang, Ren, Sun: "Identity Mappings in Deep Residual Networks", ECCV 2016, https://arxiv.org/abs/1603.05027:
figure 4 draws the five orderings, table 2 compares them, section 4.1 says what happens at both ends of a network.
"""

import torch
from torch import nn

from resnet_lib.blocks import ZeroPadShortcut, conv3x3
from resnet_lib.networks import initialize
from resnet_lib.recipes import check_depth

# Figure 4, (a) to (e).
ORDERINGS = {
    "original": "conv bn relu conv bn + relu",
    "BN after addition": "conv bn relu conv + bn relu",
    "ReLU before addition": "conv bn relu conv bn relu +",
    "ReLU-only pre-activation": "relu conv bn relu conv bn +",
    "full pre-activation": "bn relu conv bn relu conv +",
}


def make_steps(steps: str, in_channels: int, channels: int, stride: int = 1) -> nn.Sequential:
    """The modules of a line of steps. The first convolution changes the shape, the others keep it.

    Shapes, with a convolution among the steps: (N, in_channels, H, W) → (N, channels, ⌈H/stride⌉, ⌈W/stride⌉).
    Raises a ValueError for a step that is none.

    >>> [type(module).__name__ for module in make_steps("bn relu conv", 8, 16)]
    ['BatchNorm2d', 'ReLU', 'Conv2d']
    """
    modules: list[nn.Module] = []
    for step in steps.split():
        if step == "conv":
            modules.append(conv3x3(in_channels, channels, stride))
            in_channels, stride = channels, 1
        elif step == "bn":
            modules.append(nn.BatchNorm2d(in_channels))
        elif step == "relu":
            modules.append(nn.ReLU())  # not in place: the shortcut still needs x
        else:
            raise ValueError(f"steps are 'conv', 'bn' and 'relu', with one '+' between them, got {step!r}")
    return nn.Sequential(*modules)


class OrderedBlock(nn.Module):
    """A residual block that does its ``steps`` in the given order; its shortcut is option A.

    Shapes: (N, in_channels, H, W) → (N, channels, ⌈H/stride⌉, ⌈W/stride⌉). Source: "Identity Mappings", figure 4.

    >>> OrderedBlock(8, 16, stride=2, steps=ORDERINGS["full pre-activation"])(torch.rand(1, 8, 6, 6)).shape
    torch.Size([1, 16, 3, 3])
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, steps: str = ORDERINGS["full pre-activation"]
    ) -> None:
        super().__init__()
        if steps.count("+") != 1:
            raise ValueError(f"steps must have one '+', such as 'bn relu conv +', got {steps!r}")
        before, after = steps.split("+")
        self.branch = make_steps(before, in_channels, channels, stride)
        self.shortcut = ZeroPadShortcut(in_channels, channels, stride)  # adds nothing where the shape stays
        self.after = make_steps(after, channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.shortcut(x) + self.branch(x))


class OrderedResNet(nn.Module):
    """`CifarResNet` with option A, built from `OrderedBlock`; in the original order the two compute the same.

    What the steps do before their first convolution, a pre-activation, moves by one place: the first block goes
    without, since the stem has activated its input, and the head does it once behind the last block.
    Shapes: (N, in_channels, H, W) → (N, num_classes). A depth that is not 6n+2 is a ValueError with the nearest two.
    Source: "Identity Mappings", section 4.1, and the appendix for both ends.

    >>> {sum(p.numel() for p in OrderedResNet(20, steps).parameters()) for steps in ORDERINGS.values()}
    {269722}
    """

    def __init__(self, depth: int, steps: str, *, width: int = 16, in_channels: int = 3, num_classes: int = 10) -> None:
        super().__init__()
        check_depth(depth)
        self.stem = make_steps("conv bn relu", in_channels, width)
        pre_activation = steps[: steps.index("conv")]
        blocks: list[OrderedBlock] = []
        for channels in (width, 2 * width, 4 * width):
            for i in range((depth - 2) // 6):
                halves = channels > width and i == 0
                in_block = channels // 2 if halves else channels
                block_steps = steps if blocks else steps.removeprefix(pre_activation)
                blocks.append(OrderedBlock(in_block, channels, 2 if halves else 1, block_steps))
        self.blocks = nn.Sequential(*blocks)
        self.end = make_steps(pre_activation, 4 * width, 4 * width)
        self.fc = nn.Linear(4 * width, num_classes)
        initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)  # (N, width, H, W)
        x = self.end(self.blocks(x))  # (N, 4·width, H/4, W/4)
        return self.fc(x.mean((2, 3), keepdim=True).flatten(1))
