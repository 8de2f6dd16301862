"""The checks tell a learner's mistakes by the right line, and refuse no correct solution, whatever its style."""

import copy
import linecache
from functools import partial

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from resnet_course.checks import check_basic_block, check_bottleneck, check_make_layer, check_residual, check_resnet
from resnet_lib import blocks, networks

# Correct solutions. A planted mistake is an edit of the first of each kind.

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
RESIDUAL_TORCHVISION_STYLE = """
class Residual(nn.Module):
    def __init__(self, inplanes, planes, use_1x1=False, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = None
        if use_1x1:
            self.downsample = nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        identity = x
        out = self.conv1(x)
        out = self.bn1(out)
        out = self.relu(out)
        out = self.conv2(out)
        out = self.bn2(out)
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        out = self.relu(out)
        return out
"""
RESIDUAL_SEQUENTIAL = """
class Residual(nn.Module):
    def __init__(self, a, b, project=False, s=1):
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(a, b, 3, stride=s, padding=1), nn.BatchNorm2d(b), nn.ReLU(),
            nn.Conv2d(b, b, 3, padding="same"), nn.BatchNorm2d(b),
        )
        self.skip = nn.Conv2d(a, b, 1, stride=s) if project else nn.Identity()

    def forward(self, x):
        return torch.clamp(torch.add(self.skip(x), self.path(x)), min=0)
"""
RESIDUAL_LAZY = """
class Residual(nn.Module):
    def __init__(self, input_channels, num_channels, use_1x1conv=False, strides=1):
        super().__init__()
        self.conv1 = nn.LazyConv2d(num_channels, 3, padding=1, stride=strides)
        self.conv2 = nn.LazyConv2d(num_channels, 3, padding=1)
        self.conv3 = nn.LazyConv2d(num_channels, 1, stride=strides) if use_1x1conv else None
        self.bn1, self.bn2 = nn.LazyBatchNorm2d(), nn.LazyBatchNorm2d()

    def forward(self, X):
        Y = self.bn2(self.conv2(self.bn1(self.conv1(X)).relu()))
        return (Y + (X if self.conv3 is None else self.conv3(X))).relu()
"""

BASIC = """
class Block(nn.Module):
    expansion = 1

    def __init__(self, in_channels, channels, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            projection = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        identity = self.shortcut(x)
        return self.relu(out + identity)
"""
BASIC_TORCHVISION_STYLE = """
class BasicBlock(nn.Module):
    expansion: int = 1

    def __init__(self, inplanes, planes, stride=1, downsample=None):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)
"""
BASIC_SEQUENTIAL = """
def conv_bn(a, b, k, s):
    return nn.Sequential(nn.Conv2d(a, b, k, s, k // 2, bias=False), nn.BatchNorm2d(b))

class Block(nn.Module):
    expansion = 1

    def __init__(self, a, b, s):
        super().__init__()
        self.branch = nn.Sequential(conv_bn(a, b, 3, s), nn.ReLU(inplace=True), conv_bn(b, b, 3, 1))
        self.project = conv_bn(a, b, 1, s) if (a, s) != (b, 1) else nn.Identity()

    def forward(self, x):
        shortcut = self.project(x)
        return F.relu(self.branch(x).add_(shortcut), inplace=True)
"""
BASIC_FUNCTIONAL_OPTION_A = """
class Block(nn.Module):
    expansion = 1

    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(in_planes, planes, 3, stride, 1, bias=False),
                                    nn.Conv2d(planes, planes, 3, 1, 1, bias=False)])
        self.bns = nn.ModuleList(nn.BatchNorm2d(planes) for _ in range(2))
        more = planes - in_planes
        self.shortcut = lambda x: F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, more))

    def forward(self, x):
        out = torch.relu(self.bns[0](self.convs[0](x)))
        return torch.relu(self.bns[1](self.convs[1](out)) + self.shortcut(x))
"""
BASIC_DOWNSAMPLE_FLAG = """
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

BOTTLENECK = """
class Block(nn.Module):
    expansion = 4

    def __init__(self, in_channels, channels, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * 4)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels * 4:
            projection = nn.Conv2d(in_channels, channels * 4, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels * 4))

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        identity = self.shortcut(x)
        return self.relu(out + identity)
"""
BOTTLENECK_WITH_DOWNSAMPLE_THIRD = """
class block(nn.Module):
    def __init__(self, in_channels, out_channels, identity_downsample=None, stride=1):
        super().__init__()
        self.expansion = 4
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, stride=stride, padding=1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv3 = nn.Conv2d(out_channels, out_channels * self.expansion, kernel_size=1)
        self.bn3 = nn.BatchNorm2d(out_channels * self.expansion)
        self.relu = nn.ReLU()
        self.identity_downsample = identity_downsample

    def forward(self, x):
        identity = x
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        if self.identity_downsample is not None:
            identity = self.identity_downsample(identity)
        x += identity
        return self.relu(x)
