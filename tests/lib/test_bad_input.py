"""Bad input is refused at once, in one sentence that names the argument, what came and what would do."""

import math
import threading

import numpy as np
import pytest
import torch

import resnet_lib
from resnet_lib import (
    BasicBlock,
    Bottleneck,
    CifarResNet,
    Residual,
    ResNet,
    ZeroPadShortcut,
    cifar_resnet,
    conv1x1,
    conv3x3,
    resnet_block,
)
from resnet_lib.blocks import make_shortcut
from resnet_lib.datasets import load_dataset
from resnet_lib.experiments import degradation_grid, run_grid
from resnet_lib.recipes import Recipe
from resnet_lib.training import choose_device

BUILDERS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "plain18", "plain34"]


def refusal(kind: type[Exception] | tuple[type[Exception], ...], call, *args, **kwargs) -> str:
    """The sentence with which the call refuses, having checked that it is one sentence and the exception's kind."""
    with pytest.raises(kind) as caught:
        call(*args, **kwargs)
    assert type(caught.value) in (TypeError, ValueError)
    (sentence,) = caught.value.args
    assert sentence == sentence.strip() and "\n" not in sentence and not sentence.endswith(".")
    return sentence


# Whole numbers: channels, strides, counts

NOT_WHOLE_NUMBERS = [2.5, 4.0, math.nan, "4", None, True, [4], torch.tensor(4.5)]
TOO_SMALL = [0, -1, -64]
COUNTS = {
    "Residual": (Residual, {"input_channels": 4, "num_channels": 4, "strides": 1}),
    "Residual, 1x1": (
        lambda **sizes: Residual(**sizes, use_1x1conv=True),
        {"input_channels": 4, "num_channels": 8, "strides": 2},
    ),
    "resnet_block": (resnet_block, {"input_channels": 4, "num_channels": 4, "num_residuals": 2}),
    "resnet_block, first": (
        lambda **sizes: resnet_block(**sizes, first_block=True),
        {"input_channels": 4, "num_channels": 4, "num_residuals": 2},
    ),
    "BasicBlock": (BasicBlock, {"in_channels": 4, "channels": 4, "stride": 1}),
    "BasicBlock, A": (
        lambda **sizes: BasicBlock(**sizes, shortcut="A"),
        {"in_channels": 4, "channels": 4, "stride": 1},
    ),
    "Bottleneck": (Bottleneck, {"in_channels": 4, "channels": 4, "stride": 1}),
    "ResNet": (lambda **sizes: ResNet(BasicBlock, [1, 1, 1, 1], **sizes), {"num_classes": 10, "in_channels": 3}),
    **{name: (getattr(resnet_lib, name), {"num_classes": 10, "in_channels": 3}) for name in BUILDERS},
    "cifar_resnet": (lambda **sizes: cifar_resnet(8, **sizes), {"width": 4, "in_channels": 3, "num_classes": 10}),
    "CifarResNet": (lambda **sizes: CifarResNet(8, **sizes), {"width": 4, "in_channels": 3, "num_classes": 10}),
    "Recipe": (Recipe, {"width": 8, "epochs": 1, "batch_size": 8}),
    "degradation_grid": (degradation_grid, {"seeds": 1, "width": 8, "epochs": 1, "batch_size": 8}),
}
# The small parts of the blocks: PyTorch itself refuses their sizes in words of its own, or not at all.
PARTS = {
    "conv1x1": (conv1x1, {"in_channels": 4, "out_channels": 4, "stride": 1}),
    "conv3x3": (conv3x3, {"in_channels": 4, "out_channels": 4, "stride": 1}),
    "ZeroPadShortcut": (ZeroPadShortcut, {"in_channels": 4, "out_channels": 4, "stride": 1}),
}


def every_count(table):
    places = [(call, sizes, name) for call, sizes in table.values() for name in sizes]
    ids = [f"{place}-{name}" for place, (_, sizes) in table.items() for name in sizes]
    return pytest.mark.parametrize(("call", "sizes", "name"), places, ids=ids)


def check_every_count(call, sizes, name):
    for values in (NOT_WHOLE_NUMBERS, TOO_SMALL):
        for value in values:
            sentence = refusal((TypeError, ValueError), call, **{**sizes, name: value})
            assert sentence == f"{name} must be a whole number from 1 up, got {value!r}"


@every_count(COUNTS)
def test_a_size_that_is_not_a_positive_whole_number_is_refused(call, sizes, name):
    with torch.device("meta"):  # the good sizes pass
        call(**sizes)
    check_every_count(call, sizes, name)


@every_count(PARTS)
def test_a_part_refuses_a_size_that_is_not_a_positive_whole_number(call, sizes, name):
    check_every_count(call, sizes, name)


