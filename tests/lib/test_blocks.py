"""The blocks compute what the paper says, and leave their input alone."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_lib import BasicBlock, Bottleneck, Residual, ZeroPadShortcut, conv1x1, conv3x3, resnet_block
from resnet_lib.blocks import make_shortcut

# Every block with every kind of shortcut; all take 8 channels.
pytestmark = pytest.mark.usefixtures("one_thread")

BLOCKS = {
    "Residual": lambda: Residual(8, 8),
    "Residual, 1x1": lambda: Residual(8, 8, use_1x1conv=True),
    "Residual, 1x1, more channels, stride 2": lambda: Residual(8, 16, use_1x1conv=True, strides=2),
    "BasicBlock, plain": lambda: BasicBlock(8, 8, shortcut="none"),
    "BasicBlock, plain, stride 2": lambda: BasicBlock(8, 16, 2, "none"),
    "BasicBlock, A": lambda: BasicBlock(8, 8, shortcut="A"),
    "BasicBlock, A, stride 2": lambda: BasicBlock(8, 16, 2, "A"),
    "BasicBlock, B": lambda: BasicBlock(8, 8),
    "BasicBlock, B, stride 2": lambda: BasicBlock(8, 16, 2),
    "BasicBlock, C": lambda: BasicBlock(8, 8, shortcut="C"),
    "BasicBlock, bias": lambda: BasicBlock(8, 16, 2, bias=True),
    "Bottleneck, plain": lambda: Bottleneck(8, 4, shortcut="none"),
    "Bottleneck, A": lambda: Bottleneck(8, 2, shortcut="A"),
    "Bottleneck, A, stride 2": lambda: Bottleneck(8, 4, 2, "A"),
    "Bottleneck, B": lambda: Bottleneck(8, 2),
    "Bottleneck, B, stride 2": lambda: Bottleneck(8, 4, 2),
    "Bottleneck, C": lambda: Bottleneck(8, 2, shortcut="C"),
    "Bottleneck, bias": lambda: Bottleneck(8, 4, 2, bias=True),
}


every_block = pytest.mark.parametrize("build", BLOCKS.values(), ids=BLOCKS)
both_modes = pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])


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
    """Option A one value at a time: a pixel of every stride, between zero channels split evenly."""
    n, in_channels, height, width = x.shape
    before = (out_channels - in_channels) // 2
    out = torch.zeros(n, out_channels, math.ceil(height / stride), math.ceil(width / stride))
    for channel in range(in_channels):
        for i, row in enumerate(range(0, height, stride)):
            for j, column in enumerate(range(0, width, stride)):
                out[:, before + channel, i, j] = x[:, channel, row, column]
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


# The computation


@every_block
@both_modes
def test_a_block_is_relu_of_branch_plus_shortcut(build, training):
    block = shake(build()).train(training)
    x = images(2, 8, 7, 6)
    expected = (branch_by_hand(block, x) + shortcut_by_hand(block, x)).clamp(min=0)
    assert torch.equal(block(x), expected)


@every_block
def test_the_gradients_of_a_block_are_those_of_its_formula(build):
    block = shake(build())
    x = images(2, 8, 7, 6).requires_grad_()
    by_hand = F.relu(branch_by_hand(block, x) + shortcut_by_hand(block, x))
    weights = images(*by_hand.shape, seed=2)
    wanted = torch.autograd.grad((by_hand * weights).sum(), [x, *block.parameters()])
    got = torch.autograd.grad((block(x) * weights).sum(), [x, *block.parameters()])
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other)


@every_block
def test_every_parameter_of_a_block_gets_a_gradient(build):
    block = build()
    block(images(4, 8, 8, 8)).square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@every_block
@both_modes
def test_a_block_leaves_its_input_as_it_was(build, training):
    block = shake(build()).train(training)
    x = images(2, 8, 7, 6)
    before = x.clone()
    block(x)
    assert torch.equal(x, before)
    assert x._version == 0, "the input was written to"


@every_block
def test_a_block_runs_where_the_input_needs_a_gradient_and_is_used_again(build):
    """An in-place addition into the input would break this backward pass, or give another gradient."""
    block = shake(build())
    leaf = images(2, 8, 7, 6).requires_grad_()
    x = leaf.square()
    (block(x).sum() + x.square().sum()).backward()
    alone = torch.autograd.grad(block(leaf.square()).sum(), leaf)[0]
    torch.testing.assert_close(leaf.grad, alone + 4 * leaf.detach() ** 3)


# Shapes


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (9, 4), (1, 1), (2, 5)], ids=str)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_height_and_width_are_divided_by_the_stride_and_rounded_up(size, stride):
    height, width = (math.ceil(pixels / stride) for pixels in size)
    x = images(3, 8, *size)
    assert Residual(8, 12, use_1x1conv=True, strides=stride)(x).shape == (3, 12, height, width)
    for shortcut in ("none", "A", "B", "C"):
        assert BasicBlock(8, 12, stride, shortcut)(x).shape == (3, 12, height, width)
        assert Bottleneck(8, 4, stride, shortcut)(x).shape == (3, 16, height, width)
    assert conv3x3(8, 5, stride)(x).shape == (3, 5, height, width)
    assert conv1x1(8, 5, stride)(x).shape == (3, 5, height, width)


def test_the_convolutions_have_no_bias_unless_asked():
    for convolution in (conv1x1, conv3x3):
        assert convolution(2, 3).bias is None
        assert convolution(2, 3, bias=True).bias.shape == (3,)


@pytest.mark.parametrize(
    ("block", "weights"),
    [
        pytest.param(lambda: BasicBlock(256, 256), 3 * 3 * 256 * 256 * 2, id="two 3x3 at 256"),
        pytest.param(lambda: Bottleneck(256, 64), 69_632, id="bottleneck 256-64-64-256"),
        pytest.param(lambda: BasicBlock(64, 64), 73_728, id="its partner of equal cost"),
    ],
)
def test_the_convolution_weights_of_a_block_are_the_books_figures(block, weights):
    with torch.device("meta"):
        assert sum(p.numel() for p in block().parameters() if p.dim() == 4) == weights


# Names, which torchvision's weights and the chapters rely on


@pytest.mark.parametrize(
    ("block", "names"),
    [
        pytest.param(lambda: Residual(4, 4), ["conv1", "bn1", "conv2", "bn2"], id="Residual"),
        pytest.param(lambda: Residual(4, 8, True), ["conv1", "bn1", "conv2", "bn2", "conv3"], id="Residual, 1x1"),
        pytest.param(
            lambda: BasicBlock(4, 8), ["conv1", "bn1", "conv2", "bn2", "downsample.0", "downsample.1"], id="BasicBlock"
        ),
        pytest.param(
            lambda: Bottleneck(4, 8),
            ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1"],
            id="Bottleneck",
        ),
        pytest.param(lambda: BasicBlock(4, 8, 2, "A"), ["conv1", "bn1", "conv2", "bn2"], id="BasicBlock, A"),
        pytest.param(lambda: BasicBlock(4, 4), ["conv1", "bn1", "conv2", "bn2"], id="BasicBlock, identity"),
    ],
)
def test_the_submodules_with_parameters_have_the_expected_names(block, names):
    assert list(dict.fromkeys(key.rpartition(".")[0] for key in block().state_dict())) == names


def test_residual_keeps_the_bias_of_every_convolution_and_has_no_batchnorm_in_its_shortcut():
    block = Residual(4, 8, use_1x1conv=True, strides=2)
    assert all(convolution.bias is not None for convolution in (block.conv1, block.conv2, block.conv3))
    assert isinstance(block.conv3, nn.Conv2d) and block.conv3.kernel_size == (1, 1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_the_bias_option_reaches_every_convolution(block, bias):
    convolutions = [module for module in block(4, 8, 2, bias=bias).modules() if isinstance(module, nn.Conv2d)]
    assert [convolution.bias is not None for convolution in convolutions] == [bias] * len(convolutions)


def test_the_bottleneck_strides_in_its_3x3_convolution():
    block = Bottleneck(8, 4, stride=2)
    strides = [convolution.stride for convolution in (block.conv1, block.conv2, block.conv3)]
    assert strides == [(1, 1), (2, 2), (1, 1)]
    assert [block.conv1.kernel_size, block.conv2.kernel_size, block.conv3.kernel_size] == [(1, 1), (3, 3), (1, 1)]


def test_the_expansion_is_the_growth_of_the_channels():
    assert (BasicBlock.expansion, Bottleneck.expansion) == (1, 4)


# A branch of zero


IDENTITY_BLOCKS = {
    "Residual": lambda: Residual(8, 8),
    "BasicBlock, A": lambda: BasicBlock(8, 8, shortcut="A"),
    "BasicBlock, B": lambda: BasicBlock(8, 8, shortcut="B"),
    "Bottleneck, A": lambda: Bottleneck(8, 2, shortcut="A"),
    "Bottleneck, B": lambda: Bottleneck(8, 2, shortcut="B"),
}
OPTION_A_BLOCKS = {
    "BasicBlock, wider": lambda stride: BasicBlock(8, 13, stride, "A"),
    "BasicBlock, stride only": lambda stride: BasicBlock(8, 8, stride, "A"),
    "Bottleneck": lambda stride: Bottleneck(8, 4, stride, "A"),
}


def silence(block: nn.Module, how: str) -> nn.Module:
    """Set the block's residual branch to zero: by its last BatchNorm, or by every parameter of its last two layers."""
    last = 3 if isinstance(block, Bottleneck) else 2
    norm = getattr(block, f"bn{last}")
    nn.init.zeros_(norm.bias)
    if how == "BatchNorm":
        nn.init.zeros_(norm.weight)
    else:
        for parameter in getattr(block, f"conv{last}").parameters():
            nn.init.zeros_(parameter)
        nn.init.zeros_(norm.running_mean)
    return block


