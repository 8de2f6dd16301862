"""The arithmetic: the book's figures, the paper's, and closed forms against layers counted while they run."""

from functools import cache

import pytest
import torch
import torchinfo
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_lib.arithmetic import (
    Cost,
    LayerTable,
    basic_block_cost,
    batchnorm_parameters,
    bottleneck_cost,
    cifar_resnet_cost,
    conv_batchnorm_cost,
    conv_macs,
    conv_parameters,
    layer_table,
    linear_parameters,
    output_size,
    resnet_cost,
    shortcut_cost,
    stages_cost,
)
from resnet_lib.blocks import BasicBlock, Bottleneck, Residual, resnet_block
from resnet_lib.networks import (
    ResNet,
    cifar_resnet,
    make_layer,
    plain18,
    plain34,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
)

BUILDERS = {18: resnet18, 34: resnet34, 50: resnet50, 101: resnet101, 152: resnet152}
DEPTHS = list(BUILDERS)
SHORTCUTS = ["none", "A", "B", "C"]


@cache
def imagenet_network(depth: int, shortcut: str = "B", bias: bool = False) -> ResNet:
    """A network without memory for its values: shapes are all that counting needs."""
    with torch.device("meta"):
        return BUILDERS[depth](shortcut=shortcut, bias=bias)


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def counted_by_pytorch(model: nn.Module, input_size: tuple[int, ...]) -> int:
    """Multiply-adds by PyTorch's own counter, which sees operations, not modules, and counts each as two."""
    device = next(model.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *input_size, device=device))
    assert counter.get_total_flops() % 2 == 0
    return counter.get_total_flops() // 2


def parameters_of(table: LayerTable, kind: str) -> int:
    return sum(layer.parameters for layer in table.layers if layer.kind == kind)


# The figures that the book quotes


def test_two_3x3_convolutions_of_256_channels_have_17_times_the_weights_of_the_bottleneck():
    two = 2 * conv_parameters(256, 256, 3)
    bottleneck = conv_parameters(256, 64, 1) + conv_parameters(64, 64, 3) + conv_parameters(64, 256, 1)
    assert (two, bottleneck) == (1_179_648, 69_632)
    assert round(two / bottleneck, 2) == 16.94


def test_the_bottlenecks_equal_cost_partner_is_a_basic_block_of_64_channels():
    assert 2 * conv_parameters(64, 64, 3) == 73_728


def test_one_convolution_from_256_to_512_channels_happens_to_have_as_many_weights_as_two_of_256():
    assert conv_parameters(256, 512, 3) == 2 * conv_parameters(256, 256, 3)


@pytest.mark.parametrize(("block", "figure"), [(Bottleneck(256, 64), 69_632), (BasicBlock(64, 64), 73_728)])
def test_the_blocks_convolutions_have_the_quoted_weights_when_counted(block, figure):
    assert parameters_of(layer_table(block, (block.conv1.in_channels, 8, 8)), "Conv2d") == figure


@pytest.mark.parametrize(
    ("depth", "without_bias", "with_bias"),
    [
        (18, 11_689_512, 11_694_312),
        (34, 21_797_672, 21_806_184),
        (50, 25_557_032, 25_583_592),
        (101, 44_549_160, 44_601_832),
        (152, 60_192_808, 60_268_520),
    ],
)
def test_imagenet_networks_have_the_quoted_parameters(depth, without_bias, with_bias):
    assert resnet_cost(depth).parameters == without_bias
    assert resnet_cost(depth, bias=True).parameters == with_bias


@pytest.mark.parametrize(
    ("depth", "shortcut", "parameters"),
    [
        (20, "A", 269_722),
        (32, "A", 464_154),
        (44, "A", 658_586),
        (56, "A", 853_018),
        (110, "A", 1_727_962),
        (1202, "A", 19_421_274),
        (20, "B", 272_474),
        (56, "B", 855_770),
    ],
)
def test_cifar_networks_have_the_quoted_parameters(depth, shortcut, parameters):
    assert cifar_resnet_cost(depth, shortcut).parameters == parameters


@pytest.mark.parametrize(("depth", "millions"), [(20, 40.6), (32, 68.9), (44, 97.2), (56, 125.5), (110, 252.9)])
def test_cifar_networks_have_the_quoted_multiply_adds(depth, millions):
    assert round(cifar_resnet_cost(depth).macs / 1e6, 1) == millions


