"""The checks of stages and whole networks: what is right passes in any style, and a mistake is told where it is."""

import copy

import numpy as np
import pytest
import torch
import torchvision
from learners_code import BASIC, assert_right, assert_told, learn, mistaken, texts
from torch import nn

from resnet_course.checks import check_cifar_form, check_make_layer, check_resnet, check_training
from resnet_lib import blocks, networks
from resnet_lib.orderings import ORDERINGS, OrderedResNet

pytestmark = pytest.mark.usefixtures("one_thread")

# Stages.

MAKE_LAYER = """
def make_layer(block, in_channels, channels, num_blocks, stride=1):
    layers = []
    for i in range(num_blocks):
        layers.append(block(in_channels, channels, stride if i == 0 else 1))
        in_channels = channels * block.expansion
    return nn.Sequential(*layers)
"""
HANDING = """
def make_layer(block, inplanes, planes, blocks, stride=1):
    downsample = None
    if stride != 1 or inplanes != planes * block.expansion:
        downsample = nn.Sequential(
            nn.Conv2d(inplanes, planes * block.expansion, 1, stride, bias=False),
            nn.BatchNorm2d(planes * block.expansion),
        )
    layers = [block(inplanes, planes, stride, downsample, 1, 64, 1, nn.BatchNorm2d)]
    for _ in range(1, blocks):
        layers.append(block(planes * block.expansion, planes, groups=1, base_width=64, dilation=1))
    return nn.Sequential(*layers)
"""
AS_LIST = """
def stage(block, c_in, c, n, s):
    wide = c * block.expansion
    return [block(c_in=c_in, c=c, stride=np.int64(s))] + [block(c_in=wide, c=c, stride=1) for _ in range(n - 1)]
"""


@pytest.mark.parametrize("source", [MAKE_LAYER, HANDING, AS_LIST])
def test_a_right_stage_passes(source):
    function = learn(source)
    function.__globals__["np"] = np
    assert_right(check_make_layer(function))


FIRST, RUNNING = "stride on the first block alone", "running in_channels"
STAGE_MISTAKES = {
    "one repeated": ("(*layers)", "(layers[0], *[layers[-1]] * (num_blocks - 1))", {"number of blocks": "repeats one"}),
    "not updated": ("in_channels = channels * block.expansion", "pass", {RUNNING: "get [8, 8] instead of [8, 16]"}),
    "no expansion": ("channels * block.expansion", "channels", {RUNNING: "[8, 8, 8] instead of [8, 32, 32]"}),
    "stride on the last": ("i == 0", "i == num_blocks - 1", {FIRST: "[1, 2] instead of [2, 1]"}),
    "stride on all": ("stride if i == 0 else 1", "stride",
     {FIRST: "[2, 2] instead of [2, 1]", "shapes": "16 channels of 2×2"}),
    "stride on none": ("stride if i == 0 else 1", "1",
     {FIRST: "[1, 1] instead of [2, 1]", "shapes": "16 channels of 8×6"}),
    "expanded twice": ("(in_channels, channels,", "(in_channels, channels * block.expansion,",
     {"channels": "every block takes channels, and widens it itself", "shapes": "128 channels"}),
    "one too many": ("(num_blocks)", "(num_blocks + 1)", {"number of blocks": "4 blocks run instead of 3"}),
    "not unpacked": ("*layers", "layers", {"runs": "unpack the list: nn.Sequential(*blocks)"}),
    "return forgotten": ("return nn", "nn", {"runs": "end it with return"}),
    "a class returned": ("nn.Sequential(*layers)", "block", {"runs": "an object of type type"}),
    "wrong arguments": ("num_blocks, stride=1", "num_blocks", {"runs": "5 were given"}),
    "a flag for the stride": ("stride if i == 0 else 1", "stride > 1", {"runs": "takes a number for its stride, got"}),
    "exit": ("    layers = []", "    raise SystemExit\n    layers = []", {"runs": "SystemExit"}),
}  # fmt: skip
HANDING_MISTAKES = {
    "a projection without the stride": ("1, stride, bias", "1, bias",
     {"runs": "is handed puts out 16 channels of 8×6 instead of 16 channels of 4×3"}),
    "a narrow BatchNorm": ("nn.BatchNorm2d(planes * block.expansion)", "nn.BatchNorm2d(planes)",
     {"runs": "as many channels"}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "mistake"),
    [(MAKE_LAYER, row) for row in STAGE_MISTAKES.values()] + [(HANDING, row) for row in HANDING_MISTAKES.values()],
)
def test_a_mistake_in_a_stage_is_told(source, mistake):
    old, new, told = mistake
    assert_told(check_make_layer(learn(source, (old, new))), told)


