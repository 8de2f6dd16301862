"""The arithmetic: the book's figures, the paper's, and closed forms against layers counted while they run."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import resnet_lib
from resnet_lib.arithmetic import (
    Cost,
    basic_block_cost,
    bottleneck_cost,
    cifar_resnet_cost,
    conv_macs,
    layer_table,
    resnet_cost,
    shortcut_cost,
)
from resnet_lib.blocks import BasicBlock, Bottleneck
from resnet_lib.networks import cifar_resnet

IMAGENET = {  # the book's figures: parameters, with biases, multiply-adds; the paper's table 1: 10⁹ "FLOPs"
    18: (11_689_512, 11_694_312, 1_814_073_344, 1.8),
    34: (21_797_672, 21_806_184, 3_663_761_408, 3.6),
    50: (25_557_032, 25_583_592, 4_089_184_256, 3.8),
    101: (44_549_160, 44_601_832, 7_801_405_440, 7.6),
    152: (60_192_808, 60_268_520, 11_513_626_624, 11.3),
}
CIFAR = {  # parameters with option A and B, million multiply-adds with A
    20: (269_722, 272_474, 40.6),
    32: (464_154, 466_906, 68.9),
    44: (658_586, 661_338, 97.2),
    56: (853_018, 855_770, 125.5),
    110: (1_727_962, 1_730_714, 252.9),
}
SHORTCUTS = ["none", "A", "B", "C"]


def counted_by_pytorch(model: nn.Module, input_size: tuple[int, ...]) -> int:
    """Multiply-adds by PyTorch's own counter, which sees operations, not modules, and counts each as two."""
    device = next(model.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *input_size, device=device))
    assert counter.get_total_flops() % 2 == 0
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("depth", IMAGENET)
def test_imagenet_networks_have_the_books_figures_and_nearly_the_papers(depth):
    parameters, with_bias, macs, paper = IMAGENET[depth]
    assert resnet_cost(depth) == Cost(parameters, macs)
    assert resnet_cost(depth, bias=True) == Cost(with_bias, macs)
    if depth < 50:  # the paper counted its option A
        assert round(resnet_cost(depth, "A").macs / 1e9, 1) == paper
    else:  # the paper has the stride on the first 1×1 convolution of three stages, which then works on a quarter
        saved = sum(3 * conv_macs(4 * c, 2 * c, 1, (s // 2) ** 2) for c, s in [(64, 56), (128, 28), (256, 14)])
        assert abs((macs - saved) / 1e9 - paper) < 0.06


@pytest.mark.parametrize("depth", CIFAR)
def test_cifar_networks_have_the_books_figures(depth):
    parameters, projected, millions = CIFAR[depth]
    assert cifar_resnet_cost(depth) == cifar_resnet_cost(depth, "none")
    assert (cifar_resnet_cost(depth).parameters, cifar_resnet_cost(depth, "B").parameters) == (parameters, projected)
    assert round(cifar_resnet_cost(depth).macs / 1e6, 1) == millions


# Closed form against count


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"shortcut": "A", "bias": True}),
        ("resnet50", {"bias": True}),
        ("resnet152", {"shortcut": "none"}),
        ("plain18", {}),
        ("plain34", {"bias": True}),
    ],
)
def test_closed_form_and_count_agree_for_imagenet_networks(name, options):
    with torch.device("meta"):  # shapes are all that counting needs
        model = getattr(resnet_lib, name)(**options)
    options = options | ({"shortcut": "none"} if name.startswith("plain") else {})
    for size in (224, 97):
        counted = layer_table(model, (3, size, size)).cost
        assert counted == resnet_cost(int(name.lstrip("plainrest")), size=size, **options)
        assert counted.macs == counted_by_pytorch(model, (3, size, size))
    assert counted.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize(("depth", "size"), [(8, 7), (20, 32), (56, 28)])