@pytest.mark.parametrize("depth", [20, 56, 1202])
def test_a_plain_cifar_network_costs_what_its_twin_with_option_a_costs(depth):
    assert cifar_resnet_cost(depth, "none") == cifar_resnet_cost(depth, "A")


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_half_the_pixels_a_side_and_twice_the_channels_keep_a_convolutions_multiply_adds(stage):
    width, size = 64 * 2**stage, 56 // 2**stage
    assert conv_macs(width, width, 3, size * size) == conv_macs(64, 64, 3, 56 * 56) == 115_605_504


@pytest.mark.parametrize("depth", DEPTHS)
def test_biases_add_half_of_what_batchnorm_has_and_no_multiply_adds(depth):
    # Every convolution is followed by BatchNorm: one bias, where BatchNorm has a weight and a bias.
    table = layer_table(imagenet_network(depth), (3, 224, 224))
    extra = resnet_cost(depth, bias=True).parameters - resnet_cost(depth).parameters
    assert 2 * extra == parameters_of(table, "BatchNorm2d")
    assert resnet_cost(depth, bias=True).macs == resnet_cost(depth).macs


# The paper's table 1: 1.8, 3.6, 3.8, 7.6 and 11.3 ×10⁹ "FLOPs"


@pytest.mark.parametrize(
    ("depth", "macs"),
    [(18, 1_814_073_344), (34, 3_663_761_408), (50, 4_089_184_256), (101, 7_801_405_440), (152, 11_513_626_624)],
)
def test_imagenet_networks_have_these_multiply_adds_with_torchvisions_stride(depth, macs):
    assert resnet_cost(depth).macs == macs


@pytest.mark.parametrize(("depth", "paper"), [(18, 1.8), (34, 3.6)])
def test_the_papers_flops_for_18_and_34_layers_are_those_of_option_a(depth, paper):
    # With option B, ResNet-34 has 3.66e9, which would round to 3.7.
    assert round(resnet_cost(depth, "A").macs / 1e9, 1) == paper