@pytest.mark.parametrize("value", [-1, 1.0, "0", None, True])
def test_a_seed_that_is_not_a_whole_number_from_0_up_is_refused(value):
    sentence = refusal((TypeError, ValueError), Recipe, seed=value)
    assert sentence == f"seed must be a whole number from 0 up, got {value!r}"


# Depth


DEPTH_PLACES = {
    "cifar_resnet": cifar_resnet,
    "CifarResNet": CifarResNet,
    "Recipe": lambda depth: Recipe(depth=depth),
    "degradation_grid": lambda depth: degradation_grid(depths=[depth]),
}
every_depth = pytest.mark.parametrize("call", DEPTH_PLACES.values(), ids=DEPTH_PLACES)


@every_depth
@pytest.mark.parametrize(
    ("depth", "nearest"),
    [
        *[(depth, (8, 14)) for depth in (-4, -1, 0, 1, 2, 5, 7, 9, 11, 13)],
        (15, (14, 20)),
        (18, (14, 20)),
        (19, (14, 20)),
        (21, (20, 26)),
        (55, (50, 56)),
        (57, (56, 62)),
        (111, (110, 116)),
        (1000, (998, 1004)),
    ],
)
def test_a_depth_that_is_not_6n_plus_2_is_refused_with_the_two_nearest(call, depth, nearest):
    sentence = refusal(ValueError, call, depth)
    assert sentence.startswith("depth must be 6n+2") and f"got {depth}" in sentence
    assert sentence.endswith(f"the nearest are {nearest[0]} and {nearest[1]}")


@pytest.mark.parametrize("depth", range(1, 100))
def test_every_depth_is_either_taken_or_refused_with_good_neighbours(depth):
    if depth >= 8 and (depth - 2) % 6 == 0:
        assert Recipe(depth=depth).depth == depth
        return
    words = refusal(ValueError, Recipe, depth=depth).split()
    below, above = int(words[-3]), int(words[-1])
    assert above - below == 6 and (below < depth < above or below == 8)
    assert Recipe(depth=below).depth == below and Recipe(depth=above).depth == above


@every_depth
@pytest.mark.parametrize("depth", [8.0, "20", None, True, [8]])
def test_a_depth_that_is_not_a_whole_number_is_refused(call, depth):
    sentence = refusal((TypeError, ValueError), call, depth)
    assert sentence.startswith("depth must be") and sentence.endswith(f"got {depth!r}")


# Shortcuts


SHORTCUT_PLACES = {
    "make_shortcut": lambda shortcut: make_shortcut(shortcut, 4, 4),
    "BasicBlock": lambda shortcut: BasicBlock(4, 4, shortcut=shortcut),
    "Bottleneck": lambda shortcut: Bottleneck(4, 4, shortcut=shortcut),
    "ResNet": lambda shortcut: ResNet(BasicBlock, [1, 1, 1, 1], shortcut=shortcut),
    "resnet18": lambda shortcut: resnet_lib.resnet18(shortcut=shortcut),
    "resnet152": lambda shortcut: resnet_lib.resnet152(shortcut=shortcut),
    "cifar_resnet": lambda shortcut: cifar_resnet(8, shortcut),
    "CifarResNet": lambda shortcut: CifarResNet(8, shortcut),
    "Recipe": lambda shortcut: Recipe(shortcut=shortcut),
    "degradation_grid": lambda shortcut: degradation_grid(shortcuts=["A", shortcut]),
}


@pytest.mark.parametrize("call", SHORTCUT_PLACES.values(), ids=SHORTCUT_PLACES)
@pytest.mark.parametrize("shortcut", ["D", "a", "AB", "", "None", None, 1, True], ids=repr)
def test_an_unknown_shortcut_is_refused_with_the_four_that_there_are(call, shortcut):
    sentence = refusal(ValueError, call, shortcut)
    assert sentence == f"shortcut must be one of 'none', 'A', 'B', 'C', got {shortcut!r}"


@pytest.mark.parametrize(("in_channels", "out_channels"), [(4, 2), (2, 1)])
def test_option_a_refuses_to_take_channels_away(in_channels, out_channels):
    for call in (
        lambda: ZeroPadShortcut(in_channels, out_channels),
        lambda: BasicBlock(in_channels, out_channels, shortcut="A"),
        lambda: make_shortcut("A", in_channels, out_channels),
    ):
        sentence = refusal(ValueError, call)
        assert "shortcut='A'" in sentence and "use 'B'" in sentence
        assert f"{in_channels} come in and {out_channels} go out" in sentence


