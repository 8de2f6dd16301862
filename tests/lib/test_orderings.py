"""The five orderings do what figure 4 of "Identity Mappings" draws, and nothing else differs between them."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_lib import ZeroPadShortcut, cifar_resnet
from resnet_lib.orderings import ORDERINGS, OrderedBlock, OrderedResNet, make_steps

pytestmark = pytest.mark.usefixtures("one_thread")

every_ordering = pytest.mark.parametrize("name", ORDERINGS)
both_shapes = pytest.mark.parametrize(("channels", "stride"), [(4, 1), (8, 2)], ids=["same shape", "new shape"])
FULL = ORDERINGS["full pre-activation"]


def by_hand(name: str, block: OrderedBlock, x: Tensor) -> Tensor:
    """Figure 4 written out once more, operation by operation."""
    conv1, conv2 = (module for module in block.modules() if isinstance(module, nn.Conv2d))
    bn1, bn2 = (module for module in block.modules() if isinstance(module, nn.BatchNorm2d))
    around = x
    if conv1.stride != (1, 1):
        around = ZeroPadShortcut(conv1.in_channels, conv1.out_channels, conv1.stride[0])(x)
    if name == "original":
        return F.relu(around + bn2(conv2(F.relu(bn1(conv1(x))))))
    if name == "BN after addition":
        return F.relu(bn2(around + conv2(F.relu(bn1(conv1(x))))))
    if name == "ReLU before addition":
        return around + F.relu(bn2(conv2(F.relu(bn1(conv1(x))))))
    if name == "ReLU-only pre-activation":
        return around + bn2(conv2(F.relu(bn1(conv1(F.relu(x))))))
    assert name == "full pre-activation"
    return around + conv2(F.relu(bn2(conv1(F.relu(bn1(x))))))


def shake(module: nn.Module) -> nn.Module:
    """Random values for BatchNorm, whose fresh weight 1 and bias 0 would hide where it stands."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return module


@every_ordering
@both_shapes
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_block_does_the_steps_of_the_figure(name, channels, stride, training):
    torch.manual_seed(0)
    block = shake(OrderedBlock(4, channels, stride, ORDERINGS[name])).train(training)
    x = torch.randn(3, 4, 6, 6)
    assert torch.equal(block(x), by_hand(name, block, x))


@every_ordering
def test_block_leaves_its_input_alone(name):
    x = torch.randn(2, 4, 6, 6)
    before = x.clone()
    OrderedBlock(4, 4, steps=ORDERINGS[name])(x)
    assert torch.equal(x, before)


@every_ordering
def test_every_parameter_gets_a_gradient(name):
    torch.manual_seed(0)
    network = OrderedResNet(14, ORDERINGS[name], width=4, in_channels=1)
    network(torch.randn(4, 1, 8, 8)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("depth", [8, 20])
def test_network_in_the_original_order_is_the_library_s_network(depth):
    networks = []
    for build in (lambda: cifar_resnet(depth, width=4), lambda: OrderedResNet(depth, ORDERINGS["original"], width=4)):
        torch.manual_seed(0)
        networks.append(build())
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(networks[0](x), networks[1](x))
    assert torch.equal(networks[0].eval()(x), networks[1].eval()(x))


@every_ordering
@pytest.mark.parametrize("depth", [8, 20])
def test_networks_share_size_and_initial_convolutions(name, depth):
    def build(steps):
        torch.manual_seed(0)
        return OrderedResNet(depth, steps, width=4)

    original, other = build(ORDERINGS["original"]), build(ORDERINGS[name])
    assert sum(p.numel() for p in other.parameters()) == sum(p.numel() for p in original.parameters())
    for kind in (nn.Conv2d, nn.Linear):
        weights = [[m.weight for m in network.modules() if isinstance(m, kind)] for network in (original, other)]
        assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    assert sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in other.modules()) == depth


def kinds(module: nn.Module) -> list[str]:
    return [type(child).__name__ for child in module]


@every_ordering
def test_pre_activation_moves_from_the_first_block_behind_the_last(name):
    network = OrderedResNet(14, ORDERINGS[name], width=4)
    moved = {"ReLU-only pre-activation": ["ReLU"], "full pre-activation": ["BatchNorm2d", "ReLU"]}.get(name, [])
    assert kinds(network.stem) == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert kinds(network.end) == moved
    first, second, *_ = network.blocks
    assert kinds(first.branch)[0] == "Conv2d"
    assert kinds(second.branch) == moved + kinds(first.branch)


def test_pre_activated_stream_is_a_sum():
    """With full pre-activation, what leaves the blocks is what came in plus what every branch added."""
    torch.manual_seed(0)
    blocks = nn.Sequential(*(OrderedBlock(4, 4, steps=FULL) for _ in range(5)))
    added = []
    for block in blocks:
        block.branch.register_forward_hook(lambda module, inputs, output: added.append(output))
    x = torch.randn(2, 4, 6, 6)
    out = blocks(x)
    torch.testing.assert_close(out, x + sum(added))


@pytest.mark.parametrize(("depth", "width", "size"), [(8, 4, 8), (14, 3, 9)])
def test_shapes(depth, width, size):
    network = OrderedResNet(depth, width=width, in_channels=1, num_classes=7)
    assert network(torch.rand(2, 1, size, size)).shape == (2, 7)
    seen = [tuple(block(torch.rand(1, block.branch[0].in_channels, 5, 5)).shape) for block in network.blocks[:1]]
    assert seen == [(1, width, 5, 5)]


def test_an_order_of_one_s_own_works():
    block = OrderedBlock(4, 8, stride=2, steps="relu conv + bn")
    assert kinds(block.branch) == ["ReLU", "Conv2d"] and kinds(block.after) == ["BatchNorm2d"]
    assert block.after[0].num_features == 8
    assert block(torch.rand(1, 4, 6, 6)).shape == (1, 8, 3, 3)


def test_batchnorm_takes_the_channels_of_its_place():
    before, after = (m for m in make_steps("bn conv bn conv", 3, 5, stride=2) if isinstance(m, nn.BatchNorm2d))
    assert (before.num_features, after.num_features) == (3, 5)
    assert [m.stride for m in make_steps("conv conv", 3, 5, stride=2)] == [(2, 2), (1, 1)]
