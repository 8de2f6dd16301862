"""The checks name a learner's mistakes, alone and in pairs, and say nothing false of what is right, in any style."""

import os
import random
import sys
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from learners_code import (
    ADD,
    BASIC,
    BOTTLENECK,
    CONVOLUTIONS,
    MISTAKES,
    SHORTCUT,
    STEPS,
    STYLES,
    assert_right,
    assert_told,
    learn,
    plant,
    texts,
)
from torch import nn

from resnet_course import checks
from resnet_course.checks import check_basic_block, check_bottleneck, check_residual
from resnet_lib import blocks

pytestmark = pytest.mark.usefixtures("one_thread")
OTHERS_TAKE_TWO = ("check_resnet", "check_training", "Report")
EVERY_CHECK = [getattr(checks, name) for name in checks.__all__ if name not in OTHERS_TAKE_TWO]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_any_style(mistake, style):
    changes, told = MISTAKES[mistake]
    assert_told(check_basic_block(plant(style, **changes)), told)


@pytest.mark.parametrize("style", STYLES)
def test_the_description_without_a_mistake_is_right(style):
    assert_right(check_basic_block(plant(style)))


PAIRS = [
    ("ReLU before the addition", "projection without BatchNorm"), ("no ReLU between", "projection without BatchNorm"),
    ("no ReLU between", "no last ReLU"), ("no first BatchNorm", "added twice"), ("GELU between", "subtracted"),
    ("no second BatchNorm", "ReLU on the shortcut"), ("BatchNorm after ReLU", "averaged"),
    ("GroupNorm", "a pooled shortcut"), ("GroupNorm", "no last ReLU"), ("groups", "nothing is added"),
    ("a kernel of 5", "no last ReLU"), ("a kernel of 5", "ReLU on the projection"), ("leaky ReLU", "scaled"),
    ("stride on the second", "projection without BatchNorm"), ("stride on the second", "x += x"),
    ("stride on both", "projection without BatchNorm"), ("no stride on the shortcut", "no ReLU between"),
    ("dropout", "no last ReLU"), ("running statistics", "added twice"),
    ("an unused layer", "ReLU before the addition"), ("a cut branch", "leaky ReLU"),
    ("a hidden layer", "subtracted"), ("one BatchNorm twice", "no last ReLU"), ("dilation", "multiplied"),
    ("projection never", "no ReLU between"), ("the input changed", "no first BatchNorm"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "style"), [(*pair, STYLES[i % 3]) for i, pair in enumerate(PAIRS)])
def test_two_mistakes_are_both_told(first, second, style):
    changes = MISTAKES[first][0] | MISTAKES[second][0]
    assert not MISTAKES[first][0].keys() & MISTAKES[second][0].keys(), "the two change the same part"
    report = check_basic_block(plant(style, **changes))
    assert_told(report, MISTAKES[first][1], only=False)
    assert_told(report, MISTAKES[second][1], only=False)
    assert set(texts(report, "wrong")) == {*MISTAKES[first][1], *MISTAKES[second][1]}, report


# What is right, in the styles of well-known code, told in our own words.


FLAG = """
class Block(nn.Module):
    expansion = 1

    def __init__(self, in_channels, out_channels, downsample=False, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(out_channels), nn.BatchNorm2d(out_channels), None
        if downsample:
            self.conv3 = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.bn3 = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu_()))
        y += x if self.bn3 is None else self.bn3(self.conv3(x))
        return y.relu_()
"""
OPTION_A = """
class Block(nn.Module):
    expansion = 1

    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(in_planes, planes, 3, stride, 1, bias=False),
                                    nn.Conv2d(planes, planes, 3, 1, 1, bias=False)])
        self.bns = nn.ModuleList(nn.BatchNorm2d(planes) for _ in range(2))
        self.stride, self.more, self.planes = stride, planes - in_planes, planes

    def shortcut(self, x):
        if self.more == 0 and self.stride == 1:
            return x
        FORM

    def forward(self, x):
        out = torch.relu(self.bns[0](self.convs[0](x)))
        return torch.relu(self.bns[1](self.convs[1](out)) + self.shortcut(x))
"""
ALWAYS = "return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.planes // 4, self.planes // 4))"
BEHIND = "return F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, self.more))"
CONCATENATED = """x = F.avg_pool2d(x, 1, self.stride)
        return torch.cat([x, x.new_zeros(len(x), self.more, *x.shape[2:])], 1)"""