# Networks.

NETWORK = """
class Network(nn.Module):
    def __init__(self, block, counts, num_classes=10, width=64):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        stages, in_channels = [], width
        for i, count in enumerate(counts):
            channels = width * 2**i
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
POOL = "nn.MaxPool2d(3, stride=2, padding=1)"
POINTWISE = ("nn.Linear(in_channels, num_classes)", "nn.Conv2d(in_channels, num_classes, 1)")
HEAD = "x = self.pool(x).flatten(1)\n        return self.fc(x)"
SMALL = [  # the paper's form for CIFAR
    ("width, 7, stride=2, padding=3", "width, 3, padding=1"),
    ("            nn.MaxPool2d(3, stride=2, padding=1),\n", ""),
]


def small(*edits, block=BASIC, counts=(1, 1, 1)):
    """A narrow network of 8 layers from the learner's text."""
    return learn(NETWORK, *SMALL, *edits)(learn(block) if isinstance(block, str) else block, counts, width=4)


@pytest.mark.parametrize(
    ("make", "depth", "num_classes"),
    [
        (lambda: torchvision.models.resnet18(), 18, 1000),
        (lambda: networks.resnet18(10, shortcut="A"), np.int64(18), np.int64(10)),
        (lambda: networks.resnet18(10, shortcut="C"), 18, 10),
        (lambda: networks.resnet18(10, in_channels=1), 18, 10),
        (lambda: torchvision.models.resnet50(num_classes=10, zero_init_residual=True), 50, 10),
        (lambda: learn(NETWORK)(learn(BASIC), (2, 2, 2, 2)), 18, 10),
        (lambda: learn(NETWORK, (POOL, f"nn.ZeroPad2d(1), {POOL[:24]})"))(learn(BASIC), (2, 2, 2, 2)), 18, 10),
        (lambda: networks.cifar_resnet(20), 20, 10),
        (lambda: networks.cifar_resnet(8, "B", num_classes=100), 8, 100),
        (lambda: networks.cifar_resnet(8, "C"), 8, 10),
        (lambda: networks.cifar_resnet(50, width=4), 50, 10),
        (lambda: networks.cifar_resnet(14, width=8, in_channels=1), 14, 10),
        (lambda: small(), 8, 10),
        (lambda: small(("nn.AdaptiveAvgPool2d(1)", "nn.AvgPool2d(8)")), 8, 10),
        (lambda: small(("self.pool(x).flatten(1)", "x.mean([2, 3])")), 8, 10),
        (lambda: small(("self.pool(x).flatten(1)", "x.flatten(2).sum(2) / 64")), 8, 10),
        (lambda: small(("self.pool(x).flatten(1)", "torch.stack([image.mean((1, 2)) for image in x])")), 8, 10),
        (lambda: small(POINTWISE, (HEAD, "return self.fc(self.pool(x)).flatten(1)")), 8, 10),
        (lambda: small(POINTWISE, (HEAD, "return self.fc(x).mean((2, 3))")), 8, 10),
    ],
)
def test_a_right_network_passes(make, depth, num_classes):
    assert_right(check_resnet(make(), depth, num_classes))


