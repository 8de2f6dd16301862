"""Learners' blocks: right and with planted mistakes, in three styles from one description; and what reports say."""

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

STYLES = ("modules", "sequential", "functional")


def texts(report, *verdicts):
    return {line.name: line.text for line in report.lines if line.verdict in verdicts}


def assert_right(report):
    assert report.ok and report, str(report)
    assert len(texts(report, "right")) >= 6


def assert_told(report, told, only=True):
    """The lines of ``told`` (name: phrase) are wrong, and, with ``only``, no others."""
    wrong = texts(report, "wrong")
    for name, phrase in told.items():
        assert phrase in wrong.get(name, ""), f"{name} does not say {phrase!r}:\n{report}"
    assert not only or set(wrong) == set(told), f"other lines are wrong than expected:\n{report}"
    assert not report.ok and not report


# One description of a block, built in three styles. A mistake is a change of the description.

RIGHT = {
    "branch": "conv/ bn relu conv bn",  # conv/ takes the stride
    "join": lambda branch, shortcut, x: branch + shortcut,
    "after": "relu",
    "shortcut": "proj/ bn",  # where the shape changes
    "identity": "",  # where it does not
    "start": lambda x: x,  # what happens to the input first
    "end": lambda out, x: out,  # what happens last
}


def make_layer(token, style, channels_in, channels_out, stride):
    """One step of a description as a module, or, in functional style, as a module that calls functions."""
    kind = token.rstrip("/")
    stride = stride if token.endswith("/") else 1
    options = {
        "conv": {}, "proj": {"kernel_size": 1}, "conv1": {"kernel_size": 1}, "conv5": {"kernel_size": 5},
        "proj3": {"kernel_size": 3}, "unpadded": {"padding": 0}, "grouped": {"groups": 2},
        "dilated": {"padding": 2, "dilation": 2}, "reflect": {"padding_mode": "reflect"},
    }  # fmt: skip
    if kind in options:
        kernel = options[kind].get("kernel_size", 3)
        given = {"kernel_size": kernel, "padding": kernel // 2, "stride": stride, "bias": False} | options[kind]
        conv = nn.Conv2d(channels_in, channels_out, **given)
        if style == "functional" and kind != "reflect":
            return Functional(conv, lambda m, x: F.conv2d(x, m.weight, None, m.stride, m.padding, m.dilation, m.groups))
        return conv
    makers = {
        "bn": lambda: nn.BatchNorm2d(channels_in), "gn": lambda: nn.GroupNorm(3, channels_in),
        "instance": lambda: nn.InstanceNorm2d(channels_in, affine=True), "relu": nn.ReLU, "gelu": nn.GELU,
        "leaky": nn.LeakyReLU, "relu6": nn.ReLU6, "sigmoid": nn.Sigmoid, "dropout": nn.Dropout,
        "resting": lambda: Functional(
            nn.BatchNorm2d(channels_in), lambda m, x: F.batch_norm(x, m.running_mean, m.running_var, m.weight, m.bias)
        ),
        "average": lambda: nn.AvgPool2d(stride), "largest": lambda: nn.MaxPool2d(stride),
        "fc": lambda: Functional(nn.Linear(channels_in, channels_out), lambda m, x: m(x.movedim(1, 3)).movedim(3, 1)),
    }  # fmt: skip
    module = makers[kind]()
    if style == "functional" and kind == "relu":
        return Functional(module, lambda m, x: x.clamp(min=0))
    if style == "functional" and kind == "bn":
        return Functional(
            module,
            lambda m, x: F.batch_norm(x, m.running_mean, m.running_var, m.weight, m.bias, m.training, 0.1, m.eps),
        )
    return module


class Functional(nn.Module):
    """A layer of which only the parameters are used."""

    def __init__(self, layer, call):
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, x):
        return self.call(self.layer, x)


