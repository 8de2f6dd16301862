"""What a broken network shows to someone who measures it. Every measurement takes a listing's code, and runs it small.

The code is a namespace as `resnet_course.drills.bugs` makes it of a listing: ``ResNet``, ``train_step`` and
``predict``. A measurement draws its weights and images from ``seed`` and leaves the caller's random state
alone. Those that only count or look at shapes build the network in full size on the meta device, which stores no
numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        yield


def _small(code: SimpleNamespace) -> nn.Module:
    """A narrow network in training mode. Its BatchNorms are off their start, which would hide what a block does."""
    model = code.ResNet(width=8, num_classes=10).train()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.uniform_(-0.5, 0.5)
    return model


def _batch(size: int = 4) -> tuple[Tensor, Tensor]:
    return torch.rand(size, 3, 64, 64), torch.randint(10, (size,))


def _silence_branch(block: nn.Module) -> nn.Module:
    """A basic block whose branch puts out zero, so that its shortcut alone is seen."""
    nn.init.zeros_(block.bn2.weight)
    nn.init.zeros_(block.bn2.bias)
    return block


def count_parameters(code: SimpleNamespace, seed: int) -> int:
    """Parameters of the network in full size."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in code.ResNet().parameters())


def last_side(code: SimpleNamespace, seed: int) -> int:
    """Pixels along one side behind the last stage, for an image of 224×224."""
    sides = []
    with torch.device("meta"):
        model = code.ResNet().eval()
        model.layer4.register_forward_hook(lambda module, inputs, out: sides.append(out.shape[-1]))
        model(torch.zeros(1, 3, 224, 224))
    return sides[0]


def lowered_share(code: SimpleNamespace, seed: int) -> float:
    """Percent of the values that a block with an identity shortcut makes smaller."""
    with _drawn_from(seed):
        block, x = _small(code).layer1[1], torch.rand(4, 32, 16, 16)
        return 100 * (block(x) < x).float().mean().item()


def used_share(code: SimpleNamespace, seed: int) -> float:
    """Percent of the 3×3 convolution's pixels that the output of a halving block depends on."""
    with _drawn_from(seed):
        block, kept = _small(code).layer2[0].eval(), []
        block.conv2.register_forward_hook(lambda module, inputs, out: kept.append(out))
        (gradient,) = torch.autograd.grad(block(torch.rand(2, 32, 16, 16)).sum(), kept)
        return 100 * (gradient.abs().amax(1) > 0).float().mean().item()


def neighbours_effect(code: SimpleNamespace, seed: int) -> float:
    """By how much the prediction for an image moves, in percent of the largest, when its neighbours are others."""
    with _drawn_from(seed):
        model, (images, _) = _small(code), _batch(7)
        first, second = (code.predict(model, images[[0, *others]]) for others in ([1, 2, 3], [4, 5, 6]))
        return 100 * ((first[0] - second[0]).abs().max() / first[0].abs().max()).item()


def loss_when_sure(code: SimpleNamespace, seed: int) -> float:
    """The loss where the last layer is entirely sure of the right class."""
    with _drawn_from(seed):
        model, (images, _) = _small(code), _batch()
        nn.init.zeros_(model.fc.weight)
        model.fc.bias.data = 100 * F.one_hot(torch.tensor(0), 10).float()
        still = torch.optim.SGD(model.parameters(), lr=0.0)
        return code.train_step(model, still, images, torch.zeros(len(images), dtype=torch.long))


def moved_blocks(code: SimpleNamespace, seed: int) -> int:
    """Blocks whose first convolution has moved after three training steps, from the listing's own start."""
    with _drawn_from(seed):
        model, (images, labels) = code.ResNet(width=4, num_classes=10), _batch()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        first = {name: p for name, p in model.named_parameters() if name.startswith("layer") and "conv1" in name}
        before = {name: parameter.detach().clone() for name, parameter in first.items()}
        for _ in range(3):
            code.train_step(model, optimizer, images, labels)
        return sum(not torch.equal(parameter, before[name]) for name, parameter in first.items())


def negative_share(code: SimpleNamespace, seed: int) -> float:
    """Percent of the values between a block's two convolutions that are negative."""
    with _drawn_from(seed):
        block, shares = _small(code).blocks[1], []
        block.conv2.register_forward_pre_hook(lambda module, inputs: shares.append((inputs[0] < 0).float().mean()))
        block(torch.rand(4, 8, 16, 16))
        return 100 * shares[0].item()


def smallest_output(code: SimpleNamespace, seed: int) -> float:
    """The smallest value that a block puts out."""
    with _drawn_from(seed):
        return _small(code).blocks[1](torch.rand(4, 8, 16, 16)).min().item()


def identity_gap(code: SimpleNamespace, seed: int) -> float:
    """By how much a block whose branch is zero misses the identity, at most, on inputs from 0 to 1."""
    with _drawn_from(seed):
        block, x = _silence_branch(_small(code).blocks[1]), torch.rand(4, 8, 16, 16)
        return (block(x) - x).abs().max().item()


def zero_channels(code: SimpleNamespace, seed: int) -> int:
    """Channels of zeros, of 16, that the shortcut puts out where it goes from 8 to 16 channels."""
    with _drawn_from(seed):
        block, x = _silence_branch(_small(code).blocks[3]), torch.rand(4, 8, 16, 16)
        return int((block(x).amax((0, 2, 3)) == 0).sum())


def top_left_share(code: SimpleNamespace, seed: int) -> float:
    """Percent of the pixels taken by the halving shortcut that lie in the top left quarter of the image."""
    with _drawn_from(seed):
        block, x = _silence_branch(_small(code).blocks[3]), torch.rand(1, 8, 16, 16).requires_grad_()
        block(x).sum().backward()
        taken = x.grad[0].abs().amax(0) > 0
        return 100 * (taken[:8, :8].sum() / taken.sum()).item()


def image_change(code: SimpleNamespace, seed: int) -> float:
    """By how much the caller's images change, at most, while they are predicted."""
    with _drawn_from(seed):
        model, (images, _) = _small(code), _batch()
        before = images.clone()
        code.predict(model, images)
        return (images - before).abs().max().item()


def gradient_growth(code: SimpleNamespace, seed: int) -> float:
    """The gradient of a second training step over the first's, on the same batch and with a learning rate of zero."""
    with _drawn_from(seed):
        model, (images, labels) = _small(code), _batch()
        still, sizes = torch.optim.SGD(model.parameters(), lr=0.0), []
        for _ in range(2):
            code.train_step(model, still, images, labels)
            sizes.append(model.fc.weight.grad.norm())
        return (sizes[1] / sizes[0]).item()


def without_gradient(code: SimpleNamespace, seed: int) -> int:
    """Parameter tensors that get no gradient."""
    with _drawn_from(seed):
        model, (images, labels) = _small(code), _batch()
        code.train_step(model, torch.optim.SGD(model.parameters(), lr=0.0), images, labels)
        return sum(parameter.grad is None for parameter in model.parameters())