"""
BOTTLENECK_SEQUENTIAL = """
class Block(nn.Module):
    expansion = 4

    def __init__(self, a, w, s=1):
        super().__init__()
        layers, sizes = [], [(a, w, 1, 1), (w, w, 3, s), (w, 4 * w, 1, 1)]
        for i, (p, q, k, stride) in enumerate(sizes):
            layers += [nn.Conv2d(p, q, k, stride, k // 2, bias=False), nn.BatchNorm2d(q)]
            layers += [nn.ReLU(inplace=True)] if i < 2 else []
        self.f = nn.Sequential(*layers)
        if s == 1 and a == 4 * w:
            self.g = nn.Identity()
        else:
            self.g = nn.Sequential(nn.Conv2d(a, 4 * w, 1, s, bias=False), nn.BatchNorm2d(4 * w))

    def forward(self, x):
        return F.relu(self.g(x) + self.f(x))
"""

MAKE_LAYER = """
def make_layer(block, in_channels, channels, num_blocks, stride=1):
    layers = []
    for i in range(num_blocks):
        layers.append(block(in_channels, channels, stride if i == 0 else 1))
        in_channels = channels * block.expansion
    return nn.Sequential(*layers)
"""
MAKE_LAYER_TORCHVISION_STYLE = """
def make_layer(block, inplanes, planes, blocks, stride=1):
    downsample = None
    if stride != 1 or inplanes != planes * block.expansion:
        downsample = nn.Sequential(
            nn.Conv2d(inplanes, planes * block.expansion, 1, stride, bias=False),
            nn.BatchNorm2d(planes * block.expansion),
        )
    layers = [block(inplanes, planes, stride, downsample)]
    inplanes = planes * block.expansion
    for _ in range(1, blocks):
        layers.append(block(inplanes, planes))
    return nn.Sequential(*layers)
"""
MAKE_LAYER_AS_LIST = """
def stage(block, c_in, c, n, s):
    wide = c * block.expansion
    return [block(c_in=c_in, c=c, stride=s)] + [block(c_in=wide, c=c, stride=1) for _ in range(n - 1)]
"""

NETWORK = """
class Network(nn.Module):
    def __init__(self, block, counts, num_classes=10):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        stages, in_channels = [], 64
        for i, count in enumerate(counts):
            channels = 64 * 2**i
            for j in range(count):
                stages.append(block(in_channels, channels, 2 if i > 0 and j == 0 else 1))
                in_channels = channels * block.expansion
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, x):
        x = self.stages(self.stem(x))
        x = self.pool(x).flatten(1)
        return self.fc(x)
"""
NETWORK_FUNCTIONAL = """
class Network(nn.Module):
    def __init__(self, block, counts, num_classes=10):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64)
        channels = [64, *(64 * 2**i * block.expansion for i in range(4))]
        self.layers = nn.ModuleList()
        for i, count in enumerate(counts):
            self.layers.append(block(channels[i], 64 * 2**i, min(i, 1) + 1))
            self.layers.extend(block(channels[i + 1], 64 * 2**i, 1) for _ in range(count - 1))
        self.out = nn.Linear(channels[-1], num_classes)

    def forward(self, x):
        x = F.max_pool2d(self.bn(self.conv(x)), 3, 2, 1).relu()
        for layer in self.layers:
            x = layer(x)
        return self.out(torch.flatten(F.avg_pool2d(x, x.shape[2:]), 1))
"""


def learn(source, *edits):
    """What the learner's text defines last, after edits (old, new), each of which must apply."""
    for old, new in edits:
        assert old in source, f"the source has no {old!r}"
        source = source.replace(old, new)
    names = {"torch": torch, "nn": nn, "F": F}
    exec(source, names)
    return list(names.values())[-1]


def build(*edits, block=(), depth=18, counts=None):
    """A network of 10 classes from the learner's text, with edits of the network's and of the block's text."""
    block = learn(BASIC if depth < 50 else BOTTLENECK, *block) if isinstance(block, tuple) else block
    usual = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}[depth]
    return learn(NETWORK, *edits)(block, counts or usual)


def texts(report, *verdicts):
    return {line.name: line.text for line in report.lines if line.verdict in verdicts}


def assert_right(report):
    assert report.ok and report, str(report)
    assert not texts(report, "wrong", "open"), str(report)
    assert len(texts(report, "right")) >= 8


def assert_told(report, told, also=()):
    """Exactly the lines of ``told`` (name: phrase) and of ``also``, consequences of the same mistake, are wrong."""
    wrong = texts(report, "wrong")
    for name, phrase in told.items():
        assert phrase in wrong.get(name, ""), f"{name} does not say {phrase!r}:\n{report}"
    assert set(wrong) == {*told, *also}, f"other lines are wrong than expected:\n{report}"
    assert not report.ok and not report


# No correct solution is refused.


@pytest.mark.parametrize(
    "cls",
    [
        blocks.Residual,
        *map(learn, [RESIDUAL, RESIDUAL_TORCHVISION_STYLE, RESIDUAL_SEQUENTIAL, RESIDUAL_LAZY]),
        learn(RESIDUAL, ("kernel_size=3, padding=1)", "kernel_size=3, padding=1, bias=False)")),
    ],
)
def test_a_correct_residual_is_accepted(cls):
    assert_right(check_residual(cls))


@pytest.mark.parametrize(
    "cls",
    [
        blocks.BasicBlock,
        partial(blocks.BasicBlock, shortcut="A"),
        partial(blocks.BasicBlock, bias=True),
        torchvision.models.resnet.BasicBlock,
        *map(
            learn, [BASIC, BASIC_TORCHVISION_STYLE, BASIC_SEQUENTIAL, BASIC_FUNCTIONAL_OPTION_A, BASIC_DOWNSAMPLE_FLAG]
        ),
        # What training starts with must not matter: here every branch starts at zero.
        learn(
            BASIC, ("self.shortcut = nn.Sequential()", "self.shortcut = nn.Sequential(); self.bn2.weight.data.zero_()")
        ),
    ],
)
def test_a_correct_basic_block_is_accepted(cls):
    assert_right(check_basic_block(cls))


@pytest.mark.parametrize(
    "cls",
    [
        blocks.Bottleneck,
        partial(blocks.Bottleneck, shortcut="A"),
        torchvision.models.resnet.Bottleneck,
        *map(learn, [BOTTLENECK, BOTTLENECK_WITH_DOWNSAMPLE_THIRD, BOTTLENECK_SEQUENTIAL]),
    ],
)
def test_a_correct_bottleneck_is_accepted(cls):
    assert_right(check_bottleneck(cls))


@pytest.mark.parametrize(
    "fn", [networks.make_layer, *map(learn, [MAKE_LAYER, MAKE_LAYER_TORCHVISION_STYLE, MAKE_LAYER_AS_LIST])]
)
def test_a_correct_make_layer_is_accepted(fn):
    assert_right(check_make_layer(fn))


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_the_librarys_networks_are_accepted(depth):
    assert_right(check_resnet(getattr(networks, f"resnet{depth}")(), depth))


@pytest.mark.parametrize(
    ("make", "depth", "num_classes"),
    [
        (lambda: torchvision.models.resnet18(), 18, 1000),
        (lambda: torchvision.models.resnet50(zero_init_residual=True), 50, 1000),
        (lambda: networks.resnet34(10, shortcut="A"), 34, 10),
        (lambda: build(), 18, 10),
        (lambda: build(depth=50), 50, 10),
        (lambda: build(block=blocks.BasicBlock, depth=34), 34, 10),
        (lambda: learn(NETWORK_FUNCTIONAL)(learn(BASIC_SEQUENTIAL), (2, 2, 2, 2)), 18, 10),
        (lambda: learn(NETWORK_FUNCTIONAL)(learn(BOTTLENECK_SEQUENTIAL), (3, 4, 6, 3)), 50, 10),
    ],
)
def test_a_correct_network_is_accepted(make, depth, num_classes):
    assert_right(check_resnet(make(), depth, num_classes))