def plant(style="modules", **changes):
    """A class of blocks with the right description, but for the changes."""
    told = RIGHT | {name: change for name, change in changes.items() if name in RIGHT}

    class Block(nn.Module):
        expansion = 1

        def __init__(self, in_channels, channels, stride=1):
            super().__init__()
            changed = changes.get("shape_changes", lambda i, o, s: s != 1 or i != o)(in_channels, channels, stride)
            self.branch = self.make(told["branch"], in_channels, channels, stride)
            self.shortcut = self.make(told["shortcut" if changed else "identity"], in_channels, channels, stride)
            self.after = self.make(told["after"], channels, channels, 1)
            changes.get("build", lambda block: None)(self)

        @staticmethod
        def make(line, channels_in, channels_out, stride):
            modules = []
            for token in line.split():
                modules.append(make_layer(token, style, channels_in, channels_out, stride))
                channels_in = getattr(getattr(modules[-1], "layer", modules[-1]), "out_channels", channels_in)
            return nn.Sequential(*modules) if style == "sequential" else nn.ModuleList(modules)

        def run(self, layers, x):
            if style == "sequential":
                return layers(x)
            for layer in layers:
                x = layer(x)
            return x

        def forward(self, x):
            start = told["start"](x)
            branch = changes.get("go", lambda block, y: block.run(block.branch, y))(self, start)
            total = told["join"](branch, self.run(self.shortcut, x), x)
            return told["end"](self.run(self.after, total), x)

    return Block


def share(first, second):
    """Let one layer of the branch stand in two places."""

    def build(block):
        block.branch[second] = block.branch[first]

    return build


def lose(block):
    """Keep a layer where parameters() does not find it."""
    hidden, block.branch[3] = block.branch[3], nn.Identity()
    block.branch[3].forward = lambda x: hidden(x)