@pytest.mark.parametrize(
    ("depth", "macs", "paper"), [(50, 3_857_973_248, 3.8), (101, 7_570_194_432, 7.6), (152, 11_282_415_616, 11.3)]
)
def test_the_papers_flops_from_50_layers_up_come_from_the_stride_on_the_first_1x1_convolution(depth, macs, paper):
    with torch.device("meta"):
        model = BUILDERS[depth]()
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    counted = layer_table(model, (3, 224, 224)).cost
    assert counted.macs == macs
    assert counted.parameters == resnet_cost(depth).parameters
    # The paper prints 3.8 for 3.858, as if cut off; the other two are rounded.
    assert abs(macs / 1e9 - paper) < 0.06
    # By hand: in each of the three stages, one 1×1 convolution works on a quarter of the pixels.
    saved = sum(3 * conv_macs(4 * c, 2 * c, 1, (s // 2) ** 2) for c, s in [(64, 56), (128, 28), (256, 14)])
    assert saved == 3 * 77_070_336 == resnet_cost(depth).macs - macs


# Closed form against count


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_closed_form_and_count_agree_for_imagenet_networks(depth, shortcut, bias):
    model = imagenet_network(depth, shortcut, bias)
    counted = layer_table(model, (3, 224, 224)).cost
    assert counted == resnet_cost(depth, shortcut, bias=bias)
    assert counted.parameters == count_parameters(model)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("depth", "builder"), [(18, plain18), (34, plain34)])
def test_closed_form_and_count_agree_for_plain_networks(depth, builder, bias):
    with torch.device("meta"):
        model = builder(bias=bias)
    assert layer_table(model, (3, 224, 224)).cost == resnet_cost(depth, "none", bias=bias)


@pytest.mark.parametrize("size", [32, 33, 64, 97, 225])
@pytest.mark.parametrize("depth", [18, 50])
def test_closed_form_and_count_agree_for_other_images_and_classes(depth, size):
    with torch.device("meta"):
        model = BUILDERS[depth](num_classes=10, in_channels=1)
    assert layer_table(model, (1, size, size)).cost == resnet_cost(depth, size=size, num_classes=10, in_channels=1)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("depth", [8, 20, 32, 44, 56, 110])
def test_closed_form_and_count_agree_for_cifar_networks(depth, shortcut):
    with torch.device("meta"):
        model = cifar_resnet(depth, shortcut)
    counted = layer_table(model, (3, 32, 32)).cost
    assert counted == cifar_resnet_cost(depth, shortcut)
    assert counted.parameters == count_parameters(model)


def test_closed_form_and_count_agree_at_1202_layers():
    with torch.device("meta"):
        model = cifar_resnet(1202)
    assert layer_table(model, (3, 32, 32)).cost == cifar_resnet_cost(1202)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_each_further_block_a_stage_costs_the_same_up_to_1202_layers(shortcut):
    one_more, first = cifar_resnet_cost(14, shortcut), cifar_resnet_cost(8, shortcut)
    step = Cost(one_more.parameters - first.parameters, one_more.macs - first.macs)
    assert cifar_resnet_cost(1202, shortcut) == first + 199 * step


@pytest.mark.parametrize("size", [7, 8, 28])
@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_closed_form_and_count_agree_for_small_cifar_networks_on_other_images(shortcut, size):
    model = cifar_resnet(14, shortcut, width=5, in_channels=1, num_classes=7)
    closed = cifar_resnet_cost(14, shortcut, width=5, in_channels=1, num_classes=7, size=size)
    assert layer_table(model, (1, size, size)).cost == closed


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("block", "closed_form"), [(BasicBlock, basic_block_cost), (Bottleneck, bottleneck_cost)])
def test_closed_form_and_count_agree_for_every_kind_of_block(block, closed_form, stride, shortcut, bias):
    counted = layer_table(block(6, 12, stride, shortcut, bias=bias), (6, 9, 9)).cost
    assert counted == closed_form(6, 12, 9, stride, shortcut, bias)


def test_the_shortcut_alone_costs_what_counting_says():
    block = BasicBlock(64, 128, stride=2, bias=True)
    assert layer_table(block.downsample, (64, 9, 9)).cost == shortcut_cost("B", 64, 128, size=5, stride=2, bias=True)


def test_stages_change_the_shape_in_their_first_block_only():
    stages = nn.Sequential(make_layer(Bottleneck, 8, 8, 2), make_layer(Bottleneck, 32, 16, 3, stride=2))
    assert layer_table(stages, (8, 9, 9)).cost == stages_cost(bottleneck_cost, 4, 8, [2, 3], 9)


def test_the_residual_block_of_tutorials_costs_a_basic_block_with_biases_less_a_batchnorm():
    counted = layer_table(nn.Sequential(*resnet_block(64, 128, 1)), (64, 8, 8)).cost
    closed = basic_block_cost(64, 128, 8, stride=2, bias=True)
    assert (counted.parameters + batchnorm_parameters(128), counted.macs) == (closed.parameters, closed.macs)


# Other people's counters


@pytest.mark.parametrize(
    ("depth", "shortcut", "bias"), [*((d, "B", b) for d in DEPTHS for b in (False, True)), (18, "C", True)]
)
def test_torchinfo_counts_the_same_and_each_batchnorm_value_and_bias_besides(depth, shortcut, bias):
    # torchinfo multiplies all of a convolution's parameters, its biases too, by the output pixels, and takes every
    # parameter of any other layer for one multiply-add. Ours leaves those three kinds out, and nothing else differs.
    model = imagenet_network(depth, shortcut, bias)
    table = layer_table(model, (3, 224, 224))
    theirs = torchinfo.summary(model, (1, 3, 224, 224), device="meta", verbose=0)
    assert theirs.total_params == table.cost.parameters

    conv_biases = sum(
        layer.output_shape[0] * layer.output_shape[1] * layer.output_shape[2]
        for layer in table.layers
        if layer.kind == "Conv2d" and bias
    )
    linear_biases = 1000
    batchnorm = parameters_of(table, "BatchNorm2d")
    assert theirs.total_mult_adds == table.cost.macs + batchnorm + linear_biases + conv_biases


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_torchinfo_counts_a_cifar_network_as_we_do_plus_batchnorm_and_the_linear_layers_biases(shortcut):
    model = cifar_resnet(20, shortcut)
    table = layer_table(model, (3, 32, 32))
    theirs = torchinfo.summary(model, (1, 3, 32, 32), device="cpu", verbose=0)
    assert theirs.total_params == table.cost.parameters
    assert theirs.total_mult_adds == table.cost.macs + parameters_of(table, "BatchNorm2d") + 10


@pytest.mark.parametrize("depth", DEPTHS)
def test_pytorchs_flop_counter_counts_exactly_two_for_each_multiply_add(depth):
    model = imagenet_network(depth, "B", True)
    assert counted_by_pytorch(model, (3, 224, 224)) == resnet_cost(depth, bias=True).macs


def test_timms_card_for_resnet50_at_176_pixels_has_the_same_three_figures():
    # https://huggingface.co/timm/resnet50.tv2_in1k: 25.6 M parameters, 2.6 GMACs, 6.9 M activations, where
    # activations are the values that the convolutions and the linear layer put out.
    table = layer_table(imagenet_network(50), (3, 176, 176))
    activations = sum(torch.Size(layer.output_shape).numel() for layer in table.layers if layer.macs)
    assert round(table.cost.parameters / 1e6, 1) == 25.6
    assert round(table.cost.macs / 1e9, 1) == 2.6
    assert round(activations / 1e6, 1) == 6.9


# Single layers


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_a_convolution_costs_what_counting_says(kernel_size, bias):
    layer = nn.Conv2d(5, 6, kernel_size, stride=2, padding=kernel_size // 2, bias=bias)
    counted = layer_table(layer, (5, 9, 9)).cost
    assert counted == Cost(conv_parameters(5, 6, kernel_size, bias), conv_macs(5, 6, kernel_size, 5 * 5))


def test_a_convolution_and_its_batchnorm_cost_what_counting_says():
    layers = nn.Sequential(nn.Conv2d(3, 64, 7, stride=2, padding=3), nn.BatchNorm2d(64))
    assert layer_table(layers, (3, 32, 32)).cost == conv_batchnorm_cost(3, 64, 7, size=16, bias=True)


def test_a_linear_layer_costs_what_counting_says():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert layer_table(model, (1, 8, 8)).cost == Cost(linear_parameters(64, 10), 640)


@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("size", [7, 8, 224])
def test_output_size_is_that_of_a_real_convolution(size, kernel_size, stride, padding):
    real = nn.Conv2d(1, 1, kernel_size, stride, padding, device="meta")(torch.empty(1, 1, size, size, device="meta"))
    assert output_size(size, kernel_size, stride, padding) == real.shape[-1]


@pytest.mark.parametrize(
    ("layer", "input_size"),
    [
        (nn.Conv2d(8, 12, 3, padding=1, groups=4), (8, 5, 7)),
        (nn.Conv2d(8, 8, 3, dilation=2, groups=8), (8, 9, 9)),
        (nn.Conv2d(3, 4, (1, 5)), (3, 5, 20)),
        (nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 3)), (3, 4, 5)),
        (nn.Linear(7, 9), (3, 5, 7)),
    ],
    ids=["groups", "depthwise and dilated", "oblong kernel", "one dimension", "linear layer at 15 positions"],
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
        self.relu = nn.ReLU()
        self.never = nn.Conv2d(4, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.first(x))
        return self.relu(self.second(self.second(x)))


def test_rows_stand_in_order_of_execution_and_a_layer_that_runs_twice_has_two():
    rows = layer_table(OutOfOrder(), (3, 5, 7)).layers
    assert [layer.name for layer in rows] == ["first", "relu", "second", "second", "relu"]
    assert [layer.kind for layer in rows] == ["Conv2d", "ReLU", "Conv2d", "Conv2d", "ReLU"]
    assert {layer.output_shape for layer in rows} == {(4, 5, 7)}


def test_a_layer_that_runs_twice_has_its_parameters_once_and_its_multiply_adds_twice():
    first, _, second, again, _ = layer_table(OutOfOrder(), (3, 5, 7)).layers
    assert (first.parameters, second.parameters, again.parameters) == (3 * 4 * 9 + 4, 4 * 4 * 9 + 4, 0)
    assert (first.macs, second.macs, again.macs) == (3 * 4 * 9 * 35, 4 * 4 * 9 * 35, 4 * 4 * 9 * 35)


def test_weights_that_two_layers_share_count_once():
    model = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 4, 1, bias=False))
    model[1].weight = model[0].weight
    assert layer_table(model, (4, 3, 3)).cost == Cost(parameters=16, macs=2 * 16 * 9)