def test_a_step_that_the_check_cannot_follow_leaves_the_network_open():
    report = check_resnet(small(("self.stem(x)", "torch.stack([image + 1 for image in self.stem(x)])")), 8, 10)
    assert not texts(report, "wrong") and "can't be followed" in texts(report, "open")["steps"], report


@pytest.mark.parametrize(
    ("make", "depth", "name", "phrase"),
    [
        (lambda: networks.cifar_resnet(8, in_channels=1), 8, "grey images", "one channel"),
        (lambda: networks.cifar_resnet(8, "C"), 8, "shortcut", "option C"),
        (lambda: networks.cifar_resnet(8), 8, "shortcut", "option A"),
        (lambda: small(), 8, "width", "4 channels in the first stage; the paper has 16"),
        (lambda: learn(NETWORK, ("nn.AdaptiveAvgPool2d(1)", "nn.AvgPool2d(7)"))(blocks.BasicBlock, (2, 2, 2, 2)), 18,
         "image size", "224×224 works"),
    ],
)  # fmt: skip
def test_what_is_worth_knowing_of_a_network_is_a_note(make, depth, name, phrase):
    report = check_resnet(make(), depth, 10)
    assert report.ok and phrase in texts(report, "note")[name], report


STAGES, TOTAL = "blocks in each stage", "parameters"
SMALL_MISTAKES = {
    "another depth": ({"counts": (1, 2, 1)}, [], {STAGES: "[1, 2, 1] blocks; ResNet-8 has [1, 1, 1]", TOTAL: "(+"}),
    "no BatchNorm": ({}, [("nn.BatchNorm2d(width),", "")], {"stem": "by `relu`, not by `bn relu`", TOTAL: "(-8)"}),
    "no ReLU": ({}, [("nn.ReLU(inplace=True),", "")], {"stem": "followed by `bn`, not by `bn relu`"}),
    "a pooling": ({}, [("nn.ReLU(inplace=True),", "nn.ReLU(), nn.MaxPool2d(3, 2, 1),")],
     {"stem": "followed by `bn relu max_pool2d`, not by `bn relu`"}),
    "widths not doubled": ({}, [("width * 2**i", "width * (i + 1)")],
     {STAGES: "4, 8, 16 channels", TOTAL: "", "head": "12 → 10"}),
    "softmax": ({}, [("return self.fc(x)", "return self.fc(x).softmax(1)")], {"head": "cross_entropy applies softmax"}),
    "two linear layers": ({},
     [("nn.Linear(in_channels", "nn.Sequential(nn.Linear(16, 16), nn.Linear(in_channels"),
     ("classes)\n\n", "classes))\n\n")], {"head": "2 linear layers run", TOTAL: "(+272)"}),
    "not pooled": ({}, [("self.pool(x)", "x")], {"head": "gets 1024 features, an image flattened", "runs": "mat1"}),
    "not flattened": ({}, [(".flatten(1)", "")], {"head": "gets shape (2, 16, 1, 1): flatten it", "runs": "mat1"}),
    "maximum": ({}, [("AdaptiveAvgPool2d", "AdaptiveMaxPool2d")], {"head": "gets the maximum of the last"}),
    "stride in the first stage": ({}, [("2 if i > 0 and j == 0 else 1", "2")],
     {"convolutions": "stage 1, block 1: convolution 1 (stages.0.conv1) is 3×3 from 4 to 4 channels with stride 2"}),
    "a shared block": ({"counts": (2, 2, 2)},
     [("stages.append(", "stages.append(stages[-1] if j == 1 and i == 0 else ")],
     {"layers": "stages.0.conv1, stages.0.bn1, stages.0.conv2 and 1 more runs in", TOTAL: ""}),
    "dropout": ({}, [("self.fc(x)", "self.fc(nn.Dropout()(x))")],
     {"evaluation mode": "dropout is left in"}),
    "detached": ({}, [("self.stem(x))", "self.stem(x)).detach()")], {"gradients": "stem.0.weight"}),
    "nothing added": ({"block": mistaken("nothing is added")}, [],
     {"addition": "stage 1, block 1: the shortcut is nev"}),
    "ReLU too early": ({"block": mistaken("ReLU before the addition")}, [], {"steps": "comes before the addition"}),
    "a bare projection": ({"block": mistaken("projection without BatchNorm")}, [],
     {"shortcut": "stage 2, block 1: no BatchNorm follows the projection (stages.1.shortcut.0)", TOTAL: "(-48)"}),
    "a kernel of 5": ({"block": mistaken("a kernel of 5")}, [], {"convolutions": "stage 1, block 1: con", TOTAL: ""}),
    "not a number": ({}, [("self.fc(x)", "self.fc(x) / 0 * 0")], {"output": "NaN comes out"}),
}  # fmt: skip