ADD, STEPS, SHORTCUT, CONVOLUTIONS = "addition", "steps", "shortcut", "convolutions"
UNUSED = {"layers": "nothing that runs takes it"}
MISTAKES = {
    "nothing is added": ({"join": lambda b, s, x: b + 0 * s}, {ADD: "the shortcut is never added"}),
    "the branch is left out": ({"join": lambda b, s, x: s + 0 * b}, {ADD: "the branch is never added"}),
    "added twice": ({"join": lambda b, s, x: b + s + s}, {ADD: "the shortcut is added twice"}),
    "the branch twice": ({"join": lambda b, s, x: b + b + s}, {ADD: "the branch is added twice"}),
    "x += x": ({"join": lambda b, s, x: b + b + 0 * s}, {ADD: "added to itself"}),
    "subtracted": ({"join": lambda b, s, x: b - s}, {ADD: "subtracted"}),
    "multiplied": ({"join": lambda b, s, x: b * s}, {ADD: "multiplied"}),
    "averaged": ({"join": lambda b, s, x: (b + s) / 2}, {ADD: "the average"}),
    "scaled": ({"join": lambda b, s, x: 0.1 * b + s}, {ADD: "0.1 times the branch"}),
    "the output scaled": ({"end": lambda out, x: 0.2 * out}, {STEPS: "stands `bn + relu times 0.2`"}),
    "concatenated": ({"join": lambda b, s, x: torch.cat([b, s], 1)}, {ADD: "concatenated", "output": "12 channels"}),
    "the larger one": ({"join": lambda b, s, x: torch.maximum(b, s)}, {STEPS: "the numbers part"}),
    "ReLU before the addition": ({"branch": "conv/ bn relu conv bn relu", "after": ""},
     {STEPS: "the ReLU comes before the addition: add first"}),
    "ReLU before as well": ({"branch": "conv/ bn relu conv bn relu"}, {STEPS: "before the addition as well"}),
    "no last ReLU": ({"after": ""}, {STEPS: "no ReLU follows the addition"}),
    "leaky ReLU": ({"after": "leaky"}, {STEPS: "stands `bn + leaky_relu` instead of `bn + relu`"}),
    "ReLU6": ({"after": "relu6"}, {STEPS: "instead of `bn + relu`"}),
    "a sigmoid": ({"after": "sigmoid"}, {STEPS: "stands `bn + sigmoid` instead of `bn + relu`"}),
    "BatchNorm after the addition": ({"branch": "conv/ bn relu conv", "after": "bn relu"},
     {STEPS: "a BatchNorm comes after the addition"}),
    "no ReLU between": ({"branch": "conv/ bn conv bn"}, {STEPS: "no ReLU between convolution 1"}),
    "no first BatchNorm": ({"branch": "conv/ relu conv bn"}, {STEPS: "no BatchNorm follows convolution 1"}),
    "no second BatchNorm": ({"branch": "conv/ bn relu conv"}, {STEPS: "no BatchNorm follows convolution 2"}),
    "nothing between": ({"branch": "conv/ conv bn"}, {STEPS: "neither BatchNorm nor ReLU between"}),
    "BatchNorm after ReLU": ({"branch": "conv/ relu bn conv bn"}, {STEPS: "comes after the ReLU"}),
    "GELU between": ({"branch": "conv/ bn gelu conv bn"}, {STEPS: "stands `bn gelu` instead of `bn relu`"}),
    "full pre-activation": ({"branch": "bn relu conv/ bn relu conv", "after": ""}, {STEPS: "full pre-activation"}),
    "ReLU-only pre-activation": ({"branch": "relu conv/ bn relu conv bn", "after": ""},
     {STEPS: "ReLU-only pre-activation"}),
    "ReLU first": ({"branch": "relu conv/ bn relu conv bn"}, {STEPS: "`relu` stands before convolution 1"}),
    "ReLU on the shortcut": ({"shortcut": "proj/ bn relu", "identity": "relu"},
     {SHORTCUT: "the shortcut carries ReLU of the input"}),
    "ReLU on the projection": ({"shortcut": "proj/ bn relu"}, {SHORTCUT: "ReLU of the projection"}),
    "projection without BatchNorm": ({"shortcut": "proj/"}, {SHORTCUT: "no BatchNorm follows the projection"}),
    "a pooled shortcut": ({"shortcut": "average/ proj bn"}, {SHORTCUT: "as ResNet-D does"}),
    "a max-pooled shortcut": ({"shortcut": "largest/ proj bn"}, {SHORTCUT: "carries `max_pool2d proj bn`"}),
    "projection never": ({"shape_changes": lambda i, o, s: False},
     {SHORTCUT: "the shortcut is the input as it came", "runs": "differ in shape"}),
    "projection only with a stride": ({"shape_changes": lambda i, o, s: s != 1},
     {SHORTCUT: "12 channels of 8×6 on the branch, 6 channels of 8×6 on the shortcut", "runs": "differ in shape"}),
    "stride on the second": ({"branch": "conv bn relu conv/ bn"},
     {CONVOLUTIONS: "with stride 2; it should be 3×3 from 12 to 12 channels with stride 1"}),
    "stride on both": ({"branch": "conv/ bn relu conv/ bn"}, {CONVOLUTIONS: "convolution 2", "runs": "shape"}),
    "no stride on the branch": ({"branch": "conv bn relu conv bn"}, {CONVOLUTIONS: "convolution 1", "runs": "shape"}),
    "no stride on the shortcut": ({"shortcut": "proj bn"}, {CONVOLUTIONS: "the projection", "runs": "shape"}),
    "no padding": ({"branch": "unpadded/ bn relu conv bn"},
     {CONVOLUTIONS: "with stride 1 and padding=1, zeros on all sides", "runs": "shape"}),
    "reflected padding": ({"branch": "reflect/ bn relu conv bn"}, {CONVOLUTIONS: "and other padding; it should be"}),
    "a kernel of 5": ({"branch": "conv/ bn relu conv5 bn"},
     {CONVOLUTIONS: "5×5 from 6 to 6 channels with stride 1; it should be 3×3"}),
    "a kernel of 1": ({"branch": "conv/ bn relu conv1 bn"}, {CONVOLUTIONS: "convolution 2"}),
    "a projection of 3×3": ({"shortcut": "proj3/ bn"}, {CONVOLUTIONS: "is 3×3 from 6 to 12"}),
    "three convolutions": ({"branch": "conv/ bn relu conv bn relu conv bn"},
     {CONVOLUTIONS: "there are 3×3, 3×3, 3×3; there should be 3×3, 3×3"}),
    "one convolution": ({"branch": "conv/ bn"}, {CONVOLUTIONS: "there are 3×3; there should be 3×3, 3×3"}),
    "groups": ({"branch": "conv/ bn relu grouped bn"}, {CONVOLUTIONS: "in 2 groups, as in ResNeXt"}),
    "dilation": ({"branch": "conv/ bn relu dilated bn"}, {CONVOLUTIONS: "dilation 2"}),
    "GroupNorm": ({"branch": "conv/ gn relu conv gn"}, {STEPS: "GroupNorm"}),
    "InstanceNorm": ({"branch": "conv/ instance relu conv bn"}, {STEPS: "InstanceNorm"}),
    "running statistics": ({"branch": "conv/ resting relu conv bn"}, {STEPS: "running statistics while training"}),
    "dropout": ({"branch": "conv/ bn relu dropout conv bn"}, {"evaluation mode": "dropout"}),
    "one BatchNorm twice": ({"build": share(1, 4)}, {"layers": "runs in more than one place"}),
    "a hidden layer": ({"build": lose}, {"layers": "1 of the"}),
    "an unused layer": ({"build": lambda block: setattr(block, "more", nn.Linear(3, 3))}, UNUSED),
    "the input changed": ({"end": lambda out, x: (x.data.add_(1), out)[1]},
     {"input left as it was": "write out = out + x"}),
    "the input activated": ({"end": lambda out, x: (x.data.relu_(), out)[1]},
     {"input left as it was": "ReLU of itself"}),
    "a cut shortcut": ({"join": lambda b, s, x: b + s.detach()}, {"gradients": "none passes the shortcut"}),
    "a cut branch": ({"join": lambda b, s, x: b.detach() + s}, {"gradients": "no gradient reaches"}),
    "no gradient": ({"end": lambda out, x: out.detach()}, {"gradients": "no gradient comes back at all"}),
    "random": ({"end": lambda out, x: out + torch.rand(1)},
     {"evaluation mode": "draws random", STEPS: "stands `bn + relu add`"}),
    "not a number": ({"end": lambda out, x: out * float("nan")}, {"output": "NaN comes out"}),
    "a tuple": ({"end": lambda out, x: (out, x)}, {"output": "returns a tuple"}),
    "nothing returned": ({"end": lambda out, x: None}, {"output": "end it with return"}),
    "no convolution": ({"branch": "bn", "shortcut": ""}, {"runs": "no convolution runs", "output": "instead of"}),
    "an error": ({"start": lambda x: x.wrong}, {"runs": "AttributeError"}),
}  # fmt: skip