class Scaled(nn.Module):
    """A module with a child and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) * self.scale.sum()


def test_parameters_beside_child_modules_have_a_row_of_their_own():
    model = nn.Sequential(Scaled())
    table = layer_table(model, (3, 4, 4))
    assert [(layer.name, layer.kind, layer.parameters) for layer in table.layers] == [
        ("0.conv", "Conv2d", 12),
        ("0", "Scaled", 5),
    ]
    assert table.cost.parameters == count_parameters(model)


def test_a_model_that_is_one_layer_has_one_row_without_a_name():
    (row,) = layer_table(nn.Conv2d(3, 4, 1), (3, 2, 2)).layers
    assert (row.name, row.kind) == ("", "Conv2d")


def test_a_layer_whose_output_is_no_tensor_has_an_empty_shape():
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    (row,) = layer_table(Pair(), (1, 2, 2)).layers
    assert (row.output_shape, row.parameters, row.macs) == ((), 0, 0)


@pytest.mark.parametrize("depth", [18, 50])
def test_resnets_shapes_are_those_of_the_papers_table_1(depth):
    shapes = {row.name: row.output_shape for row in layer_table(imagenet_network(depth), (3, 224, 224)).layers}
    expansion = 1 if depth < 50 else 4
    assert shapes["conv1"] == (64, 112, 112)
    assert shapes["maxpool"] == (64, 56, 56)
    for stage, (width, size) in enumerate([(64, 56), (128, 28), (256, 14), (512, 7)], start=1):
        assert shapes[f"layer{stage}.0.relu"] == (expansion * width, size, size)
    assert shapes["fc"] == (1000,)


def test_height_and_width_may_differ():
    shapes = {row.name: row.output_shape for row in layer_table(imagenet_network(18), (3, 64, 128)).layers}
    assert (shapes["conv1"], shapes["layer4.1.conv2"]) == ((64, 32, 64), (512, 2, 4))


def test_a_network_with_values_is_counted_as_one_without():
    real, meta = cifar_resnet(20, "B"), cifar_resnet(20, "B").to("meta")
    assert layer_table(real, (3, 32, 32)) == layer_table(meta, (3, 32, 32))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_image_has_the_models_type(dtype):
    assert layer_table(cifar_resnet(8).to(dtype), (3, 8, 8)).cost == cifar_resnet_cost(8, size=8)


def test_the_text_is_aligned_and_ends_with_the_sums():
    table = layer_table(cifar_resnet(8), (3, 32, 32))
    head, *rows, sums = str(table).splitlines()
    assert head.split() == ["name", "kind", "output", "parameters", "multiply-adds"]
    assert rows[0].split() == ["conv1", "Conv2d", "16×32×32", "432", "442,368"]
    assert sums.split() == ["sum", f"{table.cost.parameters:,}", f"{table.cost.macs:,}"]
    assert len(rows) == len(table.layers)
    assert len({len(line) for line in (head, *rows, sums)}) == 1


# What counting leaves behind: nothing


class Fragile(nn.Module):
    """Refuses after its first layer has run."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layers(x)
        torch.rand(3)
        if x.shape[-1] > 4:
            raise KeyError("a mistake that is not about shapes")
        return x.view(-1, 7)


