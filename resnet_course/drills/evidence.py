"""What a broken network shows to someone who measures it: a value as it is written. The docstring says of what.

Each function takes the names that a listing defines, ``ResNet``, ``train_step`` and ``predict``, and runs them small,
with weights and images from PyTorch's present random state. What only counts or looks at shapes builds the network in
full size on the meta device, which stores no numbers.
"""

from types import SimpleNamespace

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
