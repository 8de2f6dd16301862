"""What a broken network shows to someone who measures it: a value as it is written. The docstring says of what.

Each function takes the names that a listing defines, ``ResNet``, ``train_step`` and ``predict``, and runs them small,
with weights and images from PyTorch's present random state. What only counts or looks at shapes builds the network in
full size on the meta device, which stores no numbers.
"""

from types import FunctionType, SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _small(code: SimpleNamespace) -> nn.Module:
    """A narrow network in training mode. Its BatchNorms are off their start, which would hide what a block does."""
    model: nn.Module = code.ResNet(width=8, num_classes=10).train()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.uniform_(-0.5, 0.5)
    return model


def _batch(size: int = 4) -> tuple[Tensor, Tensor]:
    return torch.rand(size, 3, 64, 64), torch.randint(10, (size,))


def _silent_block(code: SimpleNamespace, place: int) -> nn.Module:
    """A basic block whose branch puts out zero, so that its shortcut alone is seen."""
    block = _small(code).get_submodule(f"blocks.{place}")
    for parameter in block.bn2.parameters():
        nn.init.zeros_(parameter)
    return block


def count_parameters(code: SimpleNamespace) -> str:
    """parameters"""
    with torch.device("meta"):
        return f"{sum(parameter.numel() for parameter in code.ResNet().parameters()):,}"


def last_side(code: SimpleNamespace) -> str:
    """pixels a side behind the last stage, for an image of 224×224"""
    sides = []
    with torch.device("meta"):
        model = code.ResNet().eval()
        model.layer4.register_forward_hook(lambda module, inputs, out: sides.append(out.shape[-1]))
        model(torch.zeros(1, 3, 224, 224))
    return f"{sides[0]}"


def lowered_share(code: SimpleNamespace) -> str:
    """values that a block lowers"""
    block, x = _small(code).layer1[1], torch.rand(4, 32, 16, 16)
    return f"{100 * (block(x) < x).float().mean():.0f} %"


def used_share(code: SimpleNamespace) -> str:
    """pixels of the 3×3 convolution that are used"""
    block, kept = _small(code).layer2[0].eval(), []
    block.conv2.register_forward_hook(lambda module, inputs, out: kept.append(out))
    (gradient,) = torch.autograd.grad(block(torch.rand(2, 32, 16, 16)).sum(), kept)
    return f"{100 * (gradient.abs().amax(1) > 0).float().mean():.0f} %"


def neighbours_effect(code: SimpleNamespace) -> str:
    """change of an image's prediction when its neighbours in the batch are others"""
    model, (images, _) = _small(code), _batch(7)
    first, second = (code.predict(model, images[[0, *others]]) for others in ([1, 2, 3], [4, 5, 6]))
    return f"{100 * (first[0] - second[0]).abs().max() / first[0].abs().max():.0f} %"


def loss_when_sure(code: SimpleNamespace) -> str:
    """loss where the network is sure and right, with ten classes"""
    model, (images, _) = _small(code), _batch()
    nn.init.zeros_(model.get_parameter("fc.weight"))
    model.fc.bias.data = 100 * F.one_hot(torch.tensor(0), 10).float()
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    return f"{code.train_step(model, still, images, torch.zeros(len(images), dtype=torch.long)):.2f}"


def moved_blocks(code: SimpleNamespace) -> str:
    """blocks whose first convolution has moved after three training steps"""
    model, (images, labels) = code.ResNet(width=4, num_classes=10), _batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = {name: p for name, p in model.named_parameters() if name.startswith("layer") and "conv1" in name}
    before = {name: parameter.detach().clone() for name, parameter in first.items()}
    for _ in range(3):
        code.train_step(model, optimizer, images, labels)
    return f"{sum(not torch.equal(parameter, before[name]) for name, parameter in first.items())} of 16"


def negative_share(code: SimpleNamespace) -> str:
    """negative values between a block's convolutions"""
    block, shares = _small(code).blocks[1], []
    block.conv2.register_forward_pre_hook(lambda module, inputs: shares.append((inputs[0] < 0).float().mean()))
    block(torch.rand(4, 8, 16, 16))
    return f"{100 * shares[0]:.0f} %"


def smallest_output(code: SimpleNamespace) -> str:
    """smallest value that a block puts out"""
    return f"{_small(code).blocks[1](torch.rand(4, 8, 16, 16)).min():.1f}"


def identity_gap(code: SimpleNamespace) -> str:
    """gap between a block and the identity, with a branch of zero"""
    block, x = _silent_block(code, 1), torch.rand(4, 8, 16, 16)
    return f"{(block(x) - x).abs().max():.1f}"