# What is right but worth knowing is a note, no failure.


@pytest.mark.parametrize(
    ("report", "name", "phrase"),
    [
        (lambda: check_basic_block(learn(BASIC, ("bias=False", "bias=True"))), "bias", "bias=False saves it"),
        (lambda: check_basic_block(learn(BASIC_FUNCTIONAL_OPTION_A)), "shortcut", "option A"),
        (lambda: check_basic_block(learn(BASIC, ("expansion = 1", "pass"))), "expansion", "no expansion = 1"),
        (lambda: check_basic_block(learn(BASIC_TORCHVISION_STYLE)), "downsample", "handed in"),
        (lambda: check_residual(learn(RESIDUAL_TORCHVISION_STYLE)), "BatchNorm on the projection", "does without"),
        (
            lambda: check_bottleneck(
                learn(
                    BOTTLENECK,
                    ("nn.Conv2d(in_channels, channels, 1,", "nn.Conv2d(in_channels, channels, 1, stride,"),
                    ("3, stride=stride", "3"),
                )
            ),
            "stride",
            "as in the paper",
        ),
        (
            lambda: check_resnet(build(("nn.AdaptiveAvgPool2d(1)", "nn.AvgPool2d(7)")), 18, 10),
            "image size",
            "only 224×224",
        ),
    ],
)
def test_a_note_fails_nothing(report, name, phrase):
    report = report()
    assert_right(report)
    assert phrase in texts(report, "note")[name]


# Every planted mistake is told by the right line, and only by lines that it concerns.

SUM = """        identity = self.shortcut(x)
        return self.relu(out + identity)
"""


def end(*lines):
    """An edit of a block's last two lines."""
    return (SUM, "".join(f"        {line}\n" for line in lines))


IDENTITY, GRADIENT = "identity at zero branch", "gradient through the shortcut"
RELU_BETWEEN, RELU_AFTER = "ReLU between the convolutions", "ReLU after the addition"
PROJECTION_NORM, PLACE, OWN = "BatchNorm on the projection", "a layer for each place", "layers of one's own"
IF_SHAPE_CHANGES = "if stride != 1 or in_channels != channels:"
CONV2 = "self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)"