@pytest.mark.parametrize(
    ("sizes", "what_came"),
    [
        ((4, 4, False, 2), "strides=2 and 4 to 4 channels"),
        ((4, 8, False, 2), "strides=2 and 4 to 8 channels"),
        ((4, 8), "strides=1 and 4 to 8 channels"),
        ((8, 4), "strides=1 and 8 to 4 channels"),
        ((4, 4, False, 3), "strides=3 and 4 to 4 channels"),
    ],
)
def test_residual_refuses_a_change_of_shape_without_its_1x1_convolution(sizes, what_came):
    sentence = refusal(ValueError, Residual, *sizes)
    assert sentence.startswith(what_came) and sentence.endswith("pass use_1x1conv=True")


def test_the_stage_after_the_stem_refuses_a_change_of_channels():
    sentence = refusal(ValueError, resnet_block, 64, 128, 2, first_block=True)
    assert sentence.startswith("first_block=True") and "64 come in and 128 go out" in sentence
    assert "pass first_block=False" in sentence


@pytest.mark.parametrize(
    "call",
    [
        lambda: ResNet(BasicBlock, [1, 1, 1, 1], shortcut="none", zero_init_residual=True),
        lambda: resnet_lib.resnet50(shortcut="none", zero_init_residual=True),
    ],
)
def test_zero_init_residual_without_a_shortcut_is_refused(call):
    sentence = refusal(ValueError, call)
    assert sentence.startswith("zero_init_residual=True needs a shortcut") and "got shortcut='none'" in sentence


# The plan of a network


