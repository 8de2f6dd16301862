"""The five orderings do what figure 4 of "Identity Mappings" draws, and nothing else differs between them."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_lib import ZeroPadShortcut, cifar_resnet
from resnet_lib.orderings import ORDERINGS, OrderedBlock, OrderedResNet

pytestmark = pytest.mark.usefixtures("one_thread")

every_ordering = pytest.mark.parametrize("name", ORDERINGS)


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


@every_ordering
@pytest.mark.parametrize(("channels", "stride"), [(4, 1), (8, 2)], ids=["same shape", "new shape"])
def test_block_does_the_steps_of_the_figure_and_leaves_its_input_alone(name, channels, stride):
    torch.manual_seed(0)
    block = OrderedBlock(4, channels, stride, ORDERINGS[name])
    with torch.no_grad():
        for norm in (module for module in block.modules() if isinstance(module, nn.BatchNorm2d)):
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                tensor.uniform_(0.1, 1.1)  # fresh ones would hide where it stands
    x = torch.randn(3, 4, 6, 6)
    before = x.clone()
    for training in (False, True):
        assert torch.equal(block.train(training)(x), by_hand(name, block, x))
    assert torch.equal(x, before)


def test_network_in_the_original_order_is_the_library_s_network():
    networks = []
    for build in (lambda: cifar_resnet(20, width=4), lambda: OrderedResNet(20, ORDERINGS["original"], width=4)):
        torch.manual_seed(0)
        networks.append(build())
    x = torch.randn(2, 3, 16, 16)
    for training in (True, False):
        assert torch.equal(networks[0].train(training)(x), networks[1].train(training)(x))


@every_ordering
def test_networks_share_size_and_initial_convolutions(name):
    original, other = (torch.manual_seed(0) and OrderedResNet(20, ORDERINGS[n], width=4) for n in ("original", name))
    assert sum(p.numel() for p in other.parameters()) == sum(p.numel() for p in original.parameters())
    weights = [
        [module.weight for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        for network in (original, other)
    ]
    assert len(weights[1]) == 20 and all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


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
