"""The networks that train in the page are the library's: tested in Node, weight by weight. The page is tested below."""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from explorers import train as hero

from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.fast import make_optimizer
from resnet_lib.recipes import Recipe
from resnet_lib.training import build_model, evaluate, make_scheduler, train

CPU = torch.device("cpu")
DRIVER = Path(__file__).with_name("hero.js")
KINDS = {"plain": "none", "residual": "A"}
pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def digits() -> Dataset:
    """The images that the page trains on."""
    return load_dataset("digits").part(hero.RECIPE.images)[0]


def run_in_node(task: str, **options: Any) -> Any:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    images = digits().normalise(digits().train_images).flatten().tolist()
    data = {"images": images, "labels": digits().train_labels.tolist(), "side": 8, "seed": 0}
    request = json.dumps({"task": task, **data, **options})
    done = subprocess.run([node, DRIVER], input=request, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_page_order(weight: torch.Tensor) -> list[float]:
    """A convolution's weights as [output channel / 4][input channel][pixel of the kernel][output channel mod 4]."""
    if weight.ndim == 4:
        weight = weight.reshape(-1, 4, weight.shape[1], 9).permute(0, 2, 3, 1)
    return weight.flatten().tolist()


def largest_difference(ours: list[list[float]], theirs: list[torch.Tensor]) -> float:
    """Relative, the largest of all arrays."""
    pairs = [(torch.tensor(a), torch.tensor(in_page_order(b.detach()))) for a, b in zip(ours, theirs, strict=True)]
    return max(((a - b).norm() / b.norm()).item() for a, b in pairs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [8, 20])
def test_ten_steps_in_the_page_are_ten_steps_of_the_library(depth, kind):
    """Logits, every gradient, every weight and every running statistic; the last batch is a smaller one.

    Deeper plain networks are chaotic at their start: there, float32 and float64 part in PyTorch itself.
    """
    recipe = Recipe(**{**vars(hero.RECIPE), "depth": depth, "shortcut": KINDS[kind], "seed": 3})
    model, images, labels = build_model(recipe, digits()), digits().normalise(digits().train_images), digits().train_labels
    optimizer = make_optimizer(model, recipe, CPU)
    scheduler = make_scheduler(optimizer, recipe, 80, [])
    order = torch.randperm(2 * 512, generator=torch.Generator().manual_seed(0))[: 9 * 64 + 29] % 512
    weights = [in_page_order(parameter.detach()) for parameter in model.parameters()]
    ours = run_in_node("follow", depth=depth, residual=kind == "residual", parameters=weights, order=order.tolist())
    losses = []
    model.train()
    for batch in order.split(64):
        logits = model(images[batch])
        loss = F.cross_entropy(logits, labels[batch])
        optimizer.zero_grad()
        loss.backward()
        if not losses:
            assert largest_difference([ours["logits"]], [logits]) < 1e-4
            assert largest_difference(ours["gradients"], [parameter.grad for parameter in model.parameters()]) < 1e-4
        losses.append(loss.item())
        optimizer.step()
        scheduler.step()
    assert ours["losses"] == pytest.approx(losses, rel=1e-4)
    assert largest_difference(ours["after"], list(model.parameters())) < 1e-4
    running = [buffer for name, buffer in model.named_buffers() if "running" in name]
    assert largest_difference(ours["running"], running) < 1e-4
    chosen = order.unique()
    assert evaluate(model, images[order], labels[order])[1] == pytest.approx(ours["error"]) and len(chosen) > 300