BASIC_MISTAKES = {
    "ReLU before the addition": (
        [end("return self.relu(out) + self.shortcut(x)")],
        {RELU_AFTER: "comes before the addition: add first, then apply it", IDENTITY: "not ReLU(x)"},
    ),
    "no final ReLU": (
        [end("return out + self.shortcut(x)")],
        {RELU_AFTER: "no ReLU follows the addition", IDENTITY: "the output is x, not ReLU(x)"},
    ),
    "ReLU before and after the addition": (
        [end("return self.relu(self.relu(out) + self.shortcut(x))")],
        {RELU_AFTER: "before the addition as well"},
    ),
    "leaky ReLU after the addition": (
        [end("return F.leaky_relu(out + self.shortcut(x))")],
        {RELU_AFTER: "the last activation is not ReLU", IDENTITY: "something else"},
    ),
    "first ReLU missing": (
        [("self.relu(self.bn1(self.conv1(x)))", "self.bn1(self.conv1(x))")],
        {RELU_BETWEEN: "no ReLU between convolution 1 (conv1) and convolution 2 (conv2)"},
    ),
    "GELU for the first ReLU": (
        [("self.relu(self.bn1(self.conv1(x)))", "F.gelu(self.bn1(self.conv1(x)))")],
        {RELU_BETWEEN: "something other than"},
    ),
    "ReLU before the BatchNorm": (
        [("self.relu(self.bn1(self.conv1(x)))", "self.bn1(self.relu(self.conv1(x)))")],
        {"BatchNorm": "comes after the ReLU"},
    ),
    "ReLU before the addition, branch at zero": (
        [
            end("return self.relu(out) + self.shortcut(x)"),
            ("self.relu =", "nn.init.zeros_(self.bn2.weight); self.relu ="),
        ],
        {RELU_AFTER: "comes before the addition"},
        [IDENTITY],
    ),
    "addition forgotten": (
        [("        identity = self.shortcut(x)\n", ""), ("out + identity", "out")],
        {"addition": "the shortcut is never added", IDENTITY: "only zeros", "projection": "one is due"},
        ["no unused layers"],
    ),
    "branch forgotten": (
        [("out + identity", "0 * out + identity")],
        {"addition": "the branch is never added"},
    ),
    "addition in place over the input": (
        [end("identity = self.shortcut(x)", "identity += out", "return self.relu(identity)")],
        {"input left as it was": "not x += out", "gradients": "in-place"},
    ),
    "in-place ReLU on the input": (
        [("self.conv1(x)", "self.conv1(self.relu(x))")],
        {"input left as it was": "in-place ReLU", "convolutions": "takes ReLU of the input"},
    ),
    "ReLU before the first convolution": (
        [("self.conv1(x)", "self.conv1(F.relu(x))")],
        {"convolutions": "conv1) takes ReLU of the input: the branch begins with a convolution of the input itself"},
    ),
    "ReLU on the shortcut": (
        [("self.shortcut(x)", "F.relu(self.shortcut(x))")],
        {"addition": "the shortcut carries ReLU of the input"},
    ),
    "subtraction": ([("out + identity", "identity - out")], {"addition": "subtracted"}),
    "product": ([("out + identity", "out * identity")], {"addition": "multiplied", IDENTITY: "only zeros"}),
    "mean instead of sum": (
        [("out + identity", "(out + identity) / 2")],
        {"addition": "not ReLU(F(x) + sh"},
        [IDENTITY],
    ),
    "concatenation": (
        [("out + identity", "torch.cat([out, identity], 1)")],
        {"addition": "concatenated", "shapes": "12 channels of 8×6 instead of 6 channels of 8×6"},
        [IDENTITY],
    ),
    "detach on the shortcut": (
        [("out + identity", "out + identity.detach()")],
        {GRADIENT: "cuts the shortcut", "gradients": "shortcut.0.weight"},
    ),
    "detach on the branch": (
        [("out + identity", "out.detach() + identity")],
        {"gradients": "conv1.weight, bn1.weight, bn1.bias and 3 more gets no gradient"},
    ),
    "no_grad around the branch": (
        [("        out = self.bn2(self.conv2(out))", "        with torch.no_grad(): out = self.bn2(self.conv2(out))")],
        {"gradients": "torch.no_grad()"},
    ),
    "no_grad around everything": (
        [("    def forward", "    @torch.no_grad()\n    def forward")],
        {"gradients": "no gradient comes back at all", GRADIENT: "no_grad() cuts the shortcut"},
    ),
    "a tuple returned": ([end("return self.relu(out + self.shortcut(x)), x")], {"output": "returns a tuple"}),
    "return forgotten": ([("return self.relu(", "self.relu(")], {"output": "end it with return"}),
    "BatchNorm after the addition": (
        [("self.bn2(self.conv2(out))", "self.conv2(out)"), ("out + identity", "self.bn2(out + identity)")],
        {"BatchNorm": "comes after the addition"},
        [IDENTITY],
    ),
    "second BatchNorm missing": (
        [("self.bn2(self.conv2(out))", "self.conv2(out)"), ("self.bn2 = nn.BatchNorm2d(channels)", "pass")],
        {"BatchNorm": "no BatchNorm follows convolution 2 (conv2)"},
    ),
    "one BatchNorm for two convolutions": (
        [("self.bn2(", "self.bn1("), ("self.bn2 = nn.BatchNorm2d(channels)", "pass")],
        {PLACE: "bn1 runs in more than one place"},
    ),
    "one convolution used twice": (
        [("self.conv2(out)", "self.conv1(out)"), (CONV2, "pass")],
        {PLACE: "conv1 runs in more than one place", "convolutions": "(conv1) is 3×3 from 6 to 10"},
        ["runs", "stride"],
    ),
    "second convolution on the input": (
        [("self.conv2(out)", "self.conv2(x)")],
        {"convolutions": "conv2 takes the block's input"},
        ["runs", "gradients", "projection", "stride", IDENTITY],
    ),
    "a third convolution": (
        [
            ("self.bn2(self.conv2(out))", "self.bn2(self.conv3(self.conv2(out)))"),
            (CONV2, f"{CONV2}; {CONV2.replace('2 =', '3 =')}"),
        ],
        {"convolutions": "the branch has 3 convolutions; it should have 2"},
        ["BatchNorm", RELU_BETWEEN],
    ),
    "projection without BatchNorm": (
        [(", nn.BatchNorm2d(channels))", ")")],
        {PROJECTION_NORM: "no BatchNorm follows the projection (shortcut.0)"},
    ),
    "projection always": (
        [(IF_SHAPE_CHANGES, "if True:")],
        {"projection": "runs on the shortcut, where none is due"},
        [IDENTITY],
    ),
    "projection never": (
        [(IF_SHAPE_CHANGES, "if False:")],
        {"projection": "one is due", "runs": "10 channels of 4×3 on the branch, 6 channels of 8×6 on the shortcut"},
    ),
    "projection only with a stride": (
        [(IF_SHAPE_CHANGES, "if stride != 1:")],
        {"projection": "or the channels change", "runs": "Block(6, 10, 1): forward fails"},
    ),
    "stride on both convolutions": (
        [("channels, 3, padding=1", "channels, 3, stride=stride, padding=1")],
        {"stride": "only convolution 1 should take the stride", "runs": "10 channels of 2×2 on the branch"},
    ),
    "stride on the second convolution": (
        [("3, stride=stride, padding=1", "3, padding=1"), (CONV2, CONV2.replace("3,", "3, stride=stride,"))],
        {"stride": "along the branch are 1, 2, not 2, 1: the stride belongs on convolution 1"},
    ),
    "stride forgotten on the branch": (
        [("3, stride=stride, padding=1", "3, padding=1")],
        {"stride": "give convolution 1 the stride", "runs": "10 channels of 8×6 on the branch"},
    ),
    "stride forgotten on the projection": (
        [("1, stride=stride, bias", "1, bias")],
        {
            "stride": "the projection (shortcut.0) has stride 1, and the branch 2",
            "runs": "10 channels of 8×6 on the sh",
        },
    ),
    "padding forgotten": (
        [("3, stride=stride, padding=1", "3, stride=stride")],
        {"padding": "convolution 1 (conv1) takes 8×6 to 6×4: a 3×3 convolution needs padding=1", "runs": "in shape"},
    ),
    "kernel of 5": (
        [("channels, channels, 3, padding=1", "channels, channels, 5, padding=2")],
        {"convolutions": "convolution 2 (conv2) is 5×5 from 6 to 6 channels, 900 weights; it should be 3×3"},
    ),
    "projection of 3×3": (
        [("channels, 1, stride=stride, bias", "channels, 3, stride=stride, padding=1, bias")],
        {"convolutions": "the projection (shortcut.0) is 3×3"},
    ),
    "conv2 from in_channels": (
        [(CONV2, CONV2.replace("(channels", "(in_channels"))],
        {"convolutions": "look at its in_channels", "runs": "to have 6 channels, but got 10 channels instead"},
    ),
    "layers in a plain list": (
        [(CONV2, CONV2.replace("conv2 = ", "rest = [") + "]"), ("self.conv2(", "self.rest[0](")],
        {"registered layers": "1 of the 4 layers that run are not in parameters()"},
    ),
    "layers made in forward": (
        [("self.conv2(out)", "nn.Conv2d(len(out[0]), len(out[0]), 3, padding=1, bias=False)(out)"), (CONV2, "pass")],
        {"registered layers": "make layers in __init__", "no randomness": "draws random numbers"},
        ["evaluation mode"],
    ),
    "a layer that is never used": (
        [("self.shortcut = nn.Sequential()", "self.shortcut = nn.Sequential(); self.more = nn.Linear(3, 3)")],
        {"no unused layers": "more.weight, more.bias"},
    ),
    "layers shared by all blocks": (
        [
            ("self.bn1 = nn.BatchNorm2d(channels)", "self.bn1 = norms.setdefault(channels, nn.BatchNorm2d(channels))"),
            ("class Block", "norms = {}\nclass Block"),
        ],
        {OWN: "two instances share their layers"},
    ),
    "dropout left in": (
        [("self.relu(self.bn1", "F.dropout(self.bn1"), ("conv1(x)))", "conv1(x)), 0.1, self.training).relu()")],
        {"no randomness": "dropout is left in"},
    ),
    "dropout that stays in evaluation": (
        [("self.relu(self.bn1(self.conv1(x)))", "F.dropout(self.relu(self.bn1(self.conv1(x))))")],
        {"no randomness": "dropout is left in", "evaluation mode": "needs training=self.training"},
    ),
    "a random scale": (
        [("out + identity", "out * torch.rand(1) + identity")],
        {"no randomness": "draws random numbers", "addition": "not ReLU(F(x)"},
        ["evaluation mode"],
    ),
    "BatchNorm without running statistics": (
        [("nn.BatchNorm2d(channels)\n", "nn.BatchNorm2d(channels, track_running_stats=False)\n")],
        {"evaluation mode": "depends on the others of its batch"},
    ),
    "expansion not 1": ([("expansion = 1", "expansion = 4")], {"expansion": "expansion = 4; it should be 1"}),
    "no super().__init__()": ([("super().__init__()", "pass")], {"runs": "call super().__init__() first"}),
    "forward misspelt": ([("def forward", "def foward")], {"runs": "name the method forward"}),
    "no nn.Module": (
        [("(nn.Module)", ""), ("super().__init__()", "pass")],
        {"runs": "derive the class"},
    ),
    "no stride among the arguments": (
        [("channels, stride=1)", "channels)"), ("stride=stride", "stride=1"), ("stride != 1 or ", "")],
        {"runs": "the constructor fails: TypeError"},
    ),
    "a name that is not defined": ([("self.conv2(out)", "self.conv2(y)")], {"runs": "NameError: name 'y'"}),
}


