"""The networks are torchvision's to the last bit, and take any size."""

import math

import pytest
import torch
import torchvision
from torch import Tensor, nn

import resnet_lib
from resnet_lib import BasicBlock, Bottleneck, CifarResNet, ResNet, cifar_resnet
from resnet_lib.networks import make_layer

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGENET = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
SHORTCUTS = ["none", "A", "B", "C"]


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def on_meta(build, *arguments, **options) -> nn.Module:
    with torch.device("meta"):  # neither memory nor time goes into values that nobody needs
        return build(*arguments, **options)


@pytest.mark.parametrize("name", IMAGENET)
def test_state_dict_keys_and_shapes_are_torchvisions_in_the_same_order(name):
    ours, theirs = (on_meta(getattr(module, name)).state_dict() for module in (resnet_lib, torchvision.models))
    assert [(key, value.shape) for key, value in ours.items()] == [(key, value.shape) for key, value in theirs.items()]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("zero", [False, True], ids=["", "zero_init_residual"])
def test_from_one_seed_the_initial_weights_are_torchvisions_own(name, zero):
    networks = []
    for module in (resnet_lib, torchvision.models):
        torch.manual_seed(0)
        networks.append(getattr(module, name)(zero_init_residual=zero).state_dict())
    assert [key for key, value in networks[0].items() if not torch.equal(value, networks[1][key])] == []


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_with_torchvisions_weights_outputs_gradients_and_statistics_are_equal_to_the_last_bit(name):
    theirs, ours = getattr(torchvision.models, name)(), getattr(resnet_lib, name)()
    with torch.no_grad():
        for value in theirs.state_dict().values():
            if value.dim() == 1 and value.is_floating_point():  # a fresh BatchNorm hides its own effect
                value.uniform_(0.5, 1)
    assert str(ours.load_state_dict(theirs.state_dict(), strict=True)) == "<All keys matched successfully>"
    for training in (False, True):
        results = []
        for network in (ours.train(training), theirs.train(training)):
            x = images(2, 3, 64, 64).requires_grad_()
            out = network(x)
            network.zero_grad()
            nn.functional.cross_entropy(out, torch.tensor([3, 141])).backward()
            gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
            results.append({"output": out.detach(), "input": x.grad, **gradients, **network.state_dict()})
        for key, one in results[0].items():
            assert torch.equal(one, results[1][key]), f"{key}, training: {training}"
        assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients.values())


# Structure; test_arithmetic.py has the parameter counts


@pytest.mark.parametrize("name", [*IMAGENET, "plain18", "plain34", "cifar_resnet20", "cifar_resnet110"])
def test_a_network_has_as_many_weight_layers_as_its_name_says(name):
    depth = int("".join(filter(str.isdigit, name)))
    build, arguments = (cifar_resnet, [depth]) if name.startswith("cifar") else (getattr(resnet_lib, name), [])
    names = [name for name, module in on_meta(build, *arguments).named_modules() if hasattr(module, "weight")]
    assert len([name for name in names if "conv" in name or name == "fc"]) == depth


@pytest.mark.parametrize(
    "build", [lambda shortcut: cifar_resnet(14, shortcut), lambda shortcut: resnet_lib.resnet50(shortcut=shortcut)]
)
def test_a_plain_network_has_the_layers_of_its_twins_but_for_the_projections(build):
    plain, padded, projected = (on_meta(build, shortcut).state_dict() for shortcut in ("none", "A", "B"))
    assert list(plain) == list(padded) == [key for key in projected if "downsample" not in key]


def test_make_layer_lets_only_its_first_block_change_the_shape():
    stage = make_layer(Bottleneck, 16, 8, 3, stride=2)
    assert [block.conv2.stride[0] for block in stage] == [2, 1, 1]
    assert [block.conv1.in_channels for block in stage] == [16, 32, 32]
    assert [type(block.downsample) for block in stage] == [nn.Sequential, nn.Identity, nn.Identity]


# Any size


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_any_size_from_32_up_passes_through_an_imagenet_network(block, shortcut):
    network, seen = on_meta(ResNet, block, [1, 1, 1, 1], 5, shortcut=shortcut), []
    network.layer4.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[2:])))
    for size in [(32, 32), (33, 33), (47, 64), (224, 224), (32, 75), (129, 32)]:
        assert network(torch.empty(2, 3, *size, device="meta")).shape == (2, 5)
        assert seen.pop() == tuple(math.ceil(pixels / 32) for pixels in size)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (32, 33)], ids=str)
def test_any_size_passes_through_a_cifar_network(size, shortcut):
    network, seen = cifar_resnet(8, shortcut, width=2), []
    for part in (network.conv1, network.layer1, network.layer2, network.layer3):
        part.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[1:])))
    x = images(2, 3, *size)
    before = x.clone()
    assert network(x).shape == (2, 10)
    assert torch.equal(x, before) and x._version == 0, "the input was written to"
    (h, w), half, quarter = size, *([math.ceil(pixels / by) for pixels in size] for by in (2, 4))
    assert seen == [(2, h, w), (2, h, w), (4, *half), (8, *quarter)]


# Weights and gradients


@pytest.mark.parametrize(
    "build",
    [
        *[lambda shortcut=shortcut: cifar_resnet(14, shortcut, width=4) for shortcut in SHORTCUTS],
        lambda: ResNet(Bottleneck, [1, 2, 1, 1], shortcut="none"),
        lambda: ResNet(BasicBlock, [2, 1, 1, 1], shortcut="C", bias=True),
    ],
)
def test_every_parameter_gets_a_gradient(build):
    torch.manual_seed(0)
    network = build()
    network(images(2, 3, 32, 32)).square().sum().backward()
    lacking = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert lacking == []


def test_a_cifar_network_draws_hes_weights_from_the_global_seed():
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(CifarResNet(20, "B").layer3[2].conv2.weight)
    assert torch.equal(networks[0], networks[1]) and not torch.equal(networks[0], networks[2])
    assert networks[0].std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)


@pytest.mark.parametrize("shortcut", ["A", "C"])
@pytest.mark.parametrize(("block", "wide"), [(BasicBlock, 64), (Bottleneck, 256)])
def test_zero_init_residual_starts_a_block_as_relu_of_its_shortcut(block, wide, shortcut):
    network = ResNet(block, [2, 1, 1, 1], num_classes=5, shortcut=shortcut, zero_init_residual=True)
    x = images(2, wide, 6, 6)
    with torch.no_grad():
        assert torch.equal(network.layer1[1](x), network.layer1[1].downsample(x).clamp(min=0))


def test_with_the_same_weights_a_plain_network_and_its_twin_differ_by_the_additions_alone():
    plain, residual = cifar_resnet(14, "none", width=4), cifar_resnet(14, "A", width=4)
    residual.load_state_dict(plain.state_dict())
    x = images(2, 3, 8, 8)
    assert not torch.allclose(plain.eval()(x), residual.eval()(x))
    for block in (block for block in residual.modules() if isinstance(block, BasicBlock)):
        block.downsample = None
    assert torch.equal(plain(x), residual(x))