@pytest.mark.parametrize("build", IDENTITY_BLOCKS.values(), ids=IDENTITY_BLOCKS)
@pytest.mark.parametrize("how", ["BatchNorm", "convolution"])
@both_modes
def test_a_block_with_a_branch_of_zero_is_exactly_relu_of_its_input(build, how, training):
    block = silence(shake(build()), how).train(training)
    x = images(3, 8, 7, 6)
    assert torch.equal(block(x), x.clamp(min=0))
    assert torch.equal(block(x.clamp(min=0)), x.clamp(min=0)), "what comes from a ReLU passes unchanged"


@pytest.mark.parametrize("build", OPTION_A_BLOCKS.values(), ids=OPTION_A_BLOCKS)
@pytest.mark.parametrize("how", ["BatchNorm", "convolution"])
@pytest.mark.parametrize("stride", [1, 2])
@both_modes
def test_with_option_a_it_is_exactly_relu_of_the_strided_and_padded_input(build, how, stride, training):
    block = silence(shake(build(stride)), how).train(training)
    x = images(3, 8, 7, 6)
    out = block(x)
    assert torch.equal(out, option_a_by_hand(x, out.shape[1], stride).clamp(min=0))


@pytest.mark.parametrize("block", [BasicBlock(8, 8, shortcut="none"), Bottleneck(8, 2, shortcut="none")])
def test_a_plain_block_with_a_branch_of_zero_lets_nothing_through(block):
    assert not silence(block, "BatchNorm")(images(3, 8, 7, 6)).any()