@pytest.mark.parametrize("mistake", BASIC_MISTAKES)
def test_a_mistake_in_a_basic_block_is_told(mistake):
    edits, *expected = BASIC_MISTAKES[mistake]
    assert_told(check_basic_block(learn(BASIC, *edits)), *expected)


RESIDUAL_MISTAKES = {
    "ReLU before the addition": (
        [("F.relu(Y + X)", "F.relu(Y) + X")],
        {RELU_AFTER: "comes before the addition"},
        [IDENTITY],
    ),
    "first ReLU missing": (
        [("F.relu(self.bn1(self.conv1(X)))", "self.bn1(self.conv1(X))")],
        {RELU_BETWEEN: "no ReLU between"},
    ),
    "addition forgotten": ([("Y + X", "Y")], {"addition": "never added"}, [IDENTITY, "gradients"]),
    "projection always": (
        [("if use_1x1conv else None", "")],
        {"projection": "Residual(6, 6, False, 1): the projection (conv3) runs"},
        [IDENTITY],
    ),
    "projection never": (
        [("if use_1x1conv else None", "if False else None")],
        {"projection": "one is due"},
        ["runs"],
    ),
    "projection only where the shape changes": (
        [("if use_1x1conv", "if strides > 1 or input_channels != num_channels")],
        {"projection": "Residual(6, 6, True, 1): no 1×1 convolution on the shortcut, although use_1x1conv"},
    ),
    "stride forgotten on the projection": (
        [("kernel_size=1, stride=strides", "kernel_size=1")],
        {"stride": "the projection (conv3) has stride 1", "runs": "differ in shape"},
    ),
    "stride on both convolutions": (
        [("kernel_size=3, padding=1)", "kernel_size=3, padding=1, stride=strides)")],
        {"stride": "the image shrinks more than once", "runs": "differ in shape"},
    ),
    "ReLU on the projection": (
        [("X = self.conv3(X)", "X = F.relu(self.conv3(X))")],
        {"addition": "ReLU of the projection"},
    ),
    "BatchNorm shared with the projection": (
        [("X = self.conv3(X)", "X = self.bn2(self.conv3(X))")],
        {PLACE: "bn2 runs in more than one place"},
    ),
    "addition in place over the input": (
        [("return F.relu(Y + X)", "X += Y\n        return F.relu(X)")],
        {"input left as it was": "not x += out"},
        ["gradients"],
    ),
}


@pytest.mark.parametrize("mistake", RESIDUAL_MISTAKES)
def test_a_mistake_in_a_residual_is_told(mistake):
    edits, *expected = RESIDUAL_MISTAKES[mistake]
    assert_told(check_residual(learn(RESIDUAL, *edits)), *expected)


BOTTLENECK_MISTAKES = {
    "expansion of 2": (
        [("channels * 4", "channels * 2"), ("expansion = 4", "expansion = 2")],
        {
            "shapes": "2 times as many (the expansion of a bottleneck is 4)",
            "convolutions": "convolution 3 (conv3) is 1×1 from 6 to 12 channels, 72 weights; it should be",
            "expansion": "expansion = 2; it should be 4",
        },
        ["projection", IDENTITY],
    ),
    "expansion ignored": (
        [("channels * 4", "channels")],
        {"shapes": "4 times as many", "convolutions": "look at its out_channels"},
        ["projection", IDENTITY],
    ),
    "projection decided without the expansion": (
        [("in_channels != channels * 4", "in_channels != channels")],
        {"projection": "where none is due", "runs": "Block(6, 6, 1): forward fails"},
        [IDENTITY],
    ),
    "stride on the last 1×1": (
        [
            ("3, stride=stride", "3"),
            ("nn.Conv2d(channels, channels * 4, 1,", "nn.Conv2d(channels, channels * 4, 1, stride,"),
        ],
        {"stride": "along the branch are 1, 1, 2, not 1, 2, 1: the stride belongs on convolution 2"},
    ),
    "stride on the first 1×1 and the 3×3": (
        [("nn.Conv2d(in_channels, channels, 1,", "nn.Conv2d(in_channels, channels, 1, stride,")],
        {"stride": "only convolution 2 should take the stride"},
        ["runs"],
    ),
    "second ReLU missing": (
        [("self.relu(self.bn2(self.conv2(out)))", "self.bn2(self.conv2(out))")],
        {RELU_BETWEEN: "no ReLU between convolution 2 (conv2) and convolution 3 (conv3)"},
    ),
    "ReLU after the last BatchNorm": (
        [("self.bn3(self.conv3(out))", "self.relu(self.bn3(self.conv3(out)))")],
        {RELU_AFTER: "before the addition as well"},
    ),
    "one BatchNorm for two convolutions": (
        [("self.bn2(", "self.bn1("), ("self.bn2 = nn.BatchNorm2d(channels)", "pass")],
        {PLACE: "bn1 runs in more than one place"},
    ),
    "padding on a 1×1": (
        [("nn.Conv2d(in_channels, channels, 1,", "nn.Conv2d(in_channels, channels, 1, padding=1,")],
        {"padding": "convolution 1 (conv1) takes 8×6 to 10×8: a 1×1 convolution needs padding=0"},
        ["runs"],
    ),
    "3×3 everywhere": (
        [("nn.Conv2d(in_channels, channels, 1,", "nn.Conv2d(in_channels, channels, 3, padding=1,")],
        {"convolutions": "convolution 1 (conv1) is 3×3 from 24 to 6 channels, 1,296 weights; it should be 1×1"},
    ),
    "projection without BatchNorm": (
        [(", nn.BatchNorm2d(channels * 4))", ")")],
        {PROJECTION_NORM: "no BatchNorm follows the projection"},
    ),
    "a basic block": (
        [(BOTTLENECK, BASIC)],
        {
            "convolutions": "convolution 1 (conv1) is 3×3",
            "shapes": "instead of 24 channels",
            "expansion": "should be 4",
        },
        ["stride", "projection", IDENTITY],
    ),
}


