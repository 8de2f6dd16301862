"""The checks of the whiteboard tasks: folding, and what is counted by hand."""

import pytest
import torch
from learners_code import assert_told, learn, texts
from torch import nn

from resnet_course.checks import check_fold_batchnorm, check_output_sizes, check_parameter_count
from resnet_lib import networks
from resnet_lib.arithmetic import layer_table

pytestmark = pytest.mark.usefixtures("one_thread")


# Folding. A planted mistake is an edit of this solution.

FOLD = """
def fold(conv, bn):
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    bias = 0 if conv.bias is None else conv.bias
    folded = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, stride=conv.stride, padding=conv.padding,
        dilation=conv.dilation, groups=conv.groups,
    )
    folded.weight.data = conv.weight * scale[:, None, None, None]
    folded.bias.data = (bias - bn.running_mean) * scale + bn.bias
    return folded
"""


def make_fold(*edits):
    return learn(FOLD, *edits)


def fold_in_place(conv, bn):
    folded = make_fold()(conv, bn)
    conv.weight.data, conv.bias = folded.weight.data, folded.bias


def fold_to_a_module_of_ones_own(conv, bn):
    class Folded(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = make_fold()(conv, bn)

        def forward(self, x):
            return self.inner(x)

    return Folded()


RIGHT_FOLDS = {
    "a new convolution": make_fold(),
    "weight and bias": make_fold(("return folded", "return folded.weight, folded.bias")),
    "a list of both": make_fold(("return folded", "return [folded.weight.data, folded.bias.data]")),
    "in a Sequential": make_fold(("return folded", "return nn.Sequential(folded)")),
    "PyTorch's own": torch.nn.utils.fusion.fuse_conv_bn_eval,
    "a module of one's own": fold_to_a_module_of_ones_own,
    "in place": fold_in_place,
    "in place, and returned": lambda conv, bn: fold_in_place(conv, bn) or conv,
}


@pytest.mark.parametrize("style", RIGHT_FOLDS)
def test_a_right_fold_of_any_style_is_right(style):
    report = check_fold_batchnorm(RIGHT_FOLDS[style])
    assert report.ok, report
    assert ("convolution" in texts(report, "note")) == ("in place" in style)


RETURNS = "returns a convolution"
WEIGHT, OUTPUT = "conv.weight * scale[:, None, None, None]", "it differs from that of both layers"
FOLD_MISTAKES = {
    "eps forgotten": ([("(bn.running_var + bn.eps)", "bn.running_var")],
     {"weight": "bn.eps is missing", "output": OUTPUT}),
    "eps written down": ([("bn.eps", "1e-5")], {"weight": "bn.eps is missing", "output": OUTPUT}),
    "eps outside the root": ([("(bn.running_var + bn.eps).sqrt()", "(bn.running_var.sqrt() + bn.eps)")],
     {"weight": "eps stands under the root", "output": OUTPUT}),
    "no root": ([(".sqrt()", "")], {"weight": "the root is missing", "output": OUTPUT}),
    "no gamma": ([("bn.weight /", "1 /")], {"weight": "γ, is missing", "output": OUTPUT}),
    "no variance": ([(" / (bn.running_var + bn.eps).sqrt()", "")], {"weight": "variance", "output": OUTPUT}),
    "weight left": ([(WEIGHT, "conv.weight")], {"weight": "still the convolution's", "output": OUTPUT}),
    "weight doubled": ([(WEIGHT, f"2 * {WEIGHT}")], {"weight": "it is not the convolution's times", "output": OUTPUT}),
    "channels in scaled": ([(WEIGHT, "conv.weight * scale[: conv.weight.shape[1]][None, :, None, None]")],
     {"weight": "scaled along the channels in", "output": OUTPUT}),
    "bias of the convolution lost": ([("(bias - bn", "(0 - bn")], {"bias": "own bias is missing", "output": OUTPUT}),
    "bias of the convolution unscaled": ([("(bias - bn.running_mean) * scale", "bias - bn.running_mean * scale")],
     {"bias": "goes through BatchNorm as well", "output": OUTPUT}),
    "no mean": ([("(bias - bn.running_mean)", "bias")], {"bias": "the running mean is missing", "output": OUTPUT}),
    "mean unscaled": ([("(bias - bn.running_mean) * scale", "bias * scale - bn.running_mean")],
     {"bias": "must be scaled", "output": OUTPUT}),
    "mean added": ([("bias - bn", "bias + bn")], {"bias": "subtracted, not added", "output": OUTPUT}),
    "no beta": ([(" + bn.bias", "")], {"bias": "β, is missing", "output": OUTPUT}),
    "another bias": ([("+ bn.bias", "+ 2 * bn.bias")], {"bias": "it is not (b − mean)", "output": OUTPUT}),
    "no bias": ([("return folded", "return folded.weight, None")], {RETURNS: "there is no bias"}),
    "a scalar bias": ([("return folded", "return folded.weight, folded.bias[0]")], {RETURNS: "the bias has shape ()"}),
    "weight turned": ([("return folded", "return folded.weight.flatten(1), folded.bias")],
     {RETURNS: "the weight has shape (6, 54) instead of (6, 6, 3, 3)"}),
    "stride lost": ([("stride=conv.stride, ", "")], {"output": "take stride, padding and groups over"}),
    "padding lost": ([("padding=conv.padding,", "")], {"output": "take stride, padding and groups over"}),
    "groups lost": ([("groups=conv.groups,", "")], {"output": "what it returns fails on 6 channels: RuntimeError"}),
    "nothing returned": ([("return folded", "pass")], {RETURNS: "it returns nothing"}),
    "nothing put out": ([("return folded", "folded.forward = id; return folded")], {"output": "of type int"}),
    "BatchNorm kept": ([("return folded", "return nn.Sequential(folded, bn)")],
     {RETURNS: "still holds a BatchNorm"}),
    "a number returned": ([("return folded", "return 3")], {RETURNS: "an object of type int"}),
    "no tensors": ([("return folded", "return 3, 4")], {RETURNS: "must both be tensors"}),
    "nothing twice": ([("return folded", "return None, None")], {RETURNS: "must both be tensors"}),
    "an error": ([("return folded", "return folded.wieght")], {"runs": "it fails: AttributeError"}),
    "BatchNorm changed": ([("return folded", "bn.running_mean.zero_(); return folded")],
     {"BatchNorm left as it was": "have changed"}),
    "BatchNorm trained": ([("return folded", "bn.train(); return folded")],
     {"BatchNorm left as it was": "training mode"}),
}  # fmt: skip


@pytest.mark.parametrize("mistake", FOLD_MISTAKES)
def test_a_mistake_in_folding_is_told(mistake):
    edits, expected = FOLD_MISTAKES[mistake]
    assert_told(check_fold_batchnorm(make_fold(*edits)), expected)


# Counted by hand. What is right is counted on the network itself.


def parts_of(depth):
    with torch.device("meta"):
        network = getattr(networks, f"resnet{depth}")()
    parts = {"stem": [network.conv1, network.bn1], "head": [network.fc]}
    parts |= {f"stage {i}": [getattr(network, f"layer{i}")] for i in range(1, 5)}
    return {name: sum(p.numel() for m in modules for p in m.parameters()) for name, modules in parts.items()}


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_the_network_s_own_counts_are_right(depth):
    parts = parts_of(depth)
    assert check_parameter_count(parts, depth).ok
    assert check_parameter_count({**parts, "total": sum(parts.values())}, depth).ok
    assert check_parameter_count(sum(parts.values()), depth).ok


@pytest.mark.parametrize(
    ("name", "change", "phrase"),
    [
        ("stem", -128, "128 too few: the BatchNorms are missing"),
        ("stem", 64, "64 too many: biases of the convolutions are counted"),
        ("stem", 128, "running means and variances are counted"),
        ("stage 1", -64 * 256 - 512, "the projection's 1×1 convolution is missing, and the BatchNorm of the"),
        ("stage 1", -43_776, "and in stage 1 the later blocks are counted with the first one's input channels"),
        ("stage 2", -1024, "the BatchNorm of the projection is missing"),
        ("stage 3", -(2 * 1024 * 256 + 9 * 256**2 + 2 * 1536), "one block of stage 3 is missing"),
        ("stage 4", 1, "1 too many"),
        ("head", -1000, "the head's biases are missing"),
        ("head", -1536 * 1000, "512 times exp"),
        ("total", 26_560, "biases of the convolutions are counted"),
        ("total", -53_120, "the BatchNorms are missing"),
        ("total", -70_400, "one block of stage 1 is missing"),
        ("total", -2_049_000, "the head is missing"),
        ("total", -2_028_510, "10 classes and not 1000"),
        ("total", 79_680, "running means and variances are counted, and they are no parameters, and biases"),
        ("total", 26_560 - 7_680, "biases of the convolutions are counted, and they have none, and the BatchNorm of"),
        ("total", 26_560 - 2_028_510, "10 classes and not 1000, and biases of the convolutions"),
        ("total", 21_797_672 - 25_557_032, "it is the number of ResNet-34, and ResNet-50 was asked"),
        ("total", 1, "25,557,033 is 1 too many"),
    ],
)  # fmt: skip
def test_a_miscount_is_told_with_the_likely_mistake(name, change, phrase):
    parts = parts_of(50)
    parts["total"] = sum(parts.values())
    parts[name] += change
    assert_told(check_parameter_count(parts, 50), {name: phrase})


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("size", [64, 200])
def test_the_sizes_that_the_network_has_are_right(depth, size):
    with torch.device("meta"):
        table = layer_table(getattr(networks, f"resnet{depth}")(), (3, size, size))
    shapes = {layer.name: layer.output_shape for layer in table.layers}
    ends = {f"stage {i}": [s for name, s in shapes.items() if name.startswith(f"layer{i}")][-1] for i in range(1, 5)}
    sizes = {"first convolution": shapes["conv1"], "max pooling": shapes["maxpool"], **ends}
    assert check_output_sizes({name: shape[:2] for name, shape in sizes.items()}, depth, size).ok


SIZES = {
    "first convolution": (64, 100), "max pooling": (64, 50), "stage 1": (256, 50),
    "stage 2": (512, 25), "stage 3": (1024, 13), "stage 4": (2048, 7),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "answer", "phrase"),
    [
        ("stage 1", (64, 50), "four times its channels"),
        ("stage 1", (128, 50), "128 channels, not right"),
        ("stage 1", (256, 25), "the first stage keeps the size"),
        ("max pooling", (64, 100), "each pooling and each stride of 2 halves"),
        ("stage 3", (1024, 12), "rounded up"),
        ("stage 3", (1024, 3), "3 pixels a side, not right"),
        ("stage 3", (1024, 13.0), "it takes (channels, pixels a side), got (1024, 13.0)"),
        ("stage 3", "1024", "got '1024'"),
    ],
)
def test_a_wrong_size_is_told_with_the_likely_mistake(name, answer, phrase):
    assert check_output_sizes(SIZES, 50, 200).ok
    assert_told(check_output_sizes({**SIZES, name: answer}, 50, 200), {name: phrase})