def test_closed_form_and_count_agree_for_cifar_networks(depth, size, shortcut):
    model = cifar_resnet(depth, shortcut, width=5, in_channels=1, num_classes=7).to("meta")
    closed = cifar_resnet_cost(depth, shortcut, size, width=5, in_channels=1, num_classes=7)
    assert layer_table(model, (1, size, size)).cost == closed


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("block", "closed_form"), [(BasicBlock, basic_block_cost), (Bottleneck, bottleneck_cost)])
def test_closed_form_and_count_agree_for_every_kind_of_block(block, closed_form, stride, shortcut, bias):
    built = block(6, 12, stride, shortcut, bias=bias)
    assert layer_table(built, (6, 9, 9)).cost == closed_form(6, 12, 9, stride, shortcut, bias)
    if shortcut == "C":
        path = shortcut_cost("C", 6, 12 * block.expansion, -(-9 // stride), stride, bias)
        assert layer_table(built.downsample, (6, 9, 9)).cost == path


@pytest.mark.parametrize(
    ("layer", "input_size"),
    [
        (nn.Conv2d(8, 12, 3, padding=1, groups=4), (8, 5, 7)),
        (nn.Conv2d(3, 4, (1, 5), dilation=2), (3, 5, 20)),
        (nn.Linear(7, 9), (3, 5, 7)),
        (nn.ConvTranspose2d(4, 6, 3, 2, 1, groups=2), (4, 5, 7)),
    ],
)
def test_layers_that_the_networks_lack_are_counted_as_pytorch_counts_them(layer, input_size):
    assert layer_table(layer, input_size).cost.macs == counted_by_pytorch(layer, input_size) > 0


# The table


class OutOfOrder(nn.Module):
    """Runs its layers in another order than it defines them, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.second(self.first(x))) * self.scale.sum()


def test_rows_stand_in_order_of_execution_and_what_is_used_twice_has_its_parameters_once():
    rows = layer_table(OutOfOrder(), (3, 5, 7)).layers
    assert [(row.name, row.kind, row.parameters, row.macs) for row in rows] == [
        ("first", "Conv2d", 3 * 4 * 9 + 4, 3 * 4 * 9 * 35),
        ("second", "Conv2d", 4 * 4 * 9 + 4, 4 * 4 * 9 * 35),
        ("second", "Conv2d", 0, 4 * 4 * 9 * 35),
        ("", "OutOfOrder", 5, 0),
    ]
    assert {row.output_shape for row in rows} == {(4, 5, 7)}
    shared = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 4, 1, bias=False))
    shared[1].weight = shared[0].weight
    assert layer_table(shared, (4, 3, 3)).cost == Cost(parameters=16, macs=2 * 16 * 9)


# What hides its layers is counted rightly or refused, and a count leaves nothing behind


@pytest.mark.filterwarnings("ignore:`torch.jit.* is deprecated")
def test_a_model_that_hides_its_layers_is_refused():
    unused = cifar_resnet(8)
    unused.never = nn.Conv2d(3, 3, 1)
    for model, sentence in ((torch.jit.script(cifar_resnet(8)), "hides its layers"), (unused, "no layer that ran")):
        with pytest.raises(ValueError, match=sentence):
            layer_table(model, (3, 16, 16))


def test_a_compiled_or_fx_traced_model_is_counted_as_it_was_written():
    model, x = cifar_resnet(8, "B").eval(), torch.rand(2, 3, 16, 16)
    whole, partly = torch.compile(copy.deepcopy(model), backend="eager"), copy.deepcopy(model)
    partly.layer1 = torch.compile(partly.layer1, backend="eager")
    partly.layer2.compile(backend="eager")
    for compiled in (whole, partly):
        with torch.no_grad():
            compiled(x)
        assert layer_table(compiled, (3, 16, 16)) == layer_table(model, (3, 16, 16))
    assert layer_table(torch.fx.symbolic_trace(model), (3, 16, 16)).cost == layer_table(model, (3, 16, 16)).cost


class Watching(nn.Module):
    """Draws random numbers, says how it was run, and takes three channels alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = (self.training, torch.is_grad_enabled(), tuple(x.shape), x.abs().sum().item())
        return self.layers(x + torch.rand_like(x)).view(-1, 3)


@pytest.mark.parametrize("channels", [3, 2])
def test_a_count_leaves_modes_hooks_weights_and_random_state_as_they_were_even_after_an_error(channels):
    model = Watching().bfloat16()
    model.layers[1].eval()  # frozen, inside a model that trains
    model.layers[0].register_forward_hook(lambda module, inputs, output: None)
    state, random_state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with nullcontext() if channels == 3 else pytest.raises(ValueError):
        layer_table(model, (channels, 4, 4))
    assert model.seen == (False, False, (1, channels, 4, 4), 0)
    assert [module.training for module in model.modules()] == [True, True, True, False, True]
    assert [len(module._forward_hooks) for module in model.modules()] == [0, 0, 1, 0, 0]
    assert torch.equal(torch.get_rng_state(), random_state) and torch.is_grad_enabled()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: layer_table(cifar_resnet(8), (3, 224)), ["(channels, height, width)", "(3, 224)"]),
        (lambda: layer_table(cifar_resnet(8), (3, 0, 32)), ["(channels, height, width)", "(3, 0, 32)"]),
        (lambda: layer_table(cifar_resnet(8), (1, 32, 32)), ["(1, 32, 32)", "3 channels", "got 1"]),
        (lambda: resnet_cost(20), ["depth", "18, 34, 50, 101, 152", "20"]),
        (lambda: cifar_resnet_cost(55), ["depth", "50 and 56"]),
        (lambda: resnet_cost(50, "D"), ["shortcut", "'none', 'A', 'B', 'C'", "'D'"]),
    ],
)
def test_what_no_network_has_is_refused_in_one_sentence(call, names):
    with pytest.raises(ValueError) as caught:
        call()
    assert [name for name in names if name not in str(caught.value)] == []