MULTIPLIED = """x = nn.AvgPool2d(1, self.stride)(x)
        return torch.cat((x, x.mul(0)), 1) if self.more else x"""
RESIDUAL = """
class Residual(nn.Module):
    def __init__(self, input_channels, num_channels, use_1x1conv=False, strides=1):
        super().__init__()
        self.conv1 = nn.Conv2d(input_channels, num_channels, kernel_size=3, padding=1, stride=strides)
        self.conv2 = nn.Conv2d(num_channels, num_channels, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(input_channels, num_channels, kernel_size=1, stride=strides) if use_1x1conv else None
        self.bn1 = nn.BatchNorm2d(num_channels)
        self.bn2 = nn.BatchNorm2d(num_channels)

    def forward(self, X):
        Y = F.relu(self.bn1(self.conv1(X)))
        Y = self.bn2(self.conv2(Y))
        if self.conv3 is not None:
            X = self.conv3(X)
        return F.relu(Y + X)
"""
LAZY = """
class Residual(nn.Module):
    def __init__(self, num_channels, use_1x1conv=False, strides=1):
        super().__init__()
        self.conv1 = nn.LazyConv2d(num_channels, kernel_size=3, padding=1, stride=strides)
        self.conv2 = nn.LazyConv2d(num_channels, kernel_size=3, padding=1)
        self.conv3 = nn.LazyConv2d(num_channels, kernel_size=1, stride=strides) if use_1x1conv else None
        self.bn1, self.bn2 = nn.LazyBatchNorm2d(), nn.LazyBatchNorm2d()

    def forward(self, X):
        Y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(X)))))
        return F.relu(Y + (X if self.conv3 is None else self.conv3(X)))
"""


class Inheriting(torchvision.models.resnet.BasicBlock):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class PassingOn(blocks.BasicBlock):
    def __init__(self, *args):
        super().__init__(*args)


def translate(cls):
    """A lazy block under the check's arguments."""
    return lambda input_channels, num_channels, use_1x1conv, strides: cls(num_channels, use_1x1conv, strides)


FACTOR = ("self.relu = nn", "self.alpha = nn.Parameter(torch.ones(1)); self.relu = nn")
LAST, BN1 = "return self.relu(out + identity)", "self.relu(self.bn1(self.conv1(x)))"
RELUS = ["torch.clamp(V, min=0)", "V.clamp_min(0)", "V * (V > 0)", "torch.where(V > 0, V, 0 * V)",
         "F.threshold(V, 0, 0)",
         "torch.maximum(V, torch.zeros_like(V))", "F.leaky_relu(V, 0.0)", "(V + V.abs()) / 2"]  # fmt: skip
