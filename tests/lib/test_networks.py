"""The networks are torchvision's to the last bit, have the paper's parameter counts, and take any size."""

import inspect
import math

import pytest
import torch
import torchvision
from torch import Tensor, nn

import resnet_lib
from resnet_lib import BasicBlock, Bottleneck, CifarResNet, ResNet, ZeroPadShortcut, cifar_resnet
from resnet_lib.networks import make_layer

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGENET = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
PLAIN = ["plain18", "plain34"]
SHORTCUTS = ["none", "A", "B", "C"]


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def count_parameters(build) -> int:
    with torch.device("meta"):  # counts need no memory
        return sum(parameter.numel() for parameter in build().parameters())


def blocks_of(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, (BasicBlock, Bottleneck))]


# What the book imports


@pytest.mark.parametrize("name", resnet_lib.__all__)
def test_every_exported_name_is_there(name):
    assert callable(getattr(resnet_lib, name))


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
        *[(getattr(resnet_lib, name), "(num_classes=1000, in_channels=3, **options)") for name in IMAGENET],
        *[(getattr(resnet_lib, name), "(num_classes=1000, in_channels=3, *, bias=False)") for name in PLAIN],
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_signatures_are_those_that_the_book_uses(function, signature):
    signature_here = inspect.signature(function)
    names = [p.replace(annotation=inspect.Parameter.empty) for p in signature_here.parameters.values()]
    assert str(inspect.Signature(names)) == signature


# torchvision's networks


def on_meta(module, name: str) -> nn.Module:
    with torch.device("meta"):  # neither memory nor time goes into initial weights that are replaced anyway
        return getattr(module, name)()


def torchvision_network(name: str) -> nn.Module:
    """torchvision's network with random weights, and random BatchNorm weights and statistics besides."""
    generator = torch.Generator().manual_seed(3)
    network = on_meta(torchvision.models, name).to_empty(device="cpu")
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.dim() > 1:
                fan_out = tensor.shape[0] * tensor[0, 0].numel()
                tensor.normal_(std=math.sqrt(2 / fan_out), generator=generator)
            elif tensor.is_floating_point():
                tensor.uniform_(0.5, 1, generator=generator)
            else:
                tensor.zero_()  # BatchNorm's count of batches
    return network


@pytest.mark.parametrize("name", IMAGENET)
def test_state_dict_keys_and_shapes_are_torchvisions_in_the_same_order(name):
    ours, theirs = (on_meta(module, name).state_dict() for module in (resnet_lib, torchvision.models))
    assert [(key, value.shape) for key, value in ours.items()] == [(key, value.shape) for key, value in theirs.items()]
    assert [value.dtype for value in ours.values()] == [value.dtype for value in theirs.values()]


@pytest.mark.parametrize("name", IMAGENET)
def test_with_torchvisions_weights_outputs_gradients_and_statistics_are_equal_to_the_last_bit(name):
    theirs = torchvision_network(name)
    ours = on_meta(resnet_lib, name).to_empty(device="cpu")
    assert str(ours.load_state_dict(theirs.state_dict(), strict=True)) == "<All keys matched successfully>"
    for mode in ("eval", "train"):
        results = []
        for network in (ours, theirs):
            getattr(network, mode)()
            x = images(2, 3, 64, 64).requires_grad_()
            out = network(x)
            network.zero_grad()
            nn.functional.cross_entropy(out, torch.tensor([3, 141])).backward()
            gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
            results.append({"output": out.detach(), "input": x.grad, **gradients})
        for (key, one), (_, other) in zip(*[result.items() for result in results], strict=True):
            assert torch.equal(one, other), f"{key} in {mode} mode"
            assert one.isfinite().all() and one.any(), f"{key} in {mode} mode: every parameter gets a gradient"
    for key, value in theirs.state_dict().items():  # training has moved the running statistics
        assert torch.equal(ours.state_dict()[key], value), key


# Parameter counts


