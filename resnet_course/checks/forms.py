"""What is asked of a network: the paper's forms for ImageNet and CIFAR, and the first in small."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any

from resnet_course.checks.report import show
from resnet_course.checks.twins import Plan
from resnet_lib.arithmetic import cifar_resnet_cost, resnet_cost

# Blocks in each stage: He et al. 2016, table 1.
BLOCK_COUNTS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def basic_plan(in_channels: int, channels: int, stride: int, projects: bool | None = None) -> Plan:
    """Two 3×3 convolutions; without ``projects`` the shortcut projects where the shape changes."""
    changes = stride != 1 or in_channels != channels
    return Plan((3, 3), (in_channels, channels, channels), (stride, 1), changes if projects is None else projects)


def bottleneck_plan(in_channels: int, channels: int, stride: int) -> Plan:
    """1×1, 3×3 and 1×1 convolutions, the last four times as wide, with the stride on the 3×3."""
    changes = stride != 1 or in_channels != 4 * channels
    return Plan((1, 3, 1), (in_channels, channels, channels, 4 * channels), (1, stride, 1), changes)


@dataclass(frozen=True)
class Form:
    """What is asked of a network: the paper's for ImageNet, the paper's for CIFAR, or the first in small."""

    depth: int
    num_classes: int
    kind: str  # "imagenet", "cifar" or "small"
    width: int = 64  # of the first stage
    in_channels: int = 3

    @property
    def counts(self) -> tuple[int, ...]:
        return ((self.depth - 2) // 6,) * 3 if self.kind == "cifar" else BLOCK_COUNTS[self.depth]

    @property
    def expansion(self) -> int:
        return 4 if self.kind != "cifar" and self.depth >= 50 else 1

    @property
    def features(self) -> int:
        return self.width * 2 ** (len(self.counts) - 1) * self.expansion

    @property
    def stem(self) -> tuple[int, int, bool]:
        """Kernel and stride of the first convolution, and whether a max pooling follows."""
        return (7, 2, True) if self.kind == "imagenet" else (3, 1, False)

    def plan(self, stage: int, first: bool) -> Plan:
        """The plan of a stage's first block, or of its others.

        >>> Form(50, 10, "imagenet").plan(1, first=True).channels
        (256, 128, 128, 512)
        """
        make_plan = bottleneck_plan if self.expansion == 4 else basic_plan
        width = self.width * 2**stage
        if not first:
            return make_plan(width * self.expansion, width, 1)
        return make_plan(width * self.expansion // 2 if stage else width, width, 2 if stage else 1)

    def parameters(self, shortcut: str) -> int:
        if self.kind == "cifar":
            return cifar_resnet_cost(
                self.depth, shortcut, 32, self.width, self.in_channels, self.num_classes
            ).parameters
        total = resnet_cost(self.depth, shortcut, 224, self.in_channels, self.num_classes).parameters
        return total - (self.kind == "small") * self.in_channels * 64 * (7 * 7 - 3 * 3)


def is_whole(value: Any) -> bool:
    """A whole number of any library, such as NumPy's."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def find_wrong_number(name: str, value: Any, choices: tuple[int, ...] = ()) -> str | None:
    """What is wrong with a number of the caller's; whole numbers of any library will do."""
    whole = is_whole(value)
    if choices and (not whole or int(value) not in choices):
        return f"{name} must be one of {', '.join(map(str, choices))}, got {show(value)}"
    return None if whole and int(value) > 0 else f"{name} must be a whole number from 1 up, got {show(value)}"