PADDED = [
    ("channels, channels, 3, padding=1", "channels, channels, 3"),
    ("self.conv2(out)", "self.conv2(F.pad(out, (1, 1, 1, 1)))"),
]
RIGHT_BASIC = {
    "the library's": blocks.BasicBlock,
    "the library's, option A": lambda i, c, s: blocks.BasicBlock(i, c, s, "A"),
    "the library's, option C": lambda i, c, s: blocks.BasicBlock(i, c, s, "C"),
    "the library's, with biases": lambda i, c, s: blocks.BasicBlock(i, c, s, bias=True),
    "torchvision's": torchvision.models.resnet.BasicBlock,
    "inheriting from torchvision's": Inheriting,
    "inheriting from the library's": PassingOn,
    "plain": learn(BASIC),
    "a flag for the projection": learn(FLAG),
    "option A, zeros behind": learn(OPTION_A, ("FORM", BEHIND)),
    "option A, always halving": learn(OPTION_A, ("FORM", ALWAYS)),
    "option A, zeros concatenated": learn(OPTION_A, ("FORM", CONCATENATED)),
    "option A, the image times 0": learn(OPTION_A, ("FORM", MULTIPLIED)),
    "no expansion": learn(BASIC, ("expansion = 1", "pass")),
    "branch at zero": learn(BASIC, ("self.relu = nn", "nn.init.zeros_(self.bn2.weight); self.relu = nn")),
    "padded by hand": learn(BASIC, *PADDED),
    "padded by a layer": learn(BASIC,
     ("self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)",
     "self.conv2 = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(channels, channels, 3, bias=False))")),
    "padding same": learn(BASIC, ("channels, channels, 3, padding=1", "channels, channels, 3, padding='same'")),
    "added in place": learn(BASIC, (LAST, "out += identity; return F.relu(out, inplace=True)")),
    "added by torch.add": learn(BASIC, ("out + identity", "torch.add(identity, out)")),
    "added by sum": learn(BASIC, ("out + identity", "sum([out, identity])")),
    "added by stack": learn(BASIC, ("out + identity", "torch.stack([out, identity]).sum(0)")),
    "ReLU image by image": learn(BASIC, (BN1, "torch.stack([image.relu() for image in self.bn1(self.conv1(x))])")),
    "ReLU flattened": learn(BASIC, (BN1, "(lambda v: v.flatten(1).relu().view_as(v))(self.bn1(self.conv1(x)))")),
    "added flattened": learn(BASIC, (LAST, "V = out.flatten(1) + identity.flatten(1); return F.relu(V).view_as(out)")),
    "subtracted twice": learn(BASIC, ("out + identity", "out - (-identity)")),
    "shortcut first": learn(BASIC, ("        identity = self.shortcut(x)\n", ""),
     ("        out = self.relu(", "        identity = self.shortcut(x)\n        out = self.relu(")),
    "dropout of nothing": learn(BASIC, (BN1, f"nn.Dropout(0.0)({BN1})")),
    "channels last": learn(BASIC, ("self.conv1(x)", "self.conv1(x.contiguous(memory_format=torch.channels_last))")),
    "printing": learn(BASIC, ("identity = ", "print(x.shape); import warnings; warnings.warn('!'); identity = ")),
    "cumulative statistics": learn(BASIC, ("2d(channels)\n", "2d(channels, momentum=None)\n")),
    "in double precision": learn(BASIC, (LAST, LAST + ".float()"),
     ("    def forward(self, x):\n", "        self.double()\n\n    def forward(self, x):\n        x = x.double()\n")),
    "another eps": learn(BASIC, ("2d(channels)\n", "2d(channels, eps=1e-3)\n")),
    **{f"ReLU as {relu}": learn(BASIC, (LAST, "V = out + identity; return " + relu)) for relu in RELUS},
}  # fmt: skip
RIGHT_BOTTLENECK = {
    "the library's": blocks.Bottleneck,
    "the library's, option A": lambda i, c, s: blocks.Bottleneck(i, c, s, "A"),
    "torchvision's": torchvision.models.resnet.Bottleneck,
    "plain": learn(BOTTLENECK),
    "the paper's stride": learn(BOTTLENECK,
     ("nn.Conv2d(in_channels, channels, 1,", "nn.Conv2d(in_channels, channels, 1, stride,"), ("3, stride=stride", "3")),
    "downsample third": learn(BOTTLENECK, ("channels, stride=1)", "channels, identity_downsample=None, stride=1)"),
     ("identity = self.shortcut(x)", "identity = x if self.down is None else self.down(x)"),
     ("        self.shortcut = nn.Sequential()\n", "        self.down = identity_downsample\n        return\n")),
}  # fmt: skip
PROJECTED = """        if use_1x1conv:
            projection = nn.Conv2d(input_channels, num_channels, 1, strides)
            self.conv3 = nn.Sequential(projection, nn.BatchNorm2d(num_channels))
        self.bn1 ="""
RIGHT_RESIDUAL = {
    "the library's": blocks.Residual,
    "plain": learn(RESIDUAL),
    "without biases": learn(RESIDUAL, ("kernel_size=3, padding=1)", "kernel_size=3, padding=1, bias=False)")),
    "lazy": translate(learn(LAZY)),
    "BatchNorm on the projection": learn(RESIDUAL, ("if use_1x1conv", "if False"), ("        self.bn1 =", PROJECTED)),
}  # fmt: skip


