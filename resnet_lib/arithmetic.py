"""The arithmetic of a network, twice: in closed form, and measured while it runs. The two agree exactly.

Parameters are all learned values: BatchNorm's weight and bias count, its running mean and variance don't.
Multiply-adds (MACs, the paper's FLOPs) are for one image, those of convolutions and linear layers; biases, BatchNorm,
ReLU, pooling and additions, which touch a value a few times at most, don't. (torchinfo's also have a convolution's bias
once a pixel, and every other parameter once.)

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385:
table 1 gives the ImageNet networks and their FLOPs, figure 5 both blocks, section 4.2 the CIFAR networks.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from resnet_lib.recipes import SHORTCUTS, check_choice, check_depth


def conv_parameters(in_channels: int, out_channels: int, kernel_size: int, bias: bool = False) -> int:
    """Parameters of a square convolution: kernel_size² · in_channels · out_channels, and a bias a channel if any.

    >>> conv_parameters(256, 64, 1) + conv_parameters(64, 64, 3) + conv_parameters(64, 256, 1)
    69632
    """
    return kernel_size**2 * in_channels * out_channels + (out_channels if bias else 0)


def batchnorm_parameters(channels: int) -> int:
    """Parameters of BatchNorm: a weight and a bias a channel."""
    return 2 * channels


def linear_parameters(in_features: int, out_features: int) -> int:
    """Parameters of a linear layer: in_features weights and a bias an output."""
    return (in_features + 1) * out_features


def output_size(size: int, kernel_size: int, stride: int = 1, padding: int = 0) -> int:
    """Pixels along one side after a convolution or a pooling: ⌊(size + 2·padding − kernel_size) / stride⌋ + 1.

    >>> output_size(224, kernel_size=7, stride=2, padding=3)
    112
    """
    return (size + 2 * padding - kernel_size) // stride + 1


def conv_macs(in_channels: int, out_channels: int, kernel_size: int, output_pixels: int) -> int:
    """Multiply-adds of a square convolution: every weight works once at every output pixel (height · width of them)."""
    return conv_parameters(in_channels, out_channels, kernel_size) * output_pixels


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-adds for one image. Costs add up, and a whole number multiplies them.

    >>> 2 * Cost(10, 100) + Cost(1, 5)
    Cost(parameters=21, macs=205)
    """

    parameters: int = 0
    macs: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.parameters + other.parameters, self.macs + other.macs)

    def __rmul__(self, times: int) -> "Cost":
        return Cost(times * self.parameters, times * self.macs)


def conv_batchnorm_cost(in_channels: int, out_channels: int, kernel_size: int, size: int, bias: bool = False) -> Cost:
    """A convolution that puts out size × size pixels, and its BatchNorm."""
    parameters = conv_parameters(in_channels, out_channels, kernel_size, bias) + batchnorm_parameters(out_channels)
    return Cost(parameters, conv_macs(in_channels, out_channels, kernel_size, size**2))


def shortcut_cost(shortcut: str, in_channels: int, out_channels: int, size: int, stride: int, bias: bool) -> Cost:
    """The path around a block of size × size output pixels: only the 1×1 convolutions of B and C cost anything."""
    check_choice("shortcut", shortcut, SHORTCUTS)
    projects = shortcut == "C" or (shortcut == "B" and (stride != 1 or in_channels != out_channels))
    return conv_batchnorm_cost(in_channels, out_channels, 1, size, bias) if projects else Cost()


def basic_block_cost(
    in_channels: int, channels: int, size: int, stride: int = 1, shortcut: str = "B", bias: bool = False
) -> Cost:
    """Two 3×3 convolutions with BatchNorm, and a shortcut, on an input of size × size pixels.

    >>> basic_block_cost(64, 64, size=56)  # 73,728 parameters in the convolutions, 256 in BatchNorm
    Cost(parameters=73984, macs=231211008)
    """
    out_size = output_size(size, 3, stride, padding=1)
    cost = conv_batchnorm_cost(in_channels, channels, 3, out_size, bias)
    cost += conv_batchnorm_cost(channels, channels, 3, out_size, bias)
    return cost + shortcut_cost(shortcut, in_channels, channels, out_size, stride, bias)