# The shortcuts


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("in_channels", "out_channels"), [(1, 1), (1, 2), (2, 4), (3, 8), (16, 32), (4, 7)])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1)], ids=str)
def test_option_a_strides_and_splits_the_zero_channels_evenly(in_channels, out_channels, stride, size):
    x = images(2, in_channels, *size) + 1
    out = ZeroPadShortcut(in_channels, out_channels, stride)(x)
    assert torch.equal(out, option_a_by_hand(x, out_channels, stride))
    empty = [not out[:, channel].any() for channel in range(out_channels)]
    before, behind = empty.index(False), empty[::-1].index(False)
    assert before + behind == out_channels - in_channels and behind - before in (0, 1)


def test_option_a_has_no_parameters_and_no_state():
    assert not ZeroPadShortcut(4, 8, 2).state_dict()


def test_option_a_gives_a_gradient_to_the_pixels_it_takes_and_to_no_other():
    x = images(1, 2, 5, 5).requires_grad_()
    ZeroPadShortcut(2, 6, 2)(x).sum().backward()
    taken = torch.zeros(1, 2, 5, 5)
    taken[:, :, ::2, ::2] = 1
    assert torch.equal(x.grad, taken)


@pytest.mark.parametrize(
    ("shortcut", "where_it_stays", "where_it_changes"),
    [
        ("none", type(None), type(None)),
        ("A", nn.Identity, ZeroPadShortcut),
        ("B", nn.Identity, nn.Sequential),
        ("C", nn.Sequential, nn.Sequential),
    ],
)
def test_the_shortcut_follows_the_papers_table(shortcut, where_it_stays, where_it_changes):
    assert type(make_shortcut(shortcut, 8, 8)) is where_it_stays
    for change in [(8, 16, 1), (8, 8, 2), (8, 16, 2)]:
        path = make_shortcut(shortcut, *change)
        assert type(path) is where_it_changes
        if isinstance(path, nn.Sequential):
            convolution, norm = path
            assert convolution.kernel_size == (1, 1) and convolution.stride == (change[2], change[2])
            assert convolution.bias is None and norm.num_features == change[1]


# A stage as taught


@pytest.mark.parametrize("num_residuals", [1, 2, 3])
def test_a_stage_halves_the_image_and_changes_the_channels_in_its_first_block_only(num_residuals):
    stage = resnet_block(4, 8, num_residuals)
    assert isinstance(stage, list) and all(type(block) is Residual for block in stage)
    assert [block.conv3 is not None for block in stage] == [True] + [False] * (num_residuals - 1)
    assert nn.Sequential(*stage)(images(2, 4, 9, 6)).shape == (2, 8, 5, 3)
    assert [block.conv1.in_channels for block in stage] == [4] + [8] * (num_residuals - 1)


@pytest.mark.parametrize("num_residuals", [1, 2, 3])
def test_the_stage_after_the_stem_changes_neither(num_residuals):
    stage = resnet_block(4, 4, num_residuals, first_block=True)
    assert [block.conv3 for block in stage] == [None] * num_residuals
    assert nn.Sequential(*stage)(images(2, 4, 9, 6)).shape == (2, 4, 9, 6)


def test_a_later_stage_halves_the_image_even_where_the_channels_stay():
    assert nn.Sequential(*resnet_block(4, 4, 2))(images(2, 4, 9, 6)).shape == (2, 4, 5, 3)