RIGHT = {check_basic_block: RIGHT_BASIC, check_bottleneck: RIGHT_BOTTLENECK, check_residual: RIGHT_RESIDUAL}


@pytest.mark.parametrize(("check", "style"), [(check, style) for check, styles in RIGHT.items() for style in styles])
def test_a_right_block_passes(check, style):
    assert_right(check(RIGHT[check][style]))


# What is neither right nor a known mistake is told as what it is.


class OwnNorm(nn.Module):
    """BatchNorm, written out."""

    def __init__(self, channels):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.rand(1, channels, 1, 1)), nn.Parameter(torch.rand(1, channels, 1, 1))

    def forward(self, x):
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
        return self.gamma * (x - mean) / (var + 1e-5).sqrt() + self.beta


def block_with(norm=nn.BatchNorm2d, conv=nn.Conv2d, cls=torchvision.models.resnet.BasicBlock):
    """torchvision's block with other norms and convolutions."""

    class Block(cls):
        def __init__(self, in_channels, channels, stride=1):
            projection = nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride, bias=False), norm(channels))
            super().__init__(in_channels, channels, stride, norm_layer=norm)
            self.downsample = projection if stride != 1 or in_channels != channels else None
            self.conv2 = conv(channels, channels, 3, padding=1, bias=False)

    return Block


class Standardised(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), None, self.stride, self.padding)


def test_a_norm_that_is_written_out_stays_open():
    report = check_basic_block(block_with(OwnNorm))
    assert_told(report, {"evaluation mode": "depends on the others of its batch"})  # it has no running statistics
    assert "no nn.BatchNorm2d" in texts(report, "open")["steps"]
    assert "addition" in texts(report, "right")


def test_a_batchnorm_without_weights_is_right():
    assert check_basic_block(block_with(lambda channels: nn.BatchNorm2d(channels, affine=False))).ok