@pytest.mark.parametrize("mistake", BOTTLENECK_MISTAKES)
def test_a_mistake_in_a_bottleneck_is_told(mistake):
    edits, *expected = BOTTLENECK_MISTAKES[mistake]
    assert_told(check_bottleneck(learn(BOTTLENECK, *edits)), *expected)


STRIDE_FIRST, RUNNING = "stride on the first block alone", "running in_channels"
MAKE_LAYER_MISTAKES = {
    "one block repeated": (
        [("nn.Sequential(*layers)", "nn.Sequential(layers[0], *[layers[-1]] * (num_blocks - 1))")],
        {"a new block each time": "[block] * n repeats one block"},
    ),
    "in_channels not updated": (
        [("in_channels = channels * block.expansion", "pass")],
        {RUNNING: "make_layer(BasicBlock, 8, 16, 2, 2): the blocks' in_channels are [8, 8] instead of [8, 16]"},
    ),
    "in_channels without the expansion": (
        [("channels * block.expansion", "channels")],
        {RUNNING: "make_layer(Bottleneck, 8, 8, 3, 1): the blocks' in_channels are [8, 8, 8] instead of [8, 32, 32]"},
    ),
    "stride on every block": (
        [("stride if i == 0 else 1", "stride")],
        {STRIDE_FIRST: "[2, 2] instead of [2, 1]"},
        ["shapes"],
    ),
    "stride on the last block": (
        [("i == 0", "i == num_blocks - 1")],
        {STRIDE_FIRST: "[1, 2] instead of [2, 1]: the first block takes the stride"},
    ),
    "stride forgotten": ([("stride if i == 0 else 1", "1")], {STRIDE_FIRST: "[1, 1] instead of [2, 1]"}, ["shapes"]),
    "one block too few": (
        [("i in range(num_blocks)", "i in range(num_blocks - 1)")],
        {"number of blocks": "2 blocks run instead of 3"},
        ["shapes"],
    ),
    "one block too many": (
        [("i in range(num_blocks)", "i in range(num_blocks + 1)")],
        {"number of blocks": "4 blocks run instead of 3"},
    ),
    "channels multiplied by the expansion": (
        [("block(in_channels, channels,", "block(in_channels, channels * block.expansion,")],
        {"channels": "every block takes channels, 8, and widens it itself"},
        ["shapes"],
    ),
    "list not unpacked": ([("*layers", "layers")], {"runs": "unpack the list: nn.Sequential(*blocks)"}),
    "return forgotten": ([("return nn", "nn")], {"returns blocks": "end it with return"}),
    "a class returned": ([("nn.Sequential(*layers)", "block")], {"returns blocks": "an object of type type"}),
    "wrong arguments": ([("num_blocks, stride=1", "num_blocks")], {"runs": "5 were given"}),
}


@pytest.mark.parametrize("mistake", MAKE_LAYER_MISTAKES)
def test_a_mistake_in_make_layer_is_told(mistake):
    edits, *expected = MAKE_LAYER_MISTAKES[mistake]
    assert_told(check_make_layer(learn(MAKE_LAYER, *edits)), *expected)


IF_STAGE_CHANGES = "stride != 1 or inplanes != planes * block.expansion"


@pytest.mark.parametrize(
    ("edit", "phrase"),
    [
        ((IF_STAGE_CHANGES, "stride != 1"), "from 8 to 32 channels with stride 1 gets no downsample"),
        ((IF_STAGE_CHANGES, "True"), "from 8 to 8 channels with stride 1 gets a downsample, and it keeps its shape"),
        (("1, stride, bias", "1, bias"), "puts out 16 channels of 8×6 instead of 16 channels of 4×3"),
        (("nn.BatchNorm2d(planes * block.expansion),", ""), "has no BatchNorm"),
        (
            ("nn.BatchNorm2d(planes * block.expansion)", "nn.BatchNorm2d(planes)"),
            "BatchNorm must have as many channels",
        ),
    ],
)
def test_a_make_layer_that_hands_projections_must_hand_the_right_ones(edit, phrase):
    assert_told(check_make_layer(learn(MAKE_LAYER_TORCHVISION_STYLE, edit)), {"downsample": phrase})