@pytest.mark.parametrize("mistake", SMALL_MISTAKES)
def test_a_mistake_in_a_network_is_told(mistake):
    options, edits, told = SMALL_MISTAKES[mistake]
    assert_told(check_resnet(small(*edits, **options), 2 + 6 * options.get("counts", (1,))[0], 10), told)


@pytest.mark.parametrize(
    ("make", "depth", "told"),
    [
        (lambda: learn(NETWORK, ("nn.MaxPool2d(3, stride=2, padding=1),", ""))(blocks.BasicBlock, (2, 2, 2, 2)), 18,
         {"stem": "followed by `bn relu`, not by `bn relu max_pool2d`"}),
        (lambda: learn(NETWORK)(blocks.Bottleneck, (2, 4, 6, 3)), 50,
         {STAGES: "the stages have [2, 4, 6, 3] blocks; ResNet-50 has [3, 4, 6, 3]", TOTAL: "(-70,400)"}),
        (lambda: learn(NETWORK)(blocks.BasicBlock, (3, 4, 6, 3)), 50,
         {STAGES: "ResNet-50 is built of bottlenecks", "head": "512 · expansion", TOTAL: ""}),
        (lambda: torchvision.models.resnet18(num_classes=10, norm_layer=lambda c: nn.GroupNorm(8, c)), 18,
         {"steps": "another norm than BatchNorm runs: GroupNorm"}),
        (lambda: torchvision.models.resnext50_32x4d(num_classes=10), 50,
         {"convolutions": "in 32 groups, as in ResNeXt", TOTAL: ""}),
        (lambda: OrderedResNet(8, ORDERINGS["full pre-activation"]), 8,
         {"steps": "pre-activation, the second ResNet paper's: the shortcut carries what comes before `bn relu`"}),
        (lambda: networks.plain18(10), 18, {"addition": "stage 1, block 1: the shortcut is never added"}),
    ],
)  # fmt: skip
def test_a_mistake_in_a_network_for_imagenet_is_told(make, depth, told):
    assert_told(check_resnet(make(), depth, 10), told)


@pytest.mark.parametrize(
    ("report", "phrase"),
    [
        (lambda: check_resnet(networks.resnet18, 18), "such as resnet18(), got an object of type function"),
        (lambda: check_resnet(nn.ReLU(), 21), "depth must be one of 18, 34, 50, 101, 152, or 6n+2 for CIFAR"),
        (lambda: check_resnet(nn.ReLU(), [18]), "got [18]"),
        (lambda: check_resnet(torch.jit.ScriptModule(), 18), "hides what it runs: hand in the nn.Module"),
        (lambda: check_resnet(nn.LazyLinear(10), 18), "lazy layers are not made yet: run it once"),
        (lambda: check_resnet(nn.ReLU(), 18, 0), "num_classes must be a whole number from 1 up, got 0"),
        (lambda: check_cifar_form(nn.ReLU(), 20), "depth must be one of 18, 34, 50, 101, 152, got 20"),
        (lambda: check_make_layer(nn.Sequential()), "it takes a function"),
    ],
)
def test_a_wrong_argument_is_told_in_a_sentence(report, phrase):
    assert_told(report(), {"argument": phrase})