def bottleneck_cost(
    in_channels: int, channels: int, size: int, stride: int = 1, shortcut: str = "B", bias: bool = False
) -> Cost:
    """1×1 down, 3×3, 1×1 up to 4·channels, with BatchNorm, and a shortcut, on an input of size × size pixels.

    The stride is the 3×3 convolution's. On the first 1×1, as in the paper, it would save multiply-adds, no parameters.

    >>> bottleneck_cost(256, 64, size=56)  # 69,632 parameters in the convolutions, 768 in BatchNorm
    Cost(parameters=70400, macs=218365952)
    """
    out_size = output_size(size, 3, stride, padding=1)
    cost = conv_batchnorm_cost(in_channels, channels, 1, size, bias)
    cost += conv_batchnorm_cost(channels, channels, 3, out_size, bias)
    cost += conv_batchnorm_cost(channels, 4 * channels, 1, out_size, bias)
    return cost + shortcut_cost(shortcut, in_channels, 4 * channels, out_size, stride, bias)


def stages_cost(block: Callable[..., Cost], expansion: int, width: int, num_blocks: Sequence[int], size: int) -> Cost:
    """Stages of width, 2·width, 4·width, … channels, on an input of ``width`` channels and size × size pixels.

    >>> stages_cost(bottleneck_cost, 4, width=64, num_blocks=[3, 4], size=56)
    Cost(parameters=1435392, macs=1695547392)
    """
    cost, in_channels, stride = Cost(), width, 1
    for count in num_blocks:
        cost += block(in_channels, width, size, stride)
        in_channels, size = expansion * width, output_size(size, 3, stride, padding=1)
        cost += (count - 1) * block(in_channels, width, size)
        width, stride = 2 * width, 2
    return cost


def resnet_cost(
    depth: int, shortcut: str = "B", size: int = 224, in_channels: int = 3, num_classes: int = 1000, bias: bool = False
) -> Cost:
    """The network of He et al. 2016, table 1, with 18, 34, 50, 101 or 152 layers, on images of size × size pixels.

    >>> resnet_cost(50)
    Cost(parameters=25557032, macs=4089184256)
    """
    num_blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
    if depth not in num_blocks:
        raise ValueError(f"depth must be one of {', '.join(map(str, num_blocks))}, got {depth!r}")
    block, expansion = (basic_block_cost, 1) if depth < 50 else (bottleneck_cost, 4)
    stem_size = output_size(size, kernel_size=7, stride=2, padding=3)
    pooled_size = output_size(stem_size, kernel_size=3, stride=2, padding=1)
    cost = conv_batchnorm_cost(in_channels, 64, 7, stem_size, bias)
    cost += stages_cost(partial(block, shortcut=shortcut, bias=bias), expansion, 64, num_blocks[depth], pooled_size)
    return cost + Cost(linear_parameters(512 * expansion, num_classes), 512 * expansion * num_classes)


def cifar_resnet_cost(
    depth: int, shortcut: str = "A", size: int = 32, width: int = 16, in_channels: int = 3, num_classes: int = 10
) -> Cost:
    """The network of He et al. 2016, section 4.2, with 6n+2 layers, on images of size × size pixels.

    >>> cifar_resnet_cost(1202).parameters
    19421274
    """
    n = (check_depth(depth) - 2) // 6
    cost = conv_batchnorm_cost(in_channels, width, 3, size)
    cost += stages_cost(partial(basic_block_cost, shortcut=shortcut), 1, width, (n, n, n), size)
    return cost + Cost(linear_parameters(4 * width, num_classes), 4 * width * num_classes)


TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)