@pytest.mark.parametrize(("size", "error"), [(4, ValueError), (5, KeyError)], ids=["refusal", "any other error"])
def test_an_error_leaves_modes_and_hooks_as_they_were(size, error):
    model = Fragile()
    model.layers[1].eval()  # frozen, inside a model that trains
    with pytest.raises(error):
        layer_table(model, (3, size, size))
    assert [module.training for module in model.modules()] == [True, True, True, False, True]
    assert not any(module._forward_hooks for module in model.modules())


def test_a_pass_leaves_modes_and_hooks_as_they_were():
    model = cifar_resnet(8, "B")
    model.layer1.eval()
    model.conv1.register_forward_hook(lambda module, inputs, output: None)
    before = [(module.training, len(module._forward_hooks)) for module in model.modules()]
    layer_table(model, (3, 8, 8))
    assert [(module.training, len(module._forward_hooks)) for module in model.modules()] == before


def test_a_pass_leaves_weights_running_statistics_and_gradients_as_they_were():
    model = cifar_resnet(8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layer_table(model, (3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert torch.is_grad_enabled()


def test_the_random_state_is_untouched_even_by_a_model_that_draws():
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand_like(x)

    before = torch.get_rng_state()
    layer_table(Noisy(), (1, 2, 2))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_model_runs_in_evaluation_mode_without_gradients():
    seen = []

    class Watching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((self.training, torch.is_grad_enabled(), tuple(x.shape), x.abs().sum().item()))
            return x

    layer_table(Watching(), (3, 4, 5))
    assert seen == [(False, False, (1, 3, 4, 5), 0.0)]


# Refusals


@pytest.mark.parametrize(
    ("input_size", "sentence"),
    [
        ((3, 224), r"^input_size must be \(channels, height, width\), got \(3, 224\)$"),
        ((1, 3, 224, 224), r"^input_size must be \(channels, height, width\), got \(1, 3, 224, 224\)$"),
        (224, r"^input_size must be \(channels, height, width\), got 224$"),
        ("abc", r"^input_size must be \(channels, height, width\), got 'abc'$"),
        ((3, 0, 32), r"^height must be a whole number from 1 up, got 0$"),
        ((3, 32, 32.0), r"^width must be a whole number from 1 up, got 32.0$"),
        ((True, 32, 32), r"^channels must be a whole number from 1 up, got True$"),
        ((1, 32, 32), r"^the model can't take input_size=\(1, 32, 32\): [^\n]* 3 channels, but got 1 [^\n]*$"),
    ],
)
def test_a_wrong_input_size_is_refused_in_one_sentence(input_size, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        layer_table(cifar_resnet(8), input_size)


def test_what_a_foreign_model_cant_take_is_refused_with_its_own_reason():
    with pytest.raises(ValueError, match=r"^the model can't take input_size=\(3, 2, 2\): .*[Kk]ernel size") as caught:
        layer_table(nn.Conv2d(3, 3, 5), (3, 2, 2))
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("model", [resnet18, 3, None])
def test_what_is_no_module_is_refused(model):
    with pytest.raises(TypeError, match=r"^model must be a torch\.nn\.Module, got "):
        layer_table(model, (3, 32, 32))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: conv_parameters(0, 64, 3), "in_channels must be"),
        (lambda: conv_parameters(3, 64.0, 3), "out_channels must be"),
        (lambda: conv_parameters(3, 64, (3, 3)), "kernel_size must be"),
        (lambda: conv_macs(3, 64, 3, 0), "output_pixels must be"),
        (lambda: batchnorm_parameters(0), "channels must be"),
        (lambda: linear_parameters(0, 10), "in_features must be"),
        (lambda: linear_parameters(10, -1), "out_features must be"),
        (lambda: output_size(0, 3), "size must be"),
        (lambda: output_size(8, 3, stride=0), "stride must be"),
        (lambda: output_size(8, 3, padding=-1), "padding must be a whole number from 0 up"),
        (lambda: output_size(4, 7, padding=1), "kernel_size must be at most 6, the padded size in pixels, got 7"),
        (lambda: shortcut_cost("D", 64, 64, 8, 1, False), "shortcut must be one of 'none', 'A', 'B', 'C', got 'D'"),
        (lambda: basic_block_cost(64, 64, 8, shortcut="identity"), "shortcut must be one of"),
        (lambda: bottleneck_cost(64, 0, 8), "out_channels must be"),
        (lambda: resnet_cost(20), "depth must be one of 18, 34, 50, 101, 152, got 20"),
        (lambda: resnet_cost("50"), "depth must be one of 18, 34, 50, 101, 152, got '50'"),
        (lambda: resnet_cost(50, size=0), "size must be"),
        (lambda: resnet_cost(50, num_classes=0), "out_features must be"),
        (lambda: cifar_resnet_cost(55), "depth must be 6n"),
        (lambda: cifar_resnet_cost(20, "D"), "shortcut must be one of"),
    ],
)
def test_closed_forms_refuse_what_no_layer_has(call, sentence):
    with pytest.raises((TypeError, ValueError), match=f"^{sentence}[^\n]*$"):
        call()


def test_costs_compare_by_value_and_cant_be_changed():
    assert Cost(1, 2) + Cost() == Cost(1, 2) != Cost(2, 1)
    with pytest.raises(AttributeError):
        Cost(1, 2).macs = 3


def test_a_residual_block_is_counted_layer_by_layer():
    rows = layer_table(Residual(3, 6, use_1x1conv=True, strides=2), (3, 6, 6)).layers
    assert [(row.name, row.parameters, row.output_shape) for row in rows] == [
        ("conv1", 168, (6, 3, 3)),
        ("bn1", 12, (6, 3, 3)),
        ("conv2", 330, (6, 3, 3)),
        ("bn2", 12, (6, 3, 3)),
        ("conv3", 24, (6, 3, 3)),
    ]