def test_a_model_that_cant_be_copied_is_told():
    model = nn.ReLU()
    model.kept = torch.ones(1, requires_grad=True) * 2
    assert "deepcopy" in texts(check_resnet(model, 18), "wrong")["argument"]


def test_the_model_and_the_random_state_stay():
    model = networks.cifar_resnet(8).eval().requires_grad_(False)
    state, random_state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    assert_right(check_resnet(model, 8, 10))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in model.parameters())


# The form for small images.


def cifar_form(network=None, **changes):
    """ResNet in its form for small images; ``changes`` replace further modules."""
    network = torchvision.models.resnet18(num_classes=10) if network is None else network
    network.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    for name, module in changes.items():
        setattr(network, name, module)
    return network


def test_the_form_for_small_images_is_right():
    conv = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False))
    assert_right(check_cifar_form(cifar_form(networks.resnet18(10), conv1=conv), 18))


CIFAR_MISTAKES = {
    "unchanged": (lambda: networks.resnet18(10),
     {"stem": "for images of 32×32 pixels, convolution 1 (conv1) is 7×7 from 3 to 64 channels with stride 2",
      "parameters": "(+7,680)"}),
    "max pooling left": (lambda: cifar_form(maxpool=nn.MaxPool2d(3, 2, 1)),
     {"stem": "followed by `bn relu max_pool2d`"}),
    "no padding": (lambda: cifar_form(conv1=nn.Conv2d(3, 64, 3, bias=False)), {"stem": "other padding"}),
}  # fmt: skip


@pytest.mark.parametrize("mistake", CIFAR_MISTAKES)
def test_a_mistake_in_the_form_for_small_images_is_told(mistake):
    build, told = CIFAR_MISTAKES[mistake]
    assert_told(check_cifar_form(build(), 18), told)


# Network and training loop together.

TRAIN = """
def train(model, images, labels, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(epochs):
        for places in torch.randperm(len(images)).split(64):
            loss = F.cross_entropy(model.train()(images[places]), labels[places])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    return losses
"""
TRAINING_MISTAKES = {
    "none": ("losses = []", "losses = []", {}),
    "cleared before the step": ("optimizer.step()", "optimizer.zero_grad(); optimizer.step()",
     {"weights": "62 of 62 do not move, such as stem.0.weight", "learns": "who guesses has 90 %"}),
    "tensors": ("loss.item()", "loss", {"losses": "take loss.item()"}),
    "nothing returned": ("return losses", "pass", {"losses": "it returns None: return a list"}),
    "images changed": ("losses = []", "losses = []; images.mul_(2)", {"images left as they were": "are changed"}),
    "exit": ("losses = []", "exit()", {"runs": "the loop fails: SystemExit"}),
}  # fmt: skip


@pytest.mark.parametrize("mistake", TRAINING_MISTAKES)
def test_a_training_loop_is_judged_by_what_it_does_to_a_narrow_network(mistake):
    old, new, told = TRAINING_MISTAKES[mistake]
    build = learn(NETWORK)
    report = check_training(lambda n, w: build(learn(BASIC), (2, 2, 2, 2), n, w), learn(TRAIN, (old, new)))
    assert report.ok == (not told), report
    if told:
        assert_told(report, told, only=False)


def test_another_network_is_told_before_it_is_trained():
    plain = mistaken("nothing is added")
    report = check_training(lambda classes, width: learn(NETWORK)(plain, (2, 2, 2, 2), classes, width), learn(TRAIN))
    assert "addition: the shortcut is never added" in texts(report, "wrong")["network"]