@pytest.mark.parametrize(
    ("name", "count", "count_with_bias"),
    [
        ("resnet18", 11_689_512, 11_694_312),
        ("resnet34", 21_797_672, 21_806_184),
        ("resnet50", 25_557_032, 25_583_592),
        ("resnet101", 44_549_160, 44_601_832),
        ("resnet152", 60_192_808, 60_268_520),
    ],
)
def test_the_imagenet_networks_have_the_books_parameter_counts(name, count, count_with_bias):
    build = getattr(resnet_lib, name)
    assert count_parameters(build) == count
    assert count_parameters(lambda: build(bias=True)) == count_with_bias


@pytest.mark.parametrize(
    ("depth", "count"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)]
)
def test_the_cifar_networks_have_the_books_parameter_counts_plain_and_with_option_a(depth, count):
    assert count_parameters(lambda: cifar_resnet(depth)) == count
    assert count_parameters(lambda: cifar_resnet(depth, "none")) == count


@pytest.mark.parametrize(("depth", "count"), [(20, 272_474), (56, 855_770)])
def test_option_b_adds_the_books_count(depth, count):
    assert count_parameters(lambda: cifar_resnet(depth, "B")) == count


@pytest.mark.parametrize(
    "settings", [{}, {"width": 1}, {"width": 8, "in_channels": 1}, {"width": 5, "num_classes": 100}], ids=str
)
@pytest.mark.parametrize("depth", [8, 14, 56])
def test_plain_cifar_networks_match_their_twins_with_option_a_key_by_key(depth, settings):
    plain, residual = (cifar_resnet(depth, shortcut, **settings).state_dict() for shortcut in ("none", "A"))
    assert {key: value.shape for key, value in plain.items()} == {key: value.shape for key, value in residual.items()}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layers", [18, 34])
def test_plain_imagenet_networks_match_their_twins_with_option_a(layers, bias):
    plain, residual = (getattr(resnet_lib, f"{kind}{layers}") for kind in ("plain", "resnet"))
    count = count_parameters(lambda: residual(shortcut="A", bias=bias))
    assert count_parameters(lambda: plain(bias=bias)) == count
    assert count < count_parameters(lambda: residual(bias=bias)), "option B has 1x1 convolutions besides"


def test_plain_networks_of_bottlenecks_match_their_twins_with_option_a():
    plain, residual = (
        count_parameters(lambda s=shortcut: ResNet(Bottleneck, [3, 4, 6, 3], shortcut=s)) for shortcut in ("none", "A")
    )
    assert plain == residual


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_network_is_the_residual_one_without_its_downsample_modules(name):
    plain, residual = (on_meta(resnet_lib, twin).state_dict() for twin in (name, name.replace("plain", "resnet")))
    assert list(plain) == [key for key in residual if "downsample" not in key]


# Structure


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("depth", [8, 14, 20, 56, 110])
def test_the_depth_counts_the_weight_layers_outside_the_shortcuts(depth, shortcut):
    with torch.device("meta"):
        network = cifar_resnet(depth, shortcut)
    layers = [
        name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear)) and "downsample" not in name
    ]
    assert len(layers) == depth


@pytest.mark.parametrize("name", IMAGENET + PLAIN)
def test_the_name_counts_the_weight_layers_outside_the_shortcuts(name):
    with torch.device("meta"):
        network = getattr(resnet_lib, name)()
    layers = [
        name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear)) and "downsample" not in name
    ]
    assert f"{len(layers)}" == name.lstrip("plainrest")


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_the_submodules_of_a_cifar_network_have_the_expected_names(shortcut):
    network = cifar_resnet(14, shortcut, width=2)
    expected = ["conv1", "bn1"]
    for stage in (1, 2, 3):
        for block in (0, 1):
            inside = ["conv1", "bn1", "conv2", "bn2"]
            if shortcut == "C" or (shortcut == "B" and stage > 1 and block == 0):
                inside += ["downsample.0", "downsample.1"]
            expected += [f"layer{stage}.{block}.{name}" for name in inside]
    assert list(dict.fromkeys(key.rpartition(".")[0] for key in network.state_dict())) == [*expected, "fc"]


def test_option_a_strides_and_pads_in_the_first_block_of_the_later_stages():
    network = cifar_resnet(14, "A", width=2)
    paths = [type(block.downsample) for block in blocks_of(network)]
    identity, padded = nn.Identity, ZeroPadShortcut
    assert paths == [identity, identity, padded, identity, padded, identity]