@pytest.mark.parametrize(
    ("kind", "layers", "what_came"),
    [
        (ValueError, [], "got 0: []"),
        (ValueError, [2, 2, 2], "got 3: [2, 2, 2]"),
        (ValueError, (3, 4, 6, 3, 3), "got 5: [3, 4, 6, 3, 3]"),
        (TypeError, 18, "got 18"),
        (TypeError, None, "got None"),
        (TypeError, "2222", "got '2222'"),
        (TypeError, {2, 3}, "got {2, 3}"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_layers_that_are_not_four_counts_are_refused(block, kind, layers, what_came):
    sentence = refusal(kind, ResNet, block, layers)
    assert sentence.startswith("layers must hold 4 block counts") and "[3, 4, 6, 3]" in sentence
    assert sentence.endswith(what_came)


@pytest.mark.parametrize("stage", range(4))
def test_a_stage_without_a_whole_number_of_blocks_is_refused_by_its_place(stage):
    for kind, values in ((TypeError, NOT_WHOLE_NUMBERS), (ValueError, TOO_SMALL)):
        for value in values:
            layers = [2, 2, 2, 2]
            layers[stage] = value
            sentence = refusal(kind, ResNet, BasicBlock, layers)
            assert sentence == f"layers[{stage}] must be a whole number from 1 up, got {value!r}"


def test_layers_may_be_a_tuple():
    with torch.device("meta"):
        assert len(ResNet(BasicBlock, (1, 2, 1, 1)).layer2) == 2


@pytest.mark.parametrize(
    "block",
    [Residual, torch.nn.Linear, "BasicBlock", None, 18, resnet_lib.resnet18, BasicBlock(64, 64)],
    ids=["Residual", "Linear", "string", "None", "number", "function", "block, not its class"],
)
def test_what_is_not_a_block_class_is_refused(block):
    sentence = refusal(TypeError, ResNet, block, [1, 1, 1, 1])
    assert sentence.startswith("block must be a block class such as BasicBlock or Bottleneck, got ")


# Images


MODELS = {
    "Residual": Residual(3, 3),
    "Residual, 1x1": Residual(3, 6, use_1x1conv=True, strides=2),
    "BasicBlock": BasicBlock(3, 6),
    "BasicBlock, A": BasicBlock(3, 6, 2, "A"),
    "BasicBlock, plain": BasicBlock(3, 6, shortcut="none"),
    "Bottleneck": Bottleneck(3, 6),
    "ResNet": ResNet(BasicBlock, [1, 1, 1, 1]),
    "ResNet of bottlenecks": ResNet(Bottleneck, [1, 1, 1, 1], shortcut="none"),
    "cifar_resnet": cifar_resnet(8, width=2),
    "cifar_resnet, plain": cifar_resnet(8, "none", width=2),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


@every_model
@pytest.mark.parametrize("shape", [(3, 32, 32), (32, 32), (3,), (), (1, 2, 3, 32, 32)], ids=str)
def test_an_input_that_is_not_a_batch_of_images_is_refused(model, shape):
    sentence = refusal(ValueError, model, torch.zeros(shape))
    assert sentence == f"the input must have 4 dimensions (batch, 3, height, width), got shape {shape}"


@every_model
@pytest.mark.parametrize("channels", [1, 2, 4, 32])
def test_a_wrong_count_of_channels_is_refused(model, channels):
    shape = (2, channels, 32, 32)
    sentence = refusal(ValueError, model, torch.zeros(shape))
    assert sentence == f"the input must have 3 channels in dimension 1, got shape {shape}"


@every_model
@pytest.mark.parametrize("value", [None, [[[[0.0]]]], "cat.png", 3, np.zeros((1, 3, 32, 32))], ids=lambda v: str(v)[:8])
def test_an_input_that_is_no_tensor_is_refused(model, value):
    sentence = refusal(TypeError, model, value)
    assert sentence.startswith("the input must be a tensor (batch, 3, height, width)")
    assert sentence.endswith(f"got {type(value).__name__}")


# The experiment


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay"])
@pytest.mark.parametrize("value", ["0.1", None, True, [0.1], 1 + 0j], ids=repr)
def test_a_setting_of_the_optimizer_that_is_no_number_is_refused(name, value):
    sentence = refusal(ValueError, Recipe, **{name: value})
    assert sentence.startswith(f"{name} must be a finite number") and sentence.endswith(f"got {value!r}")


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay"])
@pytest.mark.parametrize("value", [-0.1, -1, math.nan, math.inf, -math.inf])
def test_a_setting_of_the_optimizer_out_of_range_is_refused(name, value):
    sentence = refusal(ValueError, Recipe, **{name: value})
    assert sentence.startswith(f"{name} must be a finite number") and sentence.endswith(f"got {value}")


def test_a_learning_rate_of_zero_is_refused_but_no_momentum_and_no_weight_decay_are_fine():
    assert refusal(ValueError, Recipe, lr=0) == "lr must be a finite number above 0, got 0"
    assert (Recipe(momentum=0, weight_decay=0).momentum, Recipe(weight_decay=0).weight_decay) == (0.0, 0.0)


@pytest.mark.parametrize(
    "call",
    [
        load_dataset,
        lambda name: run_grid([Recipe(dataset=name)], device="cpu"),
    ],
    ids=["load_dataset", "run_grid"],
)
@pytest.mark.parametrize("name", ["mnist", "Digits", ""])
def test_an_unknown_dataset_is_refused_with_those_that_there_are(call, name):
    sentence = refusal(ValueError, call, name)
    assert sentence.startswith("dataset must be one of 'digits'") and sentence.endswith(f"got {name!r}")


DEVICE_PLACES = {
    "choose_device": choose_device,
    "run_grid": lambda device: run_grid([Recipe(depth=8)], device=device),
}


@pytest.mark.parametrize("call", DEVICE_PLACES.values(), ids=DEVICE_PLACES)
@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", None, 0], ids=repr)
def test_an_unknown_device_is_refused_with_those_that_there_are(call, device):
    sentence = refusal(ValueError, call, device)
    assert sentence == f"device must be one of 'auto', 'cpu', 'cuda', 'mps', got {device!r}"


@pytest.mark.parametrize("call", DEVICE_PLACES.values(), ids=DEVICE_PLACES)
@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_refused(call, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    sentence = refusal(ValueError, call, device)
    assert sentence.startswith("device must be one that this machine has")
    assert f"got {device!r}" in sentence and "use 'cpu' or 'auto'" in sentence


@pytest.mark.parametrize("engine", ["Ray", "dask", "", None, 1], ids=repr)
def test_an_unknown_engine_is_refused_with_those_that_there_are(tmp_path, engine):
    sentence = refusal(ValueError, run_grid, [Recipe(depth=8)], tmp_path / "runs", "cpu", engine=engine)
    assert sentence == f"engine must be one of 'local', 'ray', got {engine!r}"
    assert not (tmp_path / "runs").exists()


def test_the_engine_ray_needs_a_folder(monkeypatch):
    monkeypatch.setattr("resnet_lib.experiments.require_ray", lambda: None)  # whether it is installed does not matter
    sentence = refusal(ValueError, run_grid, [Recipe(depth=8)], None, "cpu", engine="ray")
    assert "engine 'ray' needs a folder" in sentence and "out" in sentence


@pytest.mark.parametrize("settings", [{"images": 1438}, {"images": 1000, "held_out": 438}, {"held_out": 1437}], ids=str)
def test_more_images_than_the_data_set_has_are_refused(settings):
    sentence = refusal(ValueError, run_grid, [Recipe(depth=8, **settings)], None, "cpu")
    assert "images" in sentence and "held_out" in sentence and "1437" in sentence and "digits" in sentence


@pytest.mark.parametrize("below", [False, True], ids=["a file", "below a file"])
def test_an_out_that_is_a_file_is_refused_before_any_run(tmp_path, below):
    file = tmp_path / "notes.txt"
    file.write_text("precious", encoding="utf-8")
    out = file / "runs" if below else file
    threads = threading.active_count()
    sentence = refusal(ValueError, run_grid, [Recipe(depth=110, epochs=1000)], out, "cpu")
    assert sentence.startswith(f"out must be a folder, got {out}") and sentence.endswith("name another")
    assert file.read_text(encoding="utf-8") == "precious" and threading.active_count() == threads