def zero_channels(code: SimpleNamespace) -> str:
    """channels of zeros where the shortcut goes from 8 to 16"""
    block, x = _silent_block(code, 3), torch.rand(4, 8, 16, 16)
    return f"{(block(x).amax((0, 2, 3)) == 0).sum()}"


def top_left_share(code: SimpleNamespace) -> str:
    """pixels of a halving shortcut that lie in the top left quarter"""
    block, x = _silent_block(code, 3), torch.rand(1, 8, 16, 16).requires_grad_()
    block(x).sum().backward()
    taken = x.grad[0].abs().amax(0) > 0
    return f"{100 * taken[:8, :8].sum() / taken.sum():.0f} %"


def image_change(code: SimpleNamespace) -> str:
    """largest change of the caller's images by a prediction"""
    model, (images, _) = _small(code), _batch()
    before = images.clone()
    code.predict(model, images)
    return f"{(images - before).abs().max():.1f}"


def gradient_growth(code: SimpleNamespace) -> str:
    """second step's gradient over the first's, with a learning rate of zero"""
    model, (images, labels) = _small(code), _batch()
    still, sizes = torch.optim.SGD(model.parameters(), lr=0.0), []
    for _ in range(2):
        code.train_step(model, still, images, labels)
        sizes.append(model.fc.weight.grad.norm())
    return f"{sizes[1] / sizes[0]:.2f}"


def without_gradient(code: SimpleNamespace) -> str:
    """parameter tensors without a gradient"""
    model, (images, labels) = _small(code), _batch()
    code.train_step(model, torch.optim.SGD(model.parameters(), lr=0.0), images, labels)
    return f"{sum(parameter.grad is None for parameter in model.parameters())}"


def moved_tensors(code: SimpleNamespace) -> str:
    """parameter tensors that a training step moves"""
    model, (images, labels) = _small(code), _batch()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    code.train_step(model, torch.optim.SGD(model.parameters(), lr=0.1), images, labels)
    moved = [not torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True)]
    return f"{sum(moved)} of {len(moved)}"


def red_share(code: SimpleNamespace) -> str:
    """light of a red photograph that arrives in the first channel"""
    images = code.to_images(torch.tensor([255, 0, 0], dtype=torch.uint8).repeat(1, 6, 6, 1))
    return f"{100 * images[:, 0].sum() / images.sum():.0f} %"


def head_moves(code: SimpleNamespace) -> str:
    """largest change of a weight of the new head in a step, with a learning rate of 1"""
    model, (images, labels) = _small(code), _batch()
    optimizer = code.start(model, 10, lr=1.0)
    before = model.fc.weight.detach().clone()
    code.train_step(model, optimizer, images, labels)
    return f"{(model.fc.weight - before).abs().max():.2f}"


def accumulated(code: SimpleNamespace) -> str:
    """gradient of a batch in two equal parts over that of the batch at once"""
    model, (images, labels), sizes = _small(code), _batch(), []
    for parts in (2, 1):
        still = torch.optim.SGD(model.parameters(), lr=0.0)
        code.train_step(model, still, images.repeat(2, 1, 1, 1), labels.repeat(2), parts)
        sizes.append(model.fc.weight.grad.norm())
    return f"{sizes[0] / sizes[1]:.2f}"


def _two_epochs(code: SimpleNamespace) -> tuple[list[int], list[Any]]:
    """Two epochs on photographs that are their own labels: the labels in their order, and what train returns."""
    seen: list[int] = []

    def step(model: nn.Module, optimizer: Any, images: Tensor, labels: Tensor) -> Any:
        seen.extend(labels.tolist())
        return code.train_step(model, optimizer, images, labels % 10)

    model = _small(code)
    train = FunctionType(code.train.__code__, {**code.train.__globals__, "train_step": step}, "train", (0,))
    pixels = torch.randint(256, (40, 8, 8, 3), dtype=torch.uint8)
    return seen, train(model, code.start(model, 10), pixels, torch.arange(40), 2)


def tensor_losses(code: SimpleNamespace) -> str:
    """losses that are tensors, after six steps"""
    return f"{sum(isinstance(loss, Tensor) for loss in _two_epochs(code)[1])}"


def same_places(code: SimpleNamespace) -> str:
    """photographs that have the same place in the first two epochs"""
    seen = _two_epochs(code)[0]
    return f"{sum(a == b for a, b in zip(seen[:20], seen[20:], strict=True))} of 20"
