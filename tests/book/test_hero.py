"""The networks that train in the page are the library's, weight by weight, in Node; and the page, in a browser."""

import json
import shutil
import statistics
import subprocess
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from docutils import nodes
from explorers import replace_links
from explorers import train as hero
from sphinx.addnodes import pending_xref
from torch import nn

from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.fast import make_optimizer
from resnet_lib.recipes import Recipe
from resnet_lib.schedules import make_scheduler
from resnet_lib.training import build_model, evaluate, train

CPU = torch.device("cpu")
DRIVER = Path(__file__).with_name("hero.js")
PAGE = "book/explore/train.html"
KINDS = {"plain": "none", "residual": "A"}
pytestmark = pytest.mark.usefixtures("one_thread")


def recipe_of(depth: int, kind: str, seed: int) -> Recipe:
    return Recipe(**{**vars(hero.RECIPE), "depth": depth, "shortcut": KINDS[kind], "seed": seed})


@cache
def digits() -> Dataset:
    """The images that the page trains on."""
    return load_dataset("digits").part(hero.RECIPE.images)[0]


def run_in_node(task: str, depth: int = 8, kind: str = "plain", **options: Any) -> Any:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    images = digits().normalise(digits().train_images).flatten().tolist()
    data = {"images": images, "labels": digits().train_labels.tolist(), "side": 8, "recipe": vars(hero.RECIPE)}
    request = {"task": task, "depth": depth, "residual": kind == "residual", **data, **options}
    done = subprocess.run([node, DRIVER], input=json.dumps(request), capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_page_order(weight: torch.Tensor) -> torch.Tensor:
    """A convolution's weights as [output channel / 4][input channel][pixel of the kernel][output channel mod 4]."""
    if weight.ndim == 4:
        weight = weight.reshape(-1, 4, weight.shape[1], 9).permute(0, 2, 3, 1)
    return weight.detach().flatten()


def difference(ours: list[list[float]], theirs: list[torch.Tensor]) -> float:
    """Relative, the largest of all arrays."""
    pairs = [(torch.tensor(a), in_page_order(b)) for a, b in zip(ours, theirs, strict=True)]
    return max(((a - b).norm() / b.norm()).item() for a, b in pairs)


def differences_of_ten_steps(recipe: Recipe, kind: str, is_calm: bool) -> list[float]:
    """Of logits and gradients of the first step, of losses, weights and running statistics after ten, and the error."""
    model, labels = build_model(recipe, digits()), digits().train_labels
    images = digits().normalise(digits().train_images)
    for convolution in filter(lambda layer: is_calm and isinstance(layer, nn.Conv2d), model.modules()):
        random = convolution.weight.clone()
        convolution.weight = nn.Parameter(nn.init.dirac_(convolution.weight) + random / 4)
    optimizer = make_optimizer(model, recipe, CPU)
    scheduler = make_scheduler(optimizer, recipe, 80, [])
    order = torch.randperm(1024, generator=torch.Generator().manual_seed(0))[: 9 * 64 + 29] % 512  # the last is smaller
    weights = [in_page_order(parameter).tolist() for parameter in model.parameters()]
    ours = run_in_node("follow", recipe.depth, kind, seed=0, parameters=weights, order=order.tolist())
    losses, first = [], []
    model.train()
    for batch in order.split(recipe.batch_size):
        logits = model(images[batch])
        losses.append(F.cross_entropy(logits, labels[batch]))
        optimizer.zero_grad()
        losses[-1].backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        first = first or [difference([ours["logits"]], [logits]), difference(ours["gradients"], gradients)]
        optimizer.step()
        scheduler.step()
    running = [buffer for name, buffer in model.named_buffers() if "running" in name]
    weights = torch.cat([in_page_order(parameter) for parameter in model.parameters()])
    after = [difference([[*chain(*ours["after"])]], [weights]), difference(ours["running"], running)]
    error = abs(evaluate(model, images[order], labels[order])[1] - ours["error"]) / 100
    return [*first, difference([ours["losses"]], [torch.stack(losses)]), *after, error]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [8, 20])
def test_ten_steps_in_the_page_are_ten_steps_of_the_library(depth, kind):
    """All ten from weights near those of an identity, and the gradients of the first one from the usual weights.

    From those a deep plain network is chaotic: PyTorch's own float32 and float64 part by 2 % within ten steps, and now
    and then rounding moves a value across the ReLU's 0 in the first one.
    """
    assert max(differences_of_ten_steps(recipe_of(depth, kind, 0), kind, is_calm=True)) < 1e-4
    usual = (differences_of_ten_steps(recipe_of(depth, kind, seed), kind, is_calm=False)[:2] for seed in (0, 2, 3))
    assert any(max(differences) < 1e-4 for differences in usual)


def test_the_learning_rate_is_the_librarys():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=hero.RECIPE.lr)
    scheduler = make_scheduler(optimizer, hero.RECIPE, 80, [])
    rates = []
    for _ in range(80):
        rates += scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    assert run_in_node("rates", steps=80) == pytest.approx(rates, rel=1e-6)


def test_both_networks_start_alike_and_from_the_librarys_distribution():
    plain, residual = (run_in_node("start", 20, kind, seed=7) for kind in KINDS)
    assert plain == residual != run_in_node("start", 20, seed=8)
    for ours, theirs in zip(plain, build_model(recipe_of(20, "plain", 7), digits()).parameters(), strict=True):
        values = torch.tensor(ours)
        assert len(values) == theirs.numel()
        if theirs.ndim == 4:  # normal, of mean 0: the deviations of mean and deviation themselves, four times
            deviation = (2 / (9 * len(theirs))) ** 0.5
            assert abs(values.mean()) < 4 * deviation / len(values) ** 0.5
            assert abs(values.std() / deviation - 1) < 4 / (2 * len(values)) ** 0.5
        elif len(values) in (160, 10):  # the linear layer: uniform
            assert values.abs().max() <= 0.25 and values.min() < -0.1 and values.max() > 0.1
        else:
            assert torch.equal(values, theirs)