@pytest.mark.parametrize("width", [1, 3, 16])
def test_the_stages_of_a_cifar_network_are_width_twice_and_four_times_as_wide(width):
    network = cifar_resnet(8, width=width, in_channels=2, num_classes=7)
    assert network.conv1.weight.shape == (width, 2, 3, 3)
    stages = (network.layer1, network.layer2, network.layer3)
    assert [stage[-1].conv2.out_channels for stage in stages] == [width, 2 * width, 4 * width]
    assert network.fc.weight.shape == (7, 4 * width)


def test_the_defaults_of_a_cifar_network_are_the_papers():
    network = cifar_resnet(8)
    assert isinstance(network, CifarResNet)
    assert network.conv1.weight.shape == (16, 3, 3, 3) and network.fc.weight.shape == (10, 64)
    assert [type(block.downsample) for block in blocks_of(network)] == [nn.Identity, ZeroPadShortcut, ZeroPadShortcut]


@pytest.mark.parametrize("name", IMAGENET + PLAIN)
def test_classes_and_image_channels_are_free(name):
    with torch.device("meta"):
        network = getattr(resnet_lib, name)(7, 2)
    assert network.conv1.in_channels == 2 and network.fc.out_features == 7


def shapes_of_stages(network: nn.Module, x: Tensor) -> dict[str, tuple[int, ...]]:
    """(channels, height, width) behind the first convolution and behind each stage."""
    shapes = {}
    hooks = [
        module.register_forward_hook(lambda _, inputs, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
        for name, module in network.named_children()
        if name.startswith(("conv", "layer"))
    ]
    out = network(x)
    assert out.is_meta or out.isfinite().all()
    for hook in hooks:
        hook.remove()
    return shapes


@pytest.mark.parametrize("name", IMAGENET + PLAIN)
def test_at_224_pixels_the_stages_have_the_papers_sizes(name):
    with torch.device("meta"):
        network = getattr(resnet_lib, name)()
        shapes = shapes_of_stages(network, torch.empty(1, 3, 224, 224))
    expansion = 1 if int(name[-2:]) in (18, 34) else 4
    assert shapes == {
        "conv1": (64, 112, 112),
        "layer1": (64 * expansion, 56, 56),
        "layer2": (128 * expansion, 28, 28),
        "layer3": (256 * expansion, 14, 14),
        "layer4": (512 * expansion, 7, 7),
    }


def test_make_layer_lets_only_its_first_block_change_the_shape():
    stage = make_layer(Bottleneck, 16, 8, 3, stride=2)
    assert [block.conv2.stride[0] for block in stage] == [2, 1, 1]
    assert [block.conv1.in_channels for block in stage] == [16, 32, 32]
    assert [type(block.downsample) for block in stage] == [nn.Sequential, nn.Identity, nn.Identity]


# Any size


@pytest.mark.parametrize("name", IMAGENET + PLAIN)
def test_the_smallest_image_passes_through_every_imagenet_network(name):
    network = on_meta(resnet_lib, name).to_empty(device="cpu").eval()
    network.load_state_dict({key: torch.zeros_like(value) for key, value in network.state_dict().items()})
    with torch.no_grad():
        assert network(images(2, 3, 32, 32)).shape == (2, 1000)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_any_size_from_32_up_passes_through_an_imagenet_network(block, shortcut):
    network = ResNet(block, [1, 1, 1, 1], num_classes=5, shortcut=shortcut)
    for size in [(32, 32), (33, 33), (47, 47), (64, 64), (100, 100), (32, 75), (129, 32)]:
        for training in (False, True):
            with torch.no_grad():
                shapes = shapes_of_stages(network.train(training), images(2, 3, *size))
            assert shapes["layer4"][1:] == tuple(math.ceil(pixels / 32) for pixels in size)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 7), (8, 8), (28, 28), (32, 33), (47, 100)], ids=str)
def test_any_size_passes_through_a_cifar_network(size, shortcut):
    network = cifar_resnet(8, shortcut, width=2)
    shapes = shapes_of_stages(network, images(2, 3, *size))
    assert shapes == {
        "conv1": (2, *size),
        "layer1": (2, *size),
        "layer2": (4, *(math.ceil(pixels / 2) for pixels in size)),
        "layer3": (8, *(math.ceil(pixels / 4) for pixels in size)),
    }
    assert network(images(2, 3, *size)).shape == (2, 10)


