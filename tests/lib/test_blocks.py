"""The blocks compute what the paper says, and leave their input alone."""

import pytest
import torch
from torch import Tensor, nn

from resnet_lib import BasicBlock, Bottleneck, Residual, ZeroPadShortcut, resnet_block

pytestmark = pytest.mark.usefixtures("one_thread")

# Every block with every kind of shortcut; all take 8 channels.
BLOCKS = {
    "Residual": lambda: Residual(8, 8),
    "Residual, 1x1, more channels, stride 2": lambda: Residual(8, 16, use_1x1conv=True, strides=2),
    "BasicBlock, plain, stride 2": lambda: BasicBlock(8, 16, 2, "none"),
    "BasicBlock, A, stride 2": lambda: BasicBlock(8, 13, 2, "A"),
    "BasicBlock, B": lambda: BasicBlock(8, 8),
    "BasicBlock, B, stride 2": lambda: BasicBlock(8, 16, 2),
    "BasicBlock, C": lambda: BasicBlock(8, 8, shortcut="C"),
    "Bottleneck, plain": lambda: Bottleneck(8, 4, shortcut="none"),
    "Bottleneck, A, stride 2": lambda: Bottleneck(8, 4, 2, "A"),
    "Bottleneck, B, stride 2": lambda: Bottleneck(8, 2, 2),  # as many channels as before
    "Bottleneck, C": lambda: Bottleneck(8, 2, shortcut="C"),
}
every_block = pytest.mark.parametrize("build", BLOCKS.values(), ids=BLOCKS)


def images(*shape: int, seed: int = 0) -> Tensor:
    """Random images of that shape, a third of whose values are exactly zero, as after a ReLU."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return x * (x.abs() > 0.43)


def shake(block: nn.Module) -> nn.Module:
    """Give every parameter and running statistic a random value: a fresh BatchNorm hides its own effect."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in block.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
                tensor -= 0.6 if tensor.dim() == 4 else 0  # convolution weights of both signs
    return block


def option_a_by_hand(x: Tensor, out_channels: int, stride: int) -> Tensor:
    """Option A: a pixel of every stride, between zero channels split evenly."""
    pixels, channels = x[:, :, ::stride, ::stride], x.shape[1]
    before = (out_channels - channels) // 2
    out = torch.zeros(len(x), out_channels, *pixels.shape[2:])
    out[:, before : before + channels] = pixels
    return out


def shortcut_by_hand(block: nn.Module, x: Tensor) -> Tensor | float:
    """What the block adds to its branch, from the definition of each kind of shortcut."""
    if isinstance(block, Residual):
        return x if block.conv3 is None else block.conv3(x)
    if block.downsample is None:
        return 0.0
    if isinstance(block.downsample, ZeroPadShortcut):
        last = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)][-1]
        stride = max(module.stride[0] for module in block.modules() if isinstance(module, nn.Conv2d))
        return option_a_by_hand(x, last.num_features, stride)
    if isinstance(block.downsample, nn.Identity):
        return x
    convolution, norm = block.downsample
    return norm(convolution(x))


def branch_by_hand(block: nn.Module, x: Tensor) -> Tensor:
    """F(x): convolutions and BatchNorms in turn, with a ReLU between any two but not at the end."""
    layers = 3 if isinstance(block, Bottleneck) else 2
    for i in range(1, layers + 1):
        x = getattr(block, f"bn{i}")(getattr(block, f"conv{i}")(x))
        if i < layers:
            x = x.clamp(min=0)
    return x


@every_block
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_a_block_is_relu_of_branch_plus_shortcut_and_leaves_its_input_as_it_was(build, training):
    block = shake(build()).train(training)
    x = images(2, 8, 7, 6)
    before = x.clone()
    assert torch.equal(block(x), (branch_by_hand(block, x) + shortcut_by_hand(block, x)).clamp(min=0))
    assert torch.equal(x, before) and x._version == 0, "the input was written to"


def test_residual_has_the_names_of_the_tutorials_with_biases_and_option_a_no_state():
    values = Residual(4, 8, use_1x1conv=True).state_dict()
    assert list(dict.fromkeys(key.rpartition(".")[0] for key in values)) == ["conv1", "bn1", "conv2", "bn2", "conv3"]
    assert all(f"conv{number}.bias" in values for number in (1, 2, 3)) and not ZeroPadShortcut(4, 8, 2).state_dict()


def test_a_stage_halves_the_image_and_changes_the_channels_in_its_first_block_only():
    stage = resnet_block(4, 8, 3)
    assert [type(block) for block in stage] == [Residual] * 3
    assert [block.conv3 is not None for block in stage] == [True, False, False]
    assert nn.Sequential(*stage)(images(2, 4, 9, 6)).shape == (2, 8, 5, 3)
    assert nn.Sequential(*resnet_block(4, 4, 1))(images(2, 4, 9, 6)).shape == (2, 4, 5, 3)