@dataclass(frozen=True)
class Layer:
    """One row of a `LayerTable`: a module that ran once, for one image."""

    name: str  # its path in the model, such as "layer1.0.conv1"; empty for the model itself
    kind: str  # its class
    output_shape: tuple[int, ...]  # without the batch; empty where the output is no tensor
    parameters: int  # its own, without those that a row above has counted
    macs: int


@dataclass(frozen=True)
class LayerTable:
    """The layers of a model in order of execution; ``str()`` draws them with their sums."""

    layers: tuple[Layer, ...]

    @property
    def cost(self) -> Cost:
        """The sums of parameters and multiply-adds."""
        return sum((Cost(layer.parameters, layer.macs) for layer in self.layers), Cost())

    def __str__(self) -> str:
        rows = [("name", "kind", "output", "parameters", "multiply-adds")]
        for layer in (*self.layers, Layer("sum", "", (), self.cost.parameters, self.cost.macs)):
            shape = "×".join(map(str, layer.output_shape))
            rows.append((layer.name, layer.kind, shape, f"{layer.parameters:,}", f"{layer.macs:,}"))
        a, b, c, d, e = (max(map(len, column)) for column in zip(*rows, strict=True))
        return "\n".join(f"{n:{a}}  {k:{b}}  {s:{c}}  {p:>{d}}  {m:>{e}}" for n, k, s, p, m in rows)


def layer_table(model: nn.Module, input_size: Sequence[int]) -> LayerTable:
    """Run the model once on a black image of (channels, height, width) and note every layer that took part.

    A layer is a module without children, or with parameters of its own. One that runs twice has two rows, and its
    parameters count in the first; ``F.relu(x)`` and the like have none. The model runs in evaluation mode and is left
    as it was. It is a ValueError if it can't take the size, or if layers can't be seen and the sums would be wrong.

    >>> print(layer_table(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU()), (3, 8, 8)))
    name  kind    output  parameters  multiply-adds
    0     Conv2d  4×4×4          112          1,728
    1     ReLU    4×4×4            0              0
    sum                          112          1,728
    """
    if not isinstance(input_size, Sequence) or len(input_size) != 3 or min(input_size) < 1:
        raise ValueError(f"input_size must be (channels, height, width), got {input_size!r}")
    names = {module: name.replace("_orig_mod.", "") for name, module in model.named_modules()}
    if hidden := [m for m in names if isinstance(m, torch.jit.ScriptModule) or "quantized" in type(m).__module__]:
        raise ValueError(f"a {type(hidden[0]).__name__} hides its layers: count the model before it is converted")
    layers: list[Layer] = []
    unseen = {parameter: name for name, parameter in model.named_parameters()}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        parameters = sum(p.numel() for p in module.parameters(recurse=False) if unseen.pop(p, None) is not None)
        shape, macs = tuple(output.shape[1:]) if isinstance(output, torch.Tensor) else (), 0
        if isinstance(module, WEIGHT_LAYERS):  # every weight works once at every position of the output ...
            positions = inputs[0] if isinstance(module, TRANSPOSED) else output  # ... or, transposed, of the input
            macs = module.weight.numel() * (positions.numel() // module.weight.shape[0])
        layers.append(Layer(names[module], type(module).__name__, shape, parameters, macs))

    like = next(model.parameters(), torch.empty(0))  # for its device and type
    modes = {module: module.training for module in names}
    hooks = [m.register_forward_hook(note) for m in names if not [*m.children()] or [*m.parameters(recurse=False)]]
    eager = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
    try:
        for module in names:
            module.training = False
        with torch.no_grad(), torch.random.fork_rng(devices=[]), eager:
            model(torch.zeros(1, *input_size, device=like.device, dtype=like.dtype))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the model can't take input_size={tuple(input_size)}: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training  # one by one, since the caller may have frozen some
    if unseen:
        raise ValueError(f"no layer that ran has {min(unseen.values())}: count before export, without spare layers")
    return LayerTable(tuple(layers))