def mistaken(mistake, style="modules"):
    return plant(style, **MISTAKES[mistake][0])


def edit(source, *edits):
    """The text after edits (old, new), each of which must apply."""
    for old, new in edits:
        assert old in source, f"the source has no {old!r}"
        source = source.replace(old, new)
    return source


def learn(source, *edits):
    """What the learner's text defines last."""
    names = {"torch": torch, "nn": nn, "F": F, "torchvision": torchvision}
    exec(edit(source, *edits), names)
    return list(names.values())[-1]


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
BOTTLENECK = edit(
    BASIC,
    ("expansion = 1", "expansion = 4"),
    ("in_channels, channels, 3, stride=stride, padding=1", "in_channels, channels, 1"),
    ("channels, channels, 3, padding=1", "channels, channels, 3, stride=stride, padding=1"),
    (
        "        self.relu = nn",
        "        self.conv3 = nn.Conv2d(channels, channels * 4, 1, bias=False)\n        self.relu = nn",
    ),
    ("        self.relu = nn", "        self.bn3 = nn.BatchNorm2d(channels * 4)\n        self.relu = nn"),
    ("in_channels != channels", "in_channels != channels * 4"),
    ("projection = nn.Conv2d(in_channels, channels,", "projection = nn.Conv2d(in_channels, channels * 4,"),
    ("projection, nn.BatchNorm2d(channels)", "projection, nn.BatchNorm2d(channels * 4)"),
    (
        "        out = self.bn2(self.conv2(out))",
        "        out = self.relu(self.bn2(self.conv2(out)))\n        out = self.bn3(self.conv3(out))",
    ),
)