BY_IMAGE = "torch.cat([self.relu(a + b) for a, b in zip(out.split(1), identity.split(1))])"
TURNED = "self.relu(out.movedim(1, 3) + identity.movedim(1, 3)).movedim(3, 1)"
PLACES = "::self.conv3.stride[0]"
EINSUM = f'torch.einsum("nchw,oc->nohw", X[:, :, {PLACES}, {PLACES}], self.conv3.weight[:, :, 0, 0])'
OPEN = {
    "a frozen norm": (block_with(torchvision.ops.FrozenBatchNorm2d),
     {STEPS: "no nn.BatchNorm2d", SHORTCUT: "no nn.BatchNorm2d follows"}),
    "a linear layer as projection": (plant(shortcut="average/ fc"), {SHORTCUT: "can do what a 1×1"}),
    "image by image": (learn(BASIC, (LAST, f"return {BY_IMAGE}")), {STEPS: "can't be followed"}),
    "turned axes": (learn(BASIC, (LAST, f"return {TURNED}")), {STEPS: "movedim turns the axes"}),
    "scripted layers": (block_with(lambda channels: torch.jit.script(nn.BatchNorm2d(channels))),
     {STEPS: "scripted code"}),
    "standardised weights": (block_with(conv=Standardised), {CONVOLUTIONS: "computes its weights"}),
    "a weight norm": (
     block_with(conv=lambda *args, **kw: nn.utils.parametrizations.weight_norm(nn.Conv2d(*args, **kw))),
     {CONVOLUTIONS: "computes its weights"}),
    "an error in evaluation mode": (learn(BASIC, (BN1, f"{BN1} if self.training else 1 / 0")),
     {"evaluation mode": "ZeroDivisionError"}),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated")
@pytest.mark.parametrize("unknown", OPEN)
def test_what_cant_be_judged_stays_open_and_makes_nothing_wrong(unknown):
    cls, told = OPEN[unknown]
    report = check_basic_block(cls)
    assert not texts(report, "wrong"), report
    assert all(phrase in texts(report, "open")[name] for name, phrase in told.items()), report
    assert CONVOLUTIONS not in told or [*texts(report, "open")] == [CONVOLUTIONS], report


def test_an_einsum_in_the_place_of_the_projection_is_not_judged():
    bare = ("kernel_size=1, stride=strides)", "kernel_size=1, stride=strides, bias=False)")
    report = check_residual(learn(RESIDUAL, bare, ("self.conv3(X)", EINSUM)))
    assert not texts(report, "wrong") and "can do what a 1×1" in texts(report, "open")[SHORTCUT], report


def test_a_projection_of_the_branch_is_told_with_its_place():
    own = ("in_channels, channels, 1, stride=stride", "channels, channels, 1")
    cls = learn(BASIC, ("if stride != 1 or in_channels != channels", "if True"), own, (BN1, f"(x := {BN1})"))
    assert_told(check_basic_block(cls), {SHORTCUT: "starts behind convolution 1"})
    again = learn(
        BASIC, ("if stride != 1 or in_channels != channels", "if True"), own, ("shortcut(x)", f"shortcut({BN1})")
    )
    assert_told(check_basic_block(again), {SHORTCUT: "starts behind convolution 1"})


def test_an_unknown_step_is_told_with_what_ran():
    cls = learn(BASIC, (BN1, f"(lambda v: v / v.flatten(1).norm(dim=1)[:, None, None, None])({BN1})"))
    wrong = texts(check_basic_block(cls), "wrong")
    assert set(wrong) == {"steps"} and "between convolution 1 (conv1) and convolution 2 (conv2)" in wrong["steps"]


def test_an_overwritten_input_is_told():
    cls = learn(BASIC, ("out = self", "x = self"), ("self.conv2(out)", "self.conv2(x)"), ("out + ", "x + "))
    told = texts(check_basic_block(cls), "wrong")
    assert "added to itself" in told[ADD] and "was x overwritten on the way?" in told[CONVOLUTIONS]


def test_a_shortcut_that_always_halves_is_a_note_with_the_shapes_that_met():
    report = check_basic_block(RIGHT_BASIC["option A, always halving"])
    notes = [line.text for line in report.lines if line.verdict == "note" and "always halves" in line.text]
    assert "12 channels of 8×6 on the branch, 12 channels of 4×3 on the shortcut" in notes[0]


@pytest.mark.parametrize(
    ("report", "name", "phrase"),
    [
        (lambda: check_basic_block(RIGHT_BASIC["the library's, with biases"]), "bias", "bias=False saves it"),
        (lambda: check_basic_block(RIGHT_BASIC["the library's, option A"]), "shortcut", "option A"),
        (lambda: check_residual(learn(RESIDUAL, ("(num_channels)\n", "(num_channels, 1, 0.9)\n"))), "momentum", "0.9"),
        (lambda: check_basic_block(learn(BASIC, FACTOR, ("out + ", "out * self.alpha + "))), "factor", "alpha"),
        (lambda: check_basic_block(RIGHT_BASIC["the library's, option C"]), "shortcut", "option C"),
        (lambda: check_basic_block(RIGHT_BASIC["no expansion"]), "expansion", "no expansion = 1"),
        (lambda: check_bottleneck(RIGHT_BOTTLENECK["the paper's stride"]), "stride", "the paper's place"),
    ],
)  # fmt: skip
def test_a_note_tells_what_is_worth_knowing(report, name, phrase):
    assert phrase in texts(report(), "note")[name]


RESIDUAL_MISTAKES = {
    "ReLU before the addition": ([("F.relu(Y + X)", "F.relu(Y) + X")], {STEPS: "comes before the addition"}),
    "projection always": ([("if use_1x1conv else None", "")], {SHORTCUT: "runs on the shortcut, where none was asked"}),
    "projection where the shape changes": ([("if use_1x1conv", "if strides > 1 or input_channels != num_channels")],
     {SHORTCUT: "although use_1x1conv asks for one"}),
    "stride forgotten": ([("kernel_size=1, stride=strides", "kernel_size=1")],
     {CONVOLUTIONS: "the projection (conv3)", "runs": ""}),
    "shared BatchNorm": ([("= self.conv3(X)", "= self.bn2(self.conv3(X))")], {"layers": "bn2 runs in"}),
    "in place": ([("F.relu(Y + X)", "F.relu(X.add_(Y))")], {"input left as it was": "x += out", "gradients": "in-pl"}),
}  # fmt: skip


BOTTLENECK_MISTAKES = {
    "expansion of 2": ([("channels * 4", "channels * 2"), ("expansion = 4", "expansion = 2")],
     {"output": "the expansion of a bottleneck is 4", CONVOLUTIONS: "from 6 to 12", "expansion": "should be 4"}),
    "projection decided without the expansion": ([("in_channels != channels * 4", "in_channels != channels")],
     {SHORTCUT: "24 channels of 8×6 on the branch", "runs": "differ in shape"}),
    "stride on the last": ([("3, stride=stride", "3"),
     ("channels * 4, 1, bias=False)\n", "channels * 4, 1, stride, bias=False)\n")],
     {CONVOLUTIONS: "convolution 2 (conv2) is 3×3 from 12 to 12 channels with stride 1; it should"}),
    "second ReLU missing": ([("self.relu(self.bn2(self.conv2(out)))", "self.bn2(self.conv2(out))")],
     {STEPS: "no ReLU between convolution 2 (conv2) and convolution 3 (conv3)"}),
    "an array for the expansion": ([("expansion = 4", "expansion = torch.tensor([4, 4])")],
     {"expansion": "expansion = tensor([4, 4]); it should be 4"}),
    "a basic block": ([(BOTTLENECK, BASIC)],
     {CONVOLUTIONS: "there are 3×3, 3×3; there should be 1×1, 3×3, 1×1", "output": "", "expansion": "be 4"}),
}  # fmt: skip


OTHERS = [(check_residual, RESIDUAL, *row) for row in RESIDUAL_MISTAKES.values()]
OTHERS += [(check_bottleneck, BOTTLENECK, *row) for row in BOTTLENECK_MISTAKES.values()]


@pytest.mark.parametrize(("check", "source", "edits", "told"), OTHERS)
def test_a_mistake_in_a_residual_or_bottleneck_is_told(check, source, edits, told):
    assert_told(check(learn(source, *edits)), told)


# How the check calls a class.


@pytest.mark.parametrize(
    ("check", "signature", "phrases"),
    [
        (check_residual, "num_channels, use_1x1conv=False, strides=1", ["use_1x1conv=True, strides=2", "lambda input"]),
        (check_basic_block, "i, o, downsample", ["takes (i, o, downsample)", "lambda in_channels, channels, stride: "]),
        (check_basic_block, "i, o, groups=1", ["calls Block(6, 12, 2)", "the third argument here is groups"]),
        (check_basic_block, "i, mid, o, stride", ["missing a required argument: 'o'"]),
        (check_basic_block, "c_in, act_fn, subsample=False, c_out=-1", ["the third argument here is subsample"]),
        (check_basic_block, "i, o", ["too many positional arguments"]),
    ],
)
def test_a_signature_that_does_not_fit_is_told_with_a_wrapper(check, signature, phrases):
    cls = learn(f"class Block(nn.Module):\n    def __init__(self, {signature}):\n        super().__init__()")
    told = texts(check(cls), "wrong")
    assert list(told) == ["argument"]
    assert all(phrase in told["argument"] for phrase in phrases), told


@pytest.mark.parametrize(
    ("check", "thing", "phrase"),
    [
        (check_residual, blocks.Residual(3, 3), "pass Residual, without parentheses"),
        (check_basic_block, "BasicBlock", "it takes a class, got an object of type str"),
        (check_bottleneck, None, "an object of type NoneType"),
    ],
)
def test_no_class_is_told_in_a_sentence(check, thing, phrase):
    assert_told(check(thing), {"argument": phrase})


@pytest.mark.parametrize("check", EVERY_CHECK)
@pytest.mark.parametrize(
    "thing", [int, print, lambda *args: None, nn.Module, nn.Linear(2, 2), [nn.ReLU()], None, {1: 2}]
)
def test_nothing_that_is_handed_in_makes_a_check_raise(check, thing):
    report = check(thing)
    assert not report.ok and str(report).startswith("check_")


# Nothing of the learner's code gets out, and nothing of the session gets in.


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("no text either")


@pytest.mark.parametrize(
    ("statement", "phrase"),
    [
        ("sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise MuteError", "MuteError"),
        ("self.conv9", "AttributeError: 'Block' object has no attribute 'conv9'"),
    ],
)
@pytest.mark.parametrize("place", ["    def forward(self, x):\n", "        super().__init__()\n"])
def test_what_the_learner_s_code_raises_becomes_a_sentence(statement, phrase, place):
    cls = learn(BASIC, (place, f"{place}        {statement}\n"))
    cls.forward.__globals__.update(sys=sys, MuteError=MuteError)
    told = texts(check_basic_block(cls), "wrong")
    assert list(told) == ["runs"] and phrase in told["runs"]
    assert ("constructor" in told["runs"]) == ("super" in place)


def test_an_attribute_that_hides_a_method_is_told():
    cls = learn(BASIC, ("        super().__init__()\n", "        super().__init__()\n        self.modules = []\n"))
    assert "self.modules hides nn.Module's method modules()" in texts(check_basic_block(cls), "wrong")["runs"]


def test_an_endless_loop_ends(monkeypatch):
    monkeypatch.setattr("resnet_course.checks.report.LIMIT_S", 0.05)
    cls = learn(BASIC, ("    def forward(self, x):\n", "    def forward(self, x):\n        while True: pass\n"))
    assert "does a loop in it end?" in texts(check_basic_block(cls), "wrong")["runs"]


DISTURBING = (
    "import random, os, numpy; random.random(); numpy.random.rand(); torch.rand(1); os.chdir('/'); "
    "torch.set_default_dtype(torch.float64); print('!'); F.relu = F.gelu; torch.set_default_device('meta'); "
    "torch.autograd.set_detect_anomaly(True); "
    "torch.nn.modules.module.register_module_forward_hook(lambda module, args, out: 2 * out)"
)


def test_a_check_leaves_the_session_as_it_was(capsys):
    cls = learn(BASIC, ("        super().__init__()\n", f"        super().__init__()\n        {DISTURBING}\n"))

    def state():
        return (
            torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist(), os.getcwd(),
            torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), F.relu.__name__,
            len(nn.modules.module._global_forward_hooks), torch.get_default_device(), torch.is_anomaly_enabled(),
        )  # fmt: skip

    before = state()
    check_basic_block(cls)
    assert state() == before
    assert capsys.readouterr() == ("", "")


