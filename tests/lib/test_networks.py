"""The networks are torchvision's to the last bit, have the paper's parameter counts, and take any size."""

import inspect
import math

import pytest
import torch
import torchvision
from torch import Tensor, nn

import resnet_lib
from resnet_lib import BasicBlock, Bottleneck, CifarResNet, ResNet, cifar_resnet
from resnet_lib.networks import make_layer

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGENET = {  # parameters, without and with a bias on every convolution
    "resnet18": (11_689_512, 11_694_312),
    "resnet34": (21_797_672, 21_806_184),
    "resnet50": (25_557_032, 25_583_592),
    "resnet101": (44_549_160, 44_601_832),
    "resnet152": (60_192_808, 60_268_520),
    "plain18": (11_515_688, 11_519_592),
    "plain34": (21_623_848, 21_631_464),
}
CIFAR = {  # parameters, plain and with option A, and with B
    20: (269_722, 272_474),
    32: (464_154, 466_906),
    44: (658_586, 661_338),
    56: (853_018, 855_770),
    110: (1_727_962, 1_730_714),
}
RESIDUAL = [name for name in IMAGENET if name.startswith("resnet")]
SHORTCUTS = ["none", "A", "B", "C"]


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def on_meta(build, *arguments, **options) -> nn.Module:
    with torch.device("meta"):  # neither memory nor time goes into values that nobody needs
        return build(*arguments, **options)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def weight_layers(network: nn.Module) -> int:
    return sum(
        isinstance(module, (nn.Conv2d, nn.Linear)) and "downsample" not in name
        for name, module in network.named_modules()
    )


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        (resnet_lib.Residual, "(input_channels, num_channels, use_1x1conv=False, strides=1)"),
        (resnet_lib.resnet_block, "(input_channels, num_channels, num_residuals, first_block=False)"),
        (
            ResNet,
            "(block, layers, num_classes=1000, in_channels=3, *, shortcut='B', bias=False, zero_init_residual=False)",
        ),
        (cifar_resnet, "(depth, shortcut='A', *, width=16, in_channels=3, num_classes=10)"),
        *[(getattr(resnet_lib, name), "(num_classes=1000, in_channels=3, **options)") for name in RESIDUAL],
    ],
)
def test_the_signatures_are_those_that_the_book_uses(function, signature):
    parameters = inspect.signature(function).parameters.values()
    names = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    assert str(inspect.Signature(names)) == signature


# torchvision's networks


@pytest.mark.parametrize("name", RESIDUAL)
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


# Parameter counts and structure


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_networks_have_the_books_counts_and_as_many_layers_as_their_name_says(name):
    network = on_meta(getattr(resnet_lib, name))
    assert (count(network), count(on_meta(getattr(resnet_lib, name), bias=True))) == IMAGENET[name]
    assert weight_layers(network) == int(name.lstrip("plainrest"))


@pytest.mark.parametrize("depth", CIFAR)
def test_cifar_networks_have_the_books_counts_and_as_many_layers_as_their_depth(depth):
    plain, padded, projected = (on_meta(cifar_resnet, depth, shortcut) for shortcut in ("none", "A", "B"))
    assert (count(plain), count(projected)) == CIFAR[depth]
    shapes, twin = ({key: value.shape for key, value in net.state_dict().items()} for net in (plain, padded))
    assert shapes == twin
    assert weight_layers(plain) == weight_layers(projected) == depth


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_plain_imagenet_networks_have_the_parameters_of_their_twins_with_option_a(block):
    plain, padded, projected = (
        on_meta(ResNet, block, [2, 1, 1, 2], shortcut=shortcut).state_dict() for shortcut in ("none", "A", "B")
    )
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