@pytest.mark.parametrize("unfinished", [{}, {"stage 1": None}, {"stage 1": ...}])
@pytest.mark.parametrize("check", [check_parameter_count, check_output_sizes])
def test_what_is_not_yet_filled_in_stays_open(check, unfinished):
    report = check(unfinished)
    assert not report.ok
    assert [line.verdict for line in report.lines] == ["open"] * 6


@pytest.mark.parametrize(
    ("report", "phrase"),
    [
        (lambda: check_fold_batchnorm(nn.ReLU()), "it takes a function, got an object of type ReLU"),
        (lambda: check_fold_batchnorm(3), "it takes a function, got an object of type int"),
        (lambda: check_parameter_count([1]),
         "it takes a dict such as {'stem': …, 'stage 1': …}, got an object of type list"),
        (lambda: check_parameter_count({"stage 5": 3}), "there is no 'stage 5'"),
        (lambda: check_parameter_count(3, 20), "depth must be one of"),
        (lambda: check_parameter_count({}, [50]), "got [50]"),
        (lambda: check_output_sizes(3), "it takes a dict such as {'first convolution': …, 'max pooling': …}"),
        (lambda: check_output_sizes({}, 50, "big"), "size must be a whole number from 1 up, got 'big'"),
        (lambda: check_output_sizes({}, 50, 0), "size must be a whole number from 1 up, got 0"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_told_in_a_sentence(report, phrase):
    assert_told(report(), {"argument": phrase})


@pytest.mark.parametrize("value", ["9,536", 2.5, True, [1]])
def test_a_count_that_is_no_whole_number_is_told(value):
    assert texts(check_parameter_count({"stem": value}), "wrong")["stem"].startswith("it takes a whole number, got")