STAGES = "blocks in each stage"
NETWORK_MISTAKES = {
    "max pooling missing": (
        {},
        [("nn.MaxPool2d(3, stride=2, padding=1),", "")],
        {"stem": "max pooling is missing"},
    ),
    "max pooling of 2": ({}, [("(3, stride=2, padding=1),", "(2),")], {"stem": "3×3 max pooling with stride 2"}),
    "ReLU missing in the stem": ({}, [("nn.ReLU(inplace=True),", "")], {"stem": "the ReLU between"}),
    "BatchNorm missing in the stem": (
        {},
        [("nn.BatchNorm2d(64),", "")],
        {"stem": "no BatchNorm", "parameters": "(-128)"},
    ),
    "stem for small images": (
        {},
        [("3, 64, 7, stride=2, padding=3", "3, 64, 3, stride=1, padding=1")],
        {"stem": "its convolution is 3×3, to 64 channels, with stride 1"},
        ["parameters"],
    ),
    "a tutorial's [2, 4, 6, 3]": (
        {"depth": 50, "counts": (2, 4, 6, 3)},
        [],
        {STAGES: "the stages have [2, 4, 6, 3] blocks; ResNet-50 has [3, 4, 6, 3]", "parameters": "(-70,400)"},
    ),
    "basic blocks in ResNet-50": (
        {"depth": 50, "block": blocks.BasicBlock},
        [],
        {STAGES: "ResNet-50 is built of bottlenecks", "head": "512 · expansion"},
        ["parameters"],
    ),
    "widths that are not doubled": (
        {},
        [("64 * 2**i", "64 * (i + 1)")],
        {STAGES: "64, 128, 256 and 512 channels"},
        ["parameters", "head"],
    ),
    "head without expansion": (
        {"depth": 50},
        [("nn.Linear(in_channels", "nn.Linear(512")],
        {
            "head": "takes 512 features, and the last stage puts out 2048, that is 512 · expansion",
            "runs": "in_features",
        },
        ["parameters"],
    ),
    "wrong number of classes": (
        {},
        [("(in_channels, num_classes)", "(in_channels, 100)")],
        {"head": "100 classes instead of 10", "shapes": "(2, 100) instead of shape (2, 10)"},
        ["parameters"],
    ),
    "softmax in the head": (
        {},
        [("return self.fc(x)", "return self.fc(x).softmax(1)")],
        {"head": "softmax follows the linear layer: cross_entropy applies softmax itself"},
    ),
    "ReLU in the head": ({}, [("return self.fc(x)", "return F.relu(self.fc(x))")], {"head": "ReLU follows"}),
    "two linear layers": (
        {},
        [
            ("(in_channels, num_classes)", "(in_channels, 10); self.fc2 = nn.Linear(10, 10)"),
            ("self.fc(x)", "self.fc2(self.fc(x))"),
        ],
        {"head": "2 linear layers run"},
        ["parameters"],
    ),
    "flattened without pooling": (
        {},
        [("self.pool(x)", "x"), ("nn.Linear(in_channels", "nn.Linear(49 * in_channels")],
        {"head": "gets 25088 features, an image flattened without pooling"},
        ["parameters"],
    ),
    "pooling forgotten": (
        {},
        [("self.pool(x)", "x")],
        {"head": "gets 2048 features, an image flattened without pooling", "runs": "mat1 and mat2"},
    ),
    "flattening forgotten": (
        {},
        [("self.pool(x).flatten(1)", "self.pool(x)")],
        {"head": "gets shape (2, 512, 1, 1): flatten it", "runs": "mat1 and mat2"},
    ),
    "maximum for the average": ({}, [("AdaptiveAvgPool2d", "AdaptiveMaxPool2d")], {"head": "takes the maximum"}),
    "stride in the first stage, too": (
        {},
        [("2 if i > 0 and j == 0 else 1", "2 if j == 0 else 1")],
        {
            "stride": "stage 1, block 1: the strides along the branch are 2, 1, not 1, 1",
            "projection": "stage 1, block 1",
        },
        ["parameters"],
    ),
    "stride on every block": (
        {},
        [("2 if i > 0 and j == 0 else 1", "2 if i > 0 else 1")],
        {"stride": "stage 2, block 2", "projection": "stage 2, block 2"},
        ["parameters"],
    ),
    "blocks shared within a stage": (
        {},
        [("stages.append(", "stages.append(stages[-1] if j == 1 and i == 0 else ")],
        {PLACE: "stages.0.conv1, stages.0.bn1, stages.0.conv2 and 1 more runs in more than one place"},
        ["parameters"],
    ),
    "stages in a plain list": (
        {},
        [
            ("self.stages = nn.Sequential(*stages)", "self.list = stages"),
            ("self.stages(self.stem(x))", "self.stem(x)"),
            ("        x = self.pool", "        for s in self.list: x = s(x)\n        x = self.pool"),
        ],
        {"registered layers": "38 of the 41 layers that run", "parameters": "14,666 parameters instead of 11,181,642"},
        ["evaluation mode"],
    ),
    "dropout before the head": (
        {},
        [("self.fc(x)", "self.fc(F.dropout(x, 0.2, self.training))")],
        {"no randomness": "dropout is left in"},
    ),
    "stages detached": ({}, [("self.stem(x))", "self.stem(x)).detach()")], {"gradients": "stem.0.weight"}),
    "in place on the image": ({}, [("self.stem(x)", "self.stem(x.mul_(2))")], {"input left as it was": "changed"}),
    "blocks without addition": (
        {"block": [("out + identity", "out + 0 * identity")]},
        [],
        {"addition": "stage 1, block 1: the shortcut is never added"},
    ),
    "blocks with ReLU before the addition": (
        {"block": [("self.relu(out + identity)", "self.relu(out) + identity")]},
        [],
        {RELU_AFTER: "stage 1, block 1: the ReLU comes before the addition"},
    ),
    "blocks without their first ReLU": (
        {"block": [("self.relu(self.bn1(self.conv1(x)))", "self.bn1(self.conv1(x))")]},
        [],
        {RELU_BETWEEN: "between convolution 1 (stages.0.conv1) and convolution 2 (stages.0.conv2)"},
    ),
    "projections without BatchNorm": (
        {"block": [(", nn.BatchNorm2d(channels))", ")")]},
        [],
        {PROJECTION_NORM: "stage 2, block 1: no BatchNorm follows the projection (stages.2.shortcut.0)"},
        ["parameters"],
    ),
    "blocks with a kernel of 5": (
        {"block": [("channels, channels, 3, padding=1", "channels, channels, 5, padding=2")]},
        [],
        {"convolutions": "stage 1, block 1: convolution 2 (stages.0.conv2) is 5×5", "parameters": "(+11,141,120)"},
    ),
}


@pytest.mark.parametrize("mistake", NETWORK_MISTAKES)
def test_a_mistake_in_a_network_is_told(mistake):
    options, edits, *expected = NETWORK_MISTAKES[mistake]
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    depth = options.get("depth", 18)
    assert_told(check_resnet(build(*edits, **options), depth, 10), *expected)


def test_a_plain_network_lacks_its_shortcuts():
    told = {"addition": "stage 1, block 1: the shortcut is never added", "projection": "one is due"}
    assert_told(check_resnet(networks.plain18(10), 18, 10), told, ["parameters"])


def test_a_network_of_another_depth_is_told():
    told = {STAGES: "the stages have [2, 2, 2, 2] blocks; ResNet-34 has [3, 4, 6, 3]"}
    assert_told(check_resnet(networks.resnet18(10), 34, 10), told, ["parameters"])


# A wrong argument, and an error of the learner's, is a sentence.


