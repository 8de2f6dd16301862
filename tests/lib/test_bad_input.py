"""What a person may type wrongly is refused in one sentence that names the place, what came and what would do."""

import math
import threading

import pytest
import torch

from resnet_lib import BasicBlock, CifarResNet, Residual, ResNet, cifar_resnet, resnet50
from resnet_lib.blocks import make_shortcut
from resnet_lib.datasets import load_dataset
from resnet_lib.experiments import degradation_grid, run_grid
from resnet_lib.orderings import OrderedBlock, OrderedResNet
from resnet_lib.recipes import Recipe, paper_grid
from resnet_lib.training import choose_device


def refusal(call) -> str:
    """The sentence with which the call refuses."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    (sentence,) = caught.value.args
    assert sentence == sentence.strip() and "\n" not in sentence and not sentence.endswith(".")
    return sentence


def run(**settings):
    return run_grid([Recipe(depth=8, **settings)], None, "cpu")


SHORTCUTS = ["'none'", "'A'", "'B'", "'C'"]
NETWORKS = {  # what is typed, and what the sentence must name
    "channels without a 1x1": (lambda: Residual(3, 6), ["strides=1", "3 to 6 channels", "use_1x1conv=True"]),
    "a stride without a 1x1": (lambda: Residual(3, 3, strides=2), ["strides=2", "3 to 3", "use_1x1conv=True"]),
    "zero_init_residual": (
        lambda: ResNet(BasicBlock, [1, 1, 1, 1], shortcut="none", zero_init_residual=True),
        ["zero_init_residual=True", "shortcut='none'"],
    ),
    "zero_init_residual of a builder": (
        lambda: resnet50(shortcut="none", zero_init_residual=True),
        ["zero_init_residual=True", "shortcut='none'"],
    ),
    "shortcut of a path": (lambda: make_shortcut("D", 4, 4), [*SHORTCUTS, "'D'"]),
    "shortcut of a path that changes": (lambda: make_shortcut("a", 4, 8), [*SHORTCUTS, "'a'"]),
    "shortcut of a block": (lambda: BasicBlock(4, 4, shortcut=None), [*SHORTCUTS, "None"]),
    "shortcut of a network": (lambda: cifar_resnet(8, "AB"), [*SHORTCUTS, "'AB'"]),
    "step": (lambda: OrderedBlock(4, 4, steps="conv norm + relu"), ["'norm'", "'conv'", "'bn'", "'relu'", "'+'"]),
}
RECIPES = {
    **{
        f"{name}={value!r}": (lambda name=name, value=value: Recipe(**{name: value}), [name, repr(value)])
        for name, values in {
            "dataset": [None],
            "width": [0, 4.0, "4", None, True],
            "epochs": [-1, 2.5],
            "batch_size": [0, [8]],
            "seed": [-1, 1.0, None, True],
            "depth": ["20", 8.0, None, True],
            "images": [0, "all"],
            "held_out": [-1, 0.5],
            "lr": [0, -0.1, "0.1", math.nan, math.inf, None, True],
            "momentum": [-1, math.nan, 1 + 0j],
            "weight_decay": [-0.1, math.inf, "0"],
            "warm_up": [1, "yes"],
            "augment": [None, 0],
        }.items()
        for value in values
    },
    "shortcut": (lambda: Recipe(shortcut="D"), ["shortcut", *SHORTCUTS, "'D'"]),
    "schedule": (lambda: Recipe(schedule="cosine"), ["schedule", "'one-cycle'", "'steps'", "'cosine'"]),
    "precision": (lambda: Recipe(precision="half"), ["precision", "'float32'", "'bfloat16'", "'float16'", "'half'"]),
    "warm_up of one-cycle": (lambda: Recipe(warm_up=True), ["warm_up", "'steps'", "'one-cycle'"]),
    "width of a grid": (lambda: degradation_grid(width=0), ["width", "0"]),
    "shortcut of a grid": (lambda: degradation_grid(shortcuts=["A", "E"]), ["shortcut", "'E'"]),
    "seeds of a grid": (lambda: degradation_grid(seeds=0), ["seeds", "0"]),
    "seeds of the paper's grid": (lambda: paper_grid(seeds=0), ["seeds", "0"]),
}
EXPERIMENTS = {
    "dataset": (lambda: load_dataset("mnist"), ["dataset", "'digits'", "'mnist'"]),
    "dataset of a grid": (lambda: run(dataset="Digits"), ["dataset", "'digits'", "'Digits'"]),
    "device": (lambda: choose_device("gpu"), ["device", "'auto'", "'cpu'", "'cuda'", "'mps'", "'gpu'"]),
    "device of a grid": (
        lambda: run_grid([Recipe(depth=8)], None, "cuda:99"),
        ["device", "'auto'", "'cpu'", "'cuda'", "'mps'", "'cuda:99'"],
    ),
    "engine": (
        lambda: run_grid([Recipe(depth=8)], None, "cpu", engine="dask"),
        ["engine", "'local'", "'ray'", "'dask'"],
    ),
    "images": (lambda: run(images=1438), ["images", "1437", "digits"]),
    "images and held_out": (lambda: run(images=1000, held_out=438), ["images", "held_out", "1437"]),
    "nothing but held_out": (lambda: run(held_out=1437), ["held_out", "1437"]),
}
REFUSALS = {
    f"{part}: {name}": case
    for part, table in {"network": NETWORKS, "recipe": RECIPES, "experiment": EXPERIMENTS}.items()
    for name, case in table.items()
}


@pytest.mark.parametrize(("call", "names"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_names_the_place_what_came_and_what_would_do(call, names):
    sentence = refusal(call)
    assert [name for name in names if name not in sentence] == []


@pytest.mark.parametrize(
    "call",
    [
        CifarResNet,
        lambda depth: OrderedResNet(depth, "conv + relu"),
        lambda depth: Recipe(depth=depth),
        lambda depth: degradation_grid(depths=[depth]),
    ],
    ids=["CifarResNet", "OrderedResNet", "Recipe", "degradation_grid"],
)
@pytest.mark.parametrize(
    ("depth", "nearest"), [(2, (8, 14)), (7, (8, 14)), (9, (8, 14)), (18, (14, 20)), (55, (50, 56)), (57, (56, 62))]
)
def test_a_depth_that_is_not_6n_plus_2_is_refused_with_the_two_nearest(call, depth, nearest):
    sentence = refusal(lambda: call(depth))
    assert "6n+2" in sentence and f"got {depth}" in sentence
    assert sentence.endswith(f"{nearest[0]} and {nearest[1]}")


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_refused(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for call in (choose_device, lambda device: run_grid([Recipe(depth=8)], device=device)):
        sentence = refusal(lambda call=call: call(device))
        assert "device" in sentence and repr(device) in sentence and "'cpu'" in sentence and "'auto'" in sentence


@pytest.mark.parametrize("below", [False, True], ids=["a file", "below a file"])
def test_an_out_that_is_a_file_is_refused_before_any_run(tmp_path, below):
    file = tmp_path / "notes.txt"
    file.write_text("precious", encoding="utf-8")
    out = file / "runs" if below else file
    threads = threading.active_count()
    sentence = refusal(lambda: run_grid([Recipe(depth=110, epochs=1000)], out, "cpu"))
    assert "out" in sentence and str(out) in sentence and "folder" in sentence
    assert file.read_text(encoding="utf-8") == "precious" and threading.active_count() == threads