SESSIONS = [torch.no_grad, torch.inference_mode, partial(torch.autocast, "cpu", torch.bfloat16),
            partial(torch.device, "meta")]  # fmt: skip


@pytest.mark.parametrize("session", SESSIONS)
def test_a_check_does_not_feel_the_session(session):
    with session():
        assert_right(check_basic_block(blocks.BasicBlock))


def test_a_check_does_not_feel_the_default_dtype_or_a_global_hook():
    hook = nn.modules.module.register_module_forward_hook(lambda module, args, out: 2 * out)
    torch.set_default_dtype(torch.float64)
    try:
        assert_right(check_basic_block(blocks.BasicBlock))
    finally:
        torch.set_default_dtype(torch.float32)
        hook.remove()


def test_the_same_class_gives_the_same_report():
    cls = learn(
        BASIC, ("    def forward(self, x):\n", "    def forward(self, x):\n        raise ValueError(torch.rand(1))\n")
    )
    reports = []
    for seed in range(2):
        torch.manual_seed(seed)
        reports.append(str(check_basic_block(cls)))
    assert "tensor(" in reports[0] and reports[0] == reports[1]


# The report.


def test_the_report_shows_what_is_wrong_first():
    report = check_basic_block(learn(BASIC, ("out + identity", "identity - out"), ("bias=False", "bias=True")))
    shown = str(report).splitlines()
    assert repr(report) == str(report)
    assert shown[0] == "check_basic_block: 1 of 10 properties wrong"
    assert shown[1].startswith("  wrong  addition: Block(6, 6, 1): ")
    assert [line.split()[0] for line in shown if line[2] != " "][1:] == ["wrong", "note"] + ["right"] * 9
    assert max(map(len, shown)) <= 100


def test_open_lines_are_shown_together():
    report = check_basic_block(learn(BASIC, ("return self.relu(", "self.relu(")))
    shown = [line for line in str(report).splitlines() if line.startswith("  open")]
    assert len(texts(report, "open")) > len(shown) == 1