@pytest.mark.parametrize(
    ("report", "phrase"),
    [
        (lambda: check_residual(blocks.Residual(3, 3)), "pass Residual, without parentheses"),
        (lambda: check_basic_block("BasicBlock"), "it takes a class, got an object of type str"),
        (lambda: check_bottleneck(None), "an object of type NoneType"),
        (lambda: check_make_layer(nn.Sequential()), "it takes a function"),
        (lambda: check_resnet(networks.resnet18, 18), "such as resnet18(), got an object of type function"),
        (lambda: check_resnet(nn.ReLU(), 20), "depth must be one of 18, 34, 50, 101, 152, got 20"),
        (lambda: check_resnet(nn.ReLU(), [18]), "got [18]"),
        (lambda: check_resnet(nn.ReLU(), 18, 0), "num_classes must be a whole number from 1 up, got 0"),
    ],
)
def test_a_wrong_argument_is_told_in_a_sentence(report, phrase):
    report = report()
    assert_told(report, {"argument": phrase})


@pytest.mark.parametrize(
    "check", [check_residual, check_basic_block, check_bottleneck, check_make_layer, partial(check_resnet, depth=18)]
)
@pytest.mark.parametrize(
    "thing", [int, print, lambda *args: None, nn.ReLU(), nn.Module, nn.Linear(2, 2), 3, [nn.ReLU()]]
)
def test_nothing_that_is_handed_in_makes_a_check_raise(check, thing):
    report = check(thing)
    assert not report.ok
    assert str(report).startswith("check_")


def test_a_model_that_cant_be_copied_is_told():
    model = nn.ReLU()
    model.kept = torch.ones(1, requires_grad=True) * 2
    assert "deepcopy" in texts(check_resnet(model, 18), "wrong")["argument"]


def test_an_error_is_told_with_arguments_place_and_line():
    source = learn.__globals__["BASIC"].replace("self.bn2(self.conv2(out))", "self.bn2(self.conv9(out))")
    linecache.cache["<cell 7>"] = (len(source), None, source.splitlines(keepends=True), "<cell 7>")
    names = {"torch": torch, "nn": nn, "F": F}
    exec(compile(source, "<cell 7>", "exec"), names)
    told = texts(check_basic_block(names["Block"]), "wrong")["runs"]
    assert told.startswith("Block(6, 6, 1): forward fails on an input of shape (3, 6, 8, 6): AttributeError: ")
    assert told.endswith("has no attribute 'conv9', at `out = self.bn2(self.conv9(out))`")


def test_an_error_in_the_constructor_is_told_as_such():
    cls = learn(BASIC, ("super().__init__()", "super().__init__(); raise ValueError('no\\nsecond line')"))
    told = texts(check_basic_block(cls), "wrong")
    assert list(told) == ["runs"]
    assert told["runs"].startswith("Block(6, 6, 1): the constructor fails: ValueError: no")
    assert "second line" not in told["runs"]


def test_an_error_in_the_call_of_the_class_shows_no_line_of_the_checks_own():
    told = texts(check_basic_block(learn(BASIC, ("stride=1)", "stride, groups)"))), "wrong")
    assert told["runs"].startswith("Block(6, 6, 1): the constructor fails: TypeError: ")
    assert " at `" not in told["runs"]


@pytest.mark.parametrize("condition", ["self.training", "self.training or self.conv1.stride == (1, 1)"])
def test_an_error_that_only_evaluation_meets_leaves_its_line_open(condition):
    cls = learn(BASIC, ("    def forward(self, x):\n", f"    def forward(self, x):\n        assert {condition}\n"))
    report = check_basic_block(cls)
    assert not report.ok and not texts(report, "wrong")
    assert "AssertionError" in texts(report, "open")["evaluation mode"]


# A check leaves no trace.


@pytest.mark.parametrize(
    "run",
    [
        lambda: check_residual(blocks.Residual),
        lambda: check_bottleneck(blocks.Bottleneck),
        lambda: check_make_layer(networks.make_layer),
        lambda: check_resnet(networks.plain18(10), 18, 10),
    ],
)
def test_the_random_state_stays(run):
    torch.manual_seed(3)
    if "plain18" in run.__code__.co_names:
        model = networks.plain18(10)
        run = partial(check_resnet, model, 18, 10)
    before = torch.get_rng_state()
    run()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_class_gives_the_same_report():
    cls = learn(
        BASIC, ("    def forward(self, x):\n", "    def forward(self, x):\n        raise ValueError(torch.rand(1))\n")
    )
    reports = []
    for seed in range(2):
        torch.manual_seed(seed)
        reports.append(str(check_basic_block(cls)))
    assert "tensor(" in reports[0]
    assert reports[0] == reports[1]


def test_the_model_stays_as_it_was():
    model = networks.resnet18(10).eval()
    state = copy.deepcopy(model.state_dict())
    check_resnet(model, 18, 10)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.momentum == 0.1 for module in model.modules() if isinstance(module, nn.BatchNorm2d))


def test_a_frozen_model_is_checked_and_stays_frozen():
    model = networks.resnet18(10).requires_grad_(False)
    assert_right(check_resnet(model, 18, 10))
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_printed_lines_and_warnings_of_the_learner_are_held_back(capsys):
    noise = "import warnings; warnings.warn('careful'); print(x.shape)"
    cls = learn(BASIC, ("    def forward(self, x):\n", f"    def forward(self, x):\n        {noise}\n"))
    assert_right(check_basic_block(cls))
    assert capsys.readouterr() == ("", "")


def test_a_check_leaves_the_number_of_threads_as_it_was():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        check_make_layer(networks.make_layer)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_a_check_works_where_gradients_are_off():
    with torch.no_grad():
        assert_right(check_basic_block(blocks.BasicBlock))
        assert not torch.is_grad_enabled()


# The report.


def test_the_report_shows_what_is_wrong_first_and_keeps_the_order_of_the_lines():
    report = check_basic_block(learn(BASIC, ("out + identity", "identity - out"), ("bias=False", "bias=True")))
    shown = str(report).splitlines()
    assert repr(report) == str(report)
    assert shown[0] == "check_basic_block: 1 of 22 properties wrong"
    assert shown[1].startswith("  wrong  addition: Block(6, 6, 1): ")
    assert [line.split()[0] for line in shown if line[2] != " "][1:] == ["wrong", "note"] + ["right"] * 21
    assert [line.name for line in report.lines][:3] == ["runs", "output", "shapes"]
    assert max(map(len, shown)) <= 100


def test_open_lines_are_shown_together():
    report = check_basic_block(learn(BASIC, ("return self.relu(", "self.relu(")))
    shown = [line for line in str(report).splitlines() if line.startswith("  open")]
    assert len(texts(report, "open")) > len(shown) == 1
    assert shown[0].startswith("  open   not to be told before the rest is right: shapes, ")