def test_the_page_gets_the_librarys_digits():
    engine = hero.engine()
    pixels = torch.tensor([ord(letter) - ord("a") for letter in engine["pixels"]])
    normalised = (pixels.view(-1, 1, 8, 8) - engine["mean"]) / engine["std"]
    torch.testing.assert_close(normalised, digits().normalise(digits().train_images))
    assert [*map(int, engine["labels"])] == digits().train_labels.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [8, 20, 32])
def test_errors_over_seeds_are_the_librarys_within_their_spread(depth, kind):
    ours = run_in_node("errors", depth, kind, seeds=[*range(5)])
    theirs = [train(recipe_of(depth, kind, seed), load_dataset("digits"), CPU).train_error for seed in range(5)]
    of_means = ((statistics.variance(ours) + statistics.variance(theirs)) / 5) ** 0.5
    assert abs(statistics.mean(ours) - statistics.mean(theirs)) < 3 * of_means + 0.5, (ours, theirs)


def test_a_link_alone_in_its_paragraph_becomes_the_explorer():
    document = nodes.section()
    for target, before in (("book/explore/train", ""), ("book/explore/train", "See "), ("book/status", "")):
        link = pending_xref("", nodes.inline(text="Train both"), reftarget=target)
        document += nodes.paragraph("", "", nodes.Text(before), link) if before else nodes.paragraph("", "", link)
    replace_links(None, document)
    live, still, _, *others = document.children
    assert 'data-explorer="train"' in live.astext() and live.astext().endswith("<noscript>")
    assert [one.astext() for one in (still, *others)] == ["Train both", "See Train both", "Train both"]


# --- In the page


def finish(page) -> str:
    """Wait for the end of a run, and return what the page says then."""
    page.get_by_role("button", name="Train again").wait_for(timeout=120_000)
    return page.locator(".train-status").inner_text().replace("\xa0", " ")


def test_a_shared_address_trains_the_same_networks_again_and_the_next_run_others(open_page):
    page = open_page("book/intro.html?depth=14&seed=3#train")
    page.get_by_role("button", name="Train both").click()
    said = finish(page)
    expected = [run_in_node("errors", 14, kind, seeds=[3])[0] for kind in KINDS]
    assert said.startswith("14 layers: plain {:.1f} %, residual {:.1f} %.".format(*expected))
    link = page.get_by_role("link", name="Link to this run (seed 3)").get_attribute("href")
    assert link.endswith("book/intro.html?depth=14&seed=3#train")
    page.evaluate("location.hash = 'chapters'")
    for runs in (2, 3):
        page.get_by_role("button", name="Train again").click()
        assert "(seed 3)" not in finish(page)
        row = page.locator(".train-table tbody tr").inner_text().split("\t")
        assert row[:2] == ["14", str(runs)] and ("±" in row[2]) is (runs == 3)
    assert page.locator(".curve.earlier").count() == 4 and page.locator(".curve.now").count() == 2


def test_by_keyboard_one_guesses_trains_and_hears_the_result(open_page):
    page = open_page(PAGE)
    page.get_by_label("Layers").focus()
    for key in ("Home", "Tab", "Home", "ArrowRight", "Tab", "Enter"):  # 8 layers, 1 %, train
        page.keyboard.press(key)
    said = finish(page)
    assert said.startswith("8 layers: plain ") and "You guessed 1 %" in said
    assert "your guess: 1 %" in page.locator(".guess").text_content()


def test_a_guess_is_dragged_and_deep_plain_networks_miss_it(open_page):
    page = open_page(PAGE, reduced_motion="reduce")
    grip = page.locator(".guess circle").bounding_box()
    x, y = grip["x"] + 6, grip["y"] + 6
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 5, y + 200)
    page.mouse.up()
    page.get_by_role("button", name="Train both").click()
    assert page.locator(".curve.now").count() == 0  # what moves is left out
    said = finish(page)
    assert "You guessed 0 %; it is " in said and "points higher" in said and "only + x between them" in said
    assert page.locator(".curve.now").count() == 2


def test_stop_stops_at_once_and_a_hidden_tab_pauses(open_page):
    page = open_page(PAGE)
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.isAway, configurable: true })")
    page.evaluate("window.isAway = true")
    page.get_by_label("Layers").fill("44")
    page.get_by_role("button", name="Train both").click()
    drawn = "Math.min(...[...document.querySelectorAll('.curve.now')].map((curve) => curve.points.length))"
    page.wait_for_function(f"{drawn} === 1")  # both have measured their errors before the first epoch
    page.wait_for_timeout(1000)
    assert page.evaluate(drawn) == 1
    page.evaluate("window.isAway = false; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_function(f"{drawn} > 1")
    page.get_by_role("button", name="Stop").click()
    stopped = page.evaluate(drawn)
    assert page.locator(".train-status").inner_text() == "Stopped."
    while page.workers:
        page.wait_for_timeout(100)
    assert page.evaluate(drawn) == stopped


def test_a_browser_without_simd_says_so(open_page):
    page = open_page(PAGE)
    page.evaluate("trainEngine.code = 'throw new Error()'")
    page.get_by_role("button", name="Train both").click()
    page.get_by_text("This browser can't train here").wait_for()