@pytest.mark.parametrize("build", [lambda: resnet_lib.resnet18(), lambda: cifar_resnet(8)], ids=["ImageNet", "CIFAR"])
def test_a_network_leaves_its_input_as_it_was(build):
    x = images(2, 3, 32, 32)
    before = x.clone()
    build()(x)
    assert torch.equal(x, before) and x._version == 0


# Gradients


# The five residual networks stand above, beside torchvision's; here are the plain ones and the options.
NETWORKS = {
    **{name: getattr(resnet_lib, name) for name in PLAIN},
    "resnet18, its own weights": resnet_lib.resnet18,
    "resnet18, A": lambda: resnet_lib.resnet18(shortcut="A"),
    "resnet18, C": lambda: resnet_lib.resnet18(shortcut="C"),
    "resnet50, bias": lambda: resnet_lib.resnet50(bias=True),
    "plain bottlenecks": lambda: ResNet(Bottleneck, [1, 1, 1, 1], shortcut="none"),
    **{f"CIFAR, {shortcut}": lambda s=shortcut: cifar_resnet(20, s, width=4) for shortcut in SHORTCUTS},
}


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_every_parameter_gets_a_gradient(build):
    network = build()
    network(images(2, 3, 32, 32)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name


# Initial weights


@pytest.mark.parametrize("build", [lambda: resnet_lib.resnet50(), lambda: cifar_resnet(20)], ids=["ImageNet", "CIFAR"])
def test_the_initial_weights_are_hes(build):
    torch.manual_seed(0)
    network = build()
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            expected = math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels))
            slack = 5 / math.sqrt(2 * module.weight.numel())  # five standard errors
            assert module.weight.std().item() == pytest.approx(expected, rel=slack), name
            assert abs(module.weight.mean().item()) < 5 * expected / math.sqrt(module.weight.numel()), name
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and not module.bias.any(), name


def test_networks_draw_their_weights_from_the_global_seed():
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(cifar_resnet(8, width=2).layer3[0].conv2.weight)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_zero_init_residual_starts_every_block_as_relu_of_its_shortcut(block, shortcut):
    network = ResNet(block, [2, 1, 1, 1], num_classes=5, shortcut=shortcut, zero_init_residual=True)
    for training in (False, True):
        for inner in blocks_of(network.train(training)):
            x = images(2, inner.conv1.in_channels, 6, 6)
            with torch.no_grad():
                assert torch.equal(inner(x), inner.downsample(x).clamp(min=0))


@pytest.mark.parametrize(("block", "last"), [(BasicBlock, "bn2"), (Bottleneck, "bn3")])
def test_zero_init_residual_touches_the_last_batchnorm_of_a_block_and_nothing_else(block, last):
    zeroed = ResNet(block, [1, 1, 1, 1], zero_init_residual=True)
    usual = ResNet(block, [1, 1, 1, 1])
    for key, value in zeroed.state_dict().items():
        if key.endswith(f"{last}.weight"):
            assert not value.any(), key
        elif value.dim() == 1 and key.endswith("weight"):
            assert (value == 1).all(), key
    assert all((value == 1).all() for key, value in usual.state_dict().items() if key.endswith(f"{last}.weight"))


def test_with_zero_init_residual_every_parameter_still_gets_a_gradient():
    network = resnet_lib.resnet18(zero_init_residual=True)
    network(images(2, 3, 32, 32)).square().sum().backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not without
    assert all(block.bn2.weight.grad.any() for block in blocks_of(network)), "the branches could never wake up"


# The twins differ in the addition alone


@pytest.mark.parametrize("depth", [8, 20])
def test_with_the_same_weights_a_plain_network_and_its_twin_differ_by_the_additions(depth):
    plain, residual = cifar_resnet(depth, "none", width=4), cifar_resnet(depth, "A", width=4)
    residual.load_state_dict(plain.state_dict())
    x = images(2, 3, 8, 8)
    assert not torch.allclose(plain.eval()(x), residual.eval()(x))
    for block in blocks_of(residual):
        block.downsample = None
    assert torch.equal(plain(x), residual(x))
