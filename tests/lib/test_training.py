"""Training repeats bit for bit, leaves its surroundings alone, and computes what a loop by hand computes."""

import hashlib
import json
import math
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from outcomes import figures
from sklearn.datasets import load_digits as sklearn_digits
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.fast import FastLoop
from resnet_lib.networks import cifar_resnet
from resnet_lib.recipes import PAPER_CIFAR10, Recipe
from resnet_lib.training import Run, build_model, choose_device, evaluate, fit, make_scheduler, train, train_epoch

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
TINY = Recipe(depth=8, width=2, epochs=2, batch_size=32)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def few(digits: Dataset) -> Dataset:
    """The digits cut to 90 and 40 images: enough to train on in no time, and no multiple of the batch."""
    return replace(
        digits,
        train_images=digits.train_images[:90],
        train_labels=digits.train_labels[:90],
        test_images=digits.test_images[:40],
        test_labels=digits.test_labels[:40],
    )


@contextmanager
def watched_optimizers() -> Iterator[list[dict]]:
    """The settings of every optimizer step that is taken meanwhile, in order."""
    steps = []

    def watch(optimizer, args, kwargs):
        (group,) = optimizer.param_groups
        steps.append({key: group[key] for key in ("lr", "momentum", "weight_decay")} | {"kind": type(optimizer)})

    hook = register_optimizer_step_pre_hook(watch)
    try:
        yield steps
    finally:
        hook.remove()


# The same bits


@pytest.mark.parametrize(
    "change",
    [
        {"shortcut": "none"},
        {"shortcut": "A"},
        {"shortcut": "B"},
        {"shortcut": "C"},
        {"schedule": "steps", "warm_up": True},
        {"augment": True, "images": 70, "held_out": 11},
        {"precision": "bfloat16"},
        {"precision": "float16"},
    ],
    ids=str,
)
def test_the_same_recipe_twice_gives_the_same_bits(few, change):
    recipe = replace(TINY, **change)
    first = train(recipe, few, CPU)
    torch.manual_seed(12345)  # whatever the caller's random state
    np.random.seed(6)
    random.seed(7)
    assert figures(train(recipe, few, CPU)) == figures(first)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"depth": 14},
        {"shortcut": "none"},
        {"shortcut": "B"},
        {"width": 3},
        {"batch_size": 31},
        {"lr": 0.1001},
        {"momentum": 0.8},
        {"weight_decay": 1e-3},
        {"epochs": 3},
        {"schedule": "steps"},
        {"augment": True},
        {"images": 89},
        {"held_out": 1},
        {"precision": "bfloat16"},
        {"precision": "float16"},
    ],
    ids=str,
)
def test_every_field_of_the_recipe_counts(few, change):
    one, other = train(TINY, few, CPU), train(replace(TINY, **change), few, CPU)
    assert one.curves["train_loss"] != other.curves["train_loss"]
    assert one.train_loss != other.train_loss


def test_the_seed_decides_the_initial_weights(few):
    weights = [build_model(replace(TINY, seed=seed), few).layer1[0].conv1.weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_the_seed_decides_the_order_of_the_images_and_every_epoch_has_its_own(few, monkeypatch):
    orders = []

    fast = FastLoop.train_epoch

    def note_the_order(loop, images, labels, order, *rest):
        orders.append(order.tolist())
        return fast(loop, images, labels, order, *rest)

    monkeypatch.setattr(FastLoop, "train_epoch", note_the_order)
    for seed in (0, 0, 1):
        train(replace(TINY, seed=seed), few, CPU)
    assert all(sorted(order) == list(range(90)) for order in orders), "every image once an epoch"
    assert orders[0:2] == orders[2:4] and orders[0] != orders[4]
    assert orders[0] != orders[1] and orders[0] != sorted(orders[0])


@pytest.mark.parametrize("depth", [8, 56])
def test_a_plain_network_and_its_twin_with_option_a_start_from_the_same_weights(digits, depth):
    plain, residual = (
        build_model(Recipe(depth=depth, shortcut=shortcut, seed=4), digits).state_dict() for shortcut in ("none", "A")
    )
    assert list(plain) == list(residual)
    for key, value in plain.items():
        assert torch.equal(value, residual[key]), key


def test_the_model_is_the_recipes_for_the_datasets_images(few):
    three_channels = replace(few, num_classes=7, train_images=few.train_images.expand(-1, 3, -1, -1))
    model = build_model(Recipe(depth=14, shortcut="B", width=5), three_channels)
    wanted = cifar_resnet(14, "B", width=5, in_channels=3, num_classes=7)
    shapes = [{key: value.shape for key, value in network.state_dict().items()} for network in (model, wanted)]
    assert shapes[0] == shapes[1]


# Nothing else is touched


def random_states() -> tuple:
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


def test_training_leaves_the_callers_random_states_alone(few):
    before = random_states()
    build_model(TINY, few)
    train(TINY, few, CPU)
    assert random_states() == before


def test_training_on_a_cpu_leaves_the_random_states_of_other_devices_alone(few, monkeypatch):
    """Without a GPU, PyTorch would keep the seed for later: a state that the caller never asked for."""
    seeded = []
    for backend in ("cuda", "mps", "xpu"):
        for function in ("manual_seed", "manual_seed_all"):
            if hasattr(getattr(torch, backend), function):
                monkeypatch.setattr(f"torch.{backend}.{function}", lambda seed: seeded.append(seed))
    build_model(TINY, few)
    assert not seeded


def test_runs_side_by_side_start_from_the_same_weights_as_alone(few):
    recipes = [replace(TINY, seed=seed % 4, depth=20) for seed in range(24)]
    alone = [build_model(recipe, few).state_dict() for recipe in recipes[:4]]
    with ThreadPoolExecutor(8) as pool:
        for recipe, together in zip(recipes, pool.map(lambda recipe: build_model(recipe, few), recipes), strict=True):
            for key, value in together.state_dict().items():
                assert torch.equal(value, alone[recipe.seed][key]), key


def test_runs_side_by_side_leave_the_settings_of_cudnn_as_they_were(few, monkeypatch):
    """The first run begins its epoch first and ends it first, while the second is in its own."""
    before = torch.backends.cudnn.deterministic
    fast, first_begun, second_begun, first_ended = FastLoop.train_epoch, *(threading.Event() for _ in range(3))

    def in_turn(loop, images, *rest):
        if len(images) == 50:
            first_begun.set()
            assert second_begun.wait(60)
        else:
            second_begun.set()
            assert first_ended.wait(60)
        return fast(loop, images, *rest)

    monkeypatch.setattr(FastLoop, "train_epoch", in_turn)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(train, replace(TINY, epochs=1, images=50), few, CPU)
        assert first_begun.wait(60)
        second = pool.submit(train, replace(TINY, epochs=1, images=60), few, CPU)
        first.result()
        first_ended.set()
        second.result()
    try:
        assert torch.backends.cudnn.deterministic == before
    finally:
        torch.backends.cudnn.deterministic = before


def test_training_leaves_the_dataset_alone(few):
    before = [tensor.clone() for tensor in (few.train_images, few.train_labels, few.test_images, few.test_labels)]
    train(TINY, few, CPU)
    after = (few.train_images, few.train_labels, few.test_images, few.test_labels)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


# The record of a run


def test_the_record_holds_the_run(few):
    record = train(TINY, few, CPU)
    assert record.recipe == TINY and record.seconds > 0 and record.environment["device"] == "cpu"
    assert sorted(record.curves) == ["test_error", "train_error", "train_loss"]
    assert all(len(curve) == TINY.epochs for curve in record.curves.values())
    assert record.test_error == record.curves["test_error"][-1]
    assert record.train_error * 90 / 100 == pytest.approx(round(record.train_error * 90 / 100))
    assert record.test_error * 40 / 100 == pytest.approx(round(record.test_error * 40 / 100))
    assert record.held_out_error is None


def test_the_best_error_is_the_lowest_of_the_curve_and_the_final_one_its_last(few, monkeypatch):
    errors = iter([50.0, 30.0, 40.0, 20.0])  # of three epochs on the test images, then on the training images
    monkeypatch.setattr("resnet_lib.training.evaluate", lambda *args: (1.5, next(errors)))
    record = train(replace(TINY, epochs=3), few, CPU)
    assert record.curves["test_error"] == [50.0, 30.0, 40.0]
    assert (record.best_test_error, record.test_error, record.train_error, record.train_loss) == (30.0, 40.0, 20.0, 1.5)


def test_the_speed_counts_the_images_that_were_trained_on_and_only_the_time_of_training(few, monkeypatch):
    now = iter(range(0, 10_000, 10))  # seconds: each look at the clock is 10 later
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    record = train(replace(TINY, epochs=3, images=80, held_out=10), few, CPU)
    assert record.images_per_second == pytest.approx(80 / 10)
    assert record.seconds == 3 * (10 + 10) + 10, "3 epochs, each with its evaluation, and the last evaluation"


@pytest.fixture
def models(monkeypatch) -> list[nn.Module]:
    """The networks that are trained meanwhile."""
    built = []
    monkeypatch.setattr("resnet_lib.training.build_model", lambda *args: built.append(build_model(*args)) or built[-1])
    return built


@pytest.mark.parametrize("augment", [False, True], ids=["", "augmented"])
def test_the_final_figures_are_those_of_the_trained_network_over_all_images(few, models, augment):
    record = train(replace(TINY, augment=augment), few, CPU)
    train_loss, train_error = evaluate(models[0], few.normalise(few.train_images), few.train_labels)
    _, test_error = evaluate(models[0], few.normalise(few.test_images), few.test_labels)
    assert (record.train_error, record.test_error) == (train_error, test_error)
    assert record.train_loss == pytest.approx(train_loss, rel=1e-5)


def test_with_fewer_images_the_final_figures_are_over_those_and_the_held_out(few, models):
    record = train(replace(TINY, images=50, held_out=30), few, CPU)
    fewer, held_images, held_labels = few.part(50, 30)
    _, train_error = evaluate(models[0], fewer.normalise(fewer.train_images), fewer.train_labels)
    _, test_error = evaluate(models[0], fewer.normalise(fewer.test_images), fewer.test_labels)
    _, held_out_error = evaluate(models[0], fewer.normalise(held_images), held_labels)
    assert (record.train_error, record.test_error) == (train_error, test_error)
    assert record.held_out_error == held_out_error == record.curves["held_out_error"][-1]
    assert all(len(curve) == TINY.epochs for curve in record.curves.values())
    assert sorted(record.curves) == ["held_out_error", "test_error", "train_error", "train_loss"]


@pytest.mark.parametrize(("images", "held_out", "trained_on"), [(None, 30, 60), (50, 0, 50), (50, 30, 50)])
def test_an_epoch_sees_each_image_that_is_not_held_out_once(few, monkeypatch, images, held_out, trained_on):
    fast, seen = FastLoop.train_epoch, []

    def note_the_images(loop, images, labels, order, *rest):
        seen.append((images[order], labels[order]))
        return fast(loop, images, labels, order, *rest)

    monkeypatch.setattr(FastLoop, "train_epoch", note_the_images)
    train(replace(TINY, images=images, held_out=held_out), few, CPU)
    fewer, _, _ = few.part(images, held_out)
    for x, labels in seen:
        assert len(x) == len(labels) == trained_on
        assert labels.bincount().tolist() == fewer.train_labels.bincount().tolist()
        assert torch.equal(x.flatten(1).sum(1).sort().values, shown(fewer).flatten(1).sum(1).sort().values)


def shown(dataset: Dataset) -> Tensor:
    """The training images as the network sees them."""
    return dataset.normalise(dataset.train_images)


def test_training_learns(few):
    record = train(replace(TINY, width=8, epochs=12), few, CPU)
    assert record.curves["train_loss"][-1] < record.curves["train_loss"][0] / 2
    assert record.train_error < 20 < record.curves["train_error"][0]


def test_a_loss_that_is_not_finite_becomes_none(few):
    record = train(replace(TINY, lr=1e30), few, CPU)
    assert record.train_loss is None and record.curves["train_loss"][-1] is None
    assert 0 <= record.train_error <= 100 and "NaN" not in json.dumps(asdict(record))


# on_epoch


def test_on_epoch_is_called_once_an_epoch_with_its_loss(few):
    calls = []
    record = train(replace(TINY, epochs=3), few, CPU, lambda epochs, loss: calls.append((epochs, loss)))
    assert calls == [(1, loss) for loss in record.curves["train_loss"]]


def test_a_loss_that_is_not_finite_reaches_on_epoch_as_none(few):
    losses = []
    train(replace(TINY, lr=1e30), few, CPU, lambda epochs, loss: losses.append(loss))
    assert losses[-1] is None


@pytest.mark.parametrize("error", [InterruptedError("enough"), KeyboardInterrupt(), ZeroDivisionError()], ids=repr)
def test_what_on_epoch_raises_ends_the_run(few, error):
    calls = []

    def stop(epochs: int, loss: float | None) -> None:
        calls.append(loss)
        raise error

    with watched_optimizers() as steps, pytest.raises(type(error)):
        train(replace(TINY, epochs=5), few, CPU, stop)
    assert len(calls) == 1 and len(steps) == 3, "one epoch of 90 images in batches of 32"


# The schedule


def test_the_learning_rate_climbs_to_lr_over_30_percent_of_the_steps_and_falls_to_nearly_zero(few):
    recipe = Recipe(depth=8, width=1, epochs=10, batch_size=10, lr=0.04)
    with watched_optimizers() as steps:
        train(recipe, few, CPU)
    rates = [step["lr"] for step in steps]
    assert len(rates) == 10 * 9
    peak = rates.index(max(rates))
    assert rates[peak] == recipe.lr and peak == 0.3 * len(rates) - 1
    assert rates[: peak + 1] == sorted(rates[: peak + 1]) and rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[0] == pytest.approx(recipe.lr / 25) and 0 < rates[-1] < recipe.lr / 1000


def test_the_default_run_reaches_its_learning_rate(digits):
    steps_per_epoch = math.ceil(len(digits.train_labels) / Recipe().batch_size)
    part = slice(steps_per_epoch)  # with one image a batch they give the same count of steps
    cut = replace(digits, train_images=digits.train_images[part], train_labels=digits.train_labels[part])
    with watched_optimizers() as steps:
        train(Recipe(depth=8, width=1, batch_size=1), cut, CPU)
    assert len(steps) == Recipe().epochs * steps_per_epoch
    assert max(step["lr"] for step in steps) == Recipe().lr


def test_every_step_is_sgd_with_the_recipes_momentum_and_weight_decay(few):
    with watched_optimizers() as steps:
        train(replace(TINY, momentum=0.7, weight_decay=0.01), few, CPU)
    assert {(step["kind"], step["momentum"], step["weight_decay"]) for step in steps} == {(torch.optim.SGD, 0.7, 0.01)}


def rates(recipe: Recipe, total_steps: int, train_errors: tuple[float, ...] = ()) -> list[float]:
    """The learning rate of every step, as the scheduler sets it."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.lr)
    scheduler = make_scheduler(optimizer, recipe, total_steps, list(train_errors))
    optimizer.step()  # else the scheduler warns
    rates = []
    for _ in range(total_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    return rates


def test_one_cycle_is_pytorchs_by_the_formula():
    total, peak = 100, 29

    def half_a_cosine(start: float, end: float, share: float) -> float:
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2

    expected = [half_a_cosine(0.2 / 25, 0.2, step / peak) for step in range(peak)] + [
        half_a_cosine(0.2, 0.2 / 25 / 1e4, (step - peak) / (total - 1 - peak)) for step in range(peak, total)
    ]
    assert rates(Recipe(lr=0.2), total) == pytest.approx(expected, rel=1e-9)


def test_the_papers_learning_rate_falls_to_a_tenth_at_half_and_to_a_hundredth_at_three_quarters():
    all_rates = rates(PAPER_CIFAR10, 64_064)
    assert all_rates == pytest.approx([0.1] * 32_032 + [0.01] * 16_016 + [0.001] * 16_016)


def test_the_steps_reach_the_optimizer(few):
    with watched_optimizers() as steps:
        train(replace(TINY, schedule="steps", lr=0.2, epochs=4), few, CPU)
    assert [step["lr"] for step in steps] == pytest.approx([0.2] * 6 + [0.02] * 3 + [0.002] * 3)


def test_an_odd_number_of_steps_falls_after_the_half():
    all_rates = rates(Recipe(schedule="steps", lr=1.0), 5)
    assert all_rates == pytest.approx([1.0, 1.0, 1.0, 0.1, 0.01])


@pytest.mark.parametrize("errors", [(), (100.0,), (95.0, 80.0)], ids=str)
def test_while_no_epoch_is_below_80_percent_warm_up_holds_a_tenth(errors):
    assert rates(Recipe(schedule="steps", warm_up=True), 40, errors) == pytest.approx([0.01] * 40)


@pytest.mark.parametrize("errors", [(79.9,), (95.0, 79.0, 90.0)], ids=str)
def test_once_an_epoch_was_below_80_percent_the_warm_up_is_over_for_good(errors):
    recipe = Recipe(schedule="steps", warm_up=True)
    assert rates(recipe, 40, errors) == rates(replace(recipe, warm_up=False), 40)


def test_a_run_warms_up_until_an_epochs_error_is_below_80_percent(few, monkeypatch):
    fast, errors = FastLoop.train_epoch, iter([90.0, 80.0, 79.0, 85.0, *[40.0] * 6])
    monkeypatch.setattr(FastLoop, "train_epoch", lambda *args: (fast(*args)[0], next(errors)))
    recipe = replace(TINY, schedule="steps", warm_up=True, epochs=10, batch_size=10)
    with watched_optimizers() as steps:
        train(recipe, few, CPU)
    rates = [step["lr"] for step in steps]
    small, usual = [0.01] * 3 * 9, [0.1] * 2 * 9 + [0.01] * 23 + [0.001] * 22
    assert rates[: len(small)] == pytest.approx(small)
    # The scheduler moves on right after a step, so one step of the fourth epoch may still be a small one.
    assert rates[len(small) + 1 :] == pytest.approx(usual[1:])


@pytest.mark.parametrize(("batch_size", "steps_per_epoch"), [(1000, 1), (90, 1), (89, 2), (32, 3), (30, 3)])
def test_the_last_batch_may_be_smaller_and_is_not_left_out(few, batch_size, steps_per_epoch):
    with watched_optimizers() as steps:
        train(replace(TINY, batch_size=batch_size), few, CPU)
    assert len(steps) == TINY.epochs * steps_per_epoch


# One epoch, and an evaluation, against the same by hand


def test_train_epoch_is_sgd_with_momentum_by_hand(few):
    images, labels = few.normalise(few.train_images), few.train_labels
    order = torch.randperm(90, generator=torch.Generator().manual_seed(5))
    rates = [0.05, 0.1, 0.02]
    momentum, weight_decay = 0.9, 0.01

    model, by_hand = build_model(TINY, few), build_model(TINY, few).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=momentum, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: [*rates, 0.0][step])
    loss, error = train_epoch(model.eval(), images, labels, order, 32, optimizer, schedule)

    loss_sum, wrong = 0.0, 0
    velocities = [torch.zeros_like(parameter) for parameter in by_hand.parameters()]
    for rate, batch in zip(rates, [order[:32], order[32:64], order[64:]], strict=True):
        log_odds = by_hand(images[batch]).log_softmax(1)
        losses = -log_odds[range(len(batch)), labels[batch]]
        gradients = torch.autograd.grad(losses.mean(), list(by_hand.parameters()))
        with torch.no_grad():
            for parameter, gradient, velocity in zip(by_hand.parameters(), gradients, velocities, strict=True):
                velocity.mul_(momentum).add_(gradient + weight_decay * parameter)
                parameter -= rate * velocity
        loss_sum += losses.sum().item()
        wrong += sum(odds.argmax() != label for odds, label in zip(log_odds, labels[batch], strict=True)).item()

    assert loss == pytest.approx(loss_sum / 90, rel=1e-5) and error == pytest.approx(100 * wrong / 90)
    for (key, one), other in zip(model.state_dict().items(), by_hand.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, msg=lambda message, key=key: f"{key}: {message}")


@pytest.mark.parametrize("batch_size", [1, 7, 90, 1024])
def test_evaluate_is_the_mean_over_the_images_one_by_one(few, batch_size):
    images, labels = few.normalise(few.train_images), few.train_labels
    model = build_model(TINY, few)
    train_a_little = torch.optim.SGD(model.parameters(), lr=0.1)
    F.cross_entropy(model(images), labels).backward()  # so that the running statistics matter
    train_a_little.step()

    loss, error = evaluate(model.train(), images, labels, batch_size)
    losses, wrong = [], 0
    for image, label in zip(images, labels.tolist(), strict=True):
        odds = model.eval()(image.unsqueeze(0))[0].double().softmax(0)
        losses.append(-math.log(odds[label].item()))
        wrong += odds.argmax().item() != label
    assert loss == pytest.approx(sum(losses) / 90, rel=1e-5) and error == 100 * wrong / 90


def test_evaluate_changes_nothing_and_asks_for_no_gradient(few):
    model = build_model(TINY, few)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    recording = []
    model.register_forward_hook(lambda *_: recording.append(torch.is_grad_enabled()))
    evaluate(model, few.normalise(few.test_images), few.test_labels)
    assert recording == [False] and torch.is_grad_enabled()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


class AlwaysTwo(nn.Module):
    """A network that answers class 2 of 4, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.tensor([0.0, 0.0, 5.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.answer.expand(len(x), 4)


@pytest.mark.parametrize(
    ("labels", "error"),
    [([2, 2, 2], 0.0), ([0, 1, 3], 100.0), ([2, 1], 50.0), ([2, 2, 2, 0], 25.0), ([0, 2, 1], 200 / 3)],
)
def test_the_error_is_in_percent(labels, error):
    images, labels = torch.zeros(len(labels), 1, 2, 2), torch.tensor(labels)
    model = AlwaysTwo()
    assert evaluate(model, images, labels)[1] == pytest.approx(error)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    order = torch.arange(len(labels))
    assert train_epoch(model, images, labels, order, 2, optimizer, schedule)[1] == pytest.approx(error)


# Any model


def test_fit_trains_the_recipes_own_network_to_the_same_curves_as_train(few):
    recipe = replace(TINY, augment=True, held_out=10)
    model = build_model(recipe, few)
    assert fit(model, recipe, few) == train(recipe, few, CPU).curves


def test_fit_trains_any_model_in_place_and_leaves_it_ready_to_use(few):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Dropout())
    before = [parameter.clone() for parameter in model.parameters()]
    curves = fit(model, replace(TINY, epochs=20), few)
    assert not any(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    assert curves["train_loss"][-1] < curves["train_loss"][0] / 2 and len(curves["test_error"]) == 20
    assert evaluate(model, few.normalise(few.test_images), few.test_labels)[1] == curves["test_error"][-1]
    fit(model, TINY, few)
    assert not model.training


def test_fit_refuses_an_unknown_device(few):
    with pytest.raises(ValueError, match="device must be one of"):
        fit(nn.Flatten(), TINY, few, "gpu")


# A part of the training images


def item_counts(images: Tensor, labels: Tensor) -> Counter:
    return Counter((bytes(image.numpy()), int(label)) for image, label in zip(images, labels, strict=True))


def test_without_a_wish_the_part_is_the_whole_in_its_order(digits):
    whole, held_images, held_labels = digits.part()
    assert torch.equal(whole.train_images, digits.train_images) and torch.equal(whole.train_labels, digits.train_labels)
    assert len(held_images) == len(held_labels) == 0


@pytest.mark.parametrize(("images", "held_out"), [(None, 400), (1000, 400), (1037, 400), (1000, 0), (1, 1436), (1, 0)])
def test_chosen_and_held_out_images_are_disjoint_and_as_many_as_asked_for(digits, images, held_out):
    numbered = replace(digits, train_labels=torch.arange(1437))  # each image has its place for a label
    fewer, held_images, held_labels = numbered.part(images, held_out)
    chosen, held = fewer.train_labels.tolist(), held_labels.tolist()
    assert len(chosen) == len(set(chosen)) == (1437 - held_out if images is None else images)
    assert len(held) == len(set(held)) == held_out and not set(chosen) & set(held)
    assert chosen == sorted(chosen), "they keep their order"
    assert torch.equal(fewer.train_images, digits.train_images[chosen])
    assert torch.equal(held_images, digits.train_images[held])
    assert fewer.test_images is digits.test_images and fewer.name == digits.name


def test_who_holds_out_as_many_holds_out_the_same_ones(digits):
    numbered = replace(digits, train_labels=torch.arange(1437))
    _, _, first = numbered.part(held_out=100)
    for images in (None, 1, 1000):
        assert torch.equal(numbered.part(images, 100)[2], first)
    assert first[:5].tolist() == [387, 816, 1316, 256, 1221], "today and in later releases"
    assert not torch.equal(first, first.sort().values) and set(first.tolist()) != set(range(1337, 1437)), "at random"


def test_more_images_are_more_of_the_same(digits):
    numbered = replace(digits, train_labels=torch.arange(1437))
    some, more = (set(numbered.part(images)[0].train_labels.tolist()) for images in (300, 500))
    assert some < more


def test_mean_and_deviation_are_those_of_the_chosen_images(digits):
    fewer, _, _ = digits.part(100)
    x = fewer.normalise(fewer.train_images)
    assert x.mean().item() == pytest.approx(0, abs=1e-5) and x.std().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("images", "held_out"), [(1438, 0), (1000, 438), (None, 1437), (None, 99_999), (1, 1437), (10**9, 0)]
)
def test_more_images_than_there_are_are_refused(digits, images, held_out):
    with pytest.raises(ValueError) as caught:
        digits.part(images, held_out)
    (sentence,) = caught.value.args
    assert "images and held_out must leave from 1 to 1437" in sentence and "digits" in sentence
    assert str(held_out) in sentence and "\n" not in sentence
    with pytest.raises(ValueError, match="images and held_out"):
        Run(replace(TINY, images=images, held_out=held_out), digits, CPU)


# The images


def test_normalise_gives_the_training_images_mean_0_and_standard_deviation_1(digits):
    x = digits.normalise(digits.train_images)
    assert x.dtype == torch.float32 and x.shape == digits.train_images.shape
    assert x.mean().item() == pytest.approx(0, abs=1e-5) and x.std().item() == pytest.approx(1, abs=1e-5)


def test_normalise_measures_the_training_images_whatever_images_come(digits):
    train_pixels = digits.train_images.numpy().astype(np.float64)
    expected = (digits.test_images.numpy() - train_pixels.mean()) / train_pixels.std(ddof=1)
    np.testing.assert_allclose(digits.normalise(digits.test_images).numpy(), expected, rtol=1e-4, atol=1e-5)
    one = digits.normalise(digits.test_images[:1])
    assert torch.equal(one, digits.normalise(digits.test_images)[:1])


def test_normalise_treats_every_channel_by_itself():
    images = torch.randint(0, 255, (20, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, 1] //= 10
    labels = torch.zeros(20, dtype=torch.int64)
    x = Dataset("noise", 1, images, labels, images, labels).normalise(images)
    for channel in range(3):
        assert x[:, channel].mean().item() == pytest.approx(0, abs=1e-5)
        assert x[:, channel].std().item() == pytest.approx(1, abs=1e-5)


def test_the_digits_are_uint8_images_of_8_by_8_and_int64_labels(digits):
    assert digits.train_images.shape == (1437, 1, 8, 8) and digits.test_images.shape == (360, 1, 8, 8)
    assert digits.train_labels.shape == (1437,) and digits.test_labels.shape == (360,)
    assert digits.train_images.dtype == digits.test_images.dtype == torch.uint8
    assert digits.train_labels.dtype == digits.test_labels.dtype == torch.int64
    assert (digits.name, digits.num_classes, digits.channels) == ("digits", 10, 1)
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 16)


def test_every_digit_is_in_both_parts_about_as_often(digits):
    for labels in (digits.train_labels, digits.test_labels):
        shares = labels.bincount(minlength=10) / len(labels)
        assert len(shares) == 10 and shares.min() > 0.06 and shares.max() < 0.14


def test_the_two_parts_are_disjoint_and_together_all_of_scikit_learns_digits(digits):
    def items(images, labels) -> Counter:
        return Counter((bytes(image.astype(np.uint8)), int(label)) for image, label in zip(images, labels, strict=True))

    train_part = items(digits.train_images.numpy(), digits.train_labels)
    test_part = items(digits.test_images.numpy(), digits.test_labels)
    whole = sklearn_digits()
    assert not train_part.keys() & test_part.keys()
    assert train_part + test_part == items(whole.images, whole.target)


def test_the_split_never_changes(digits):
    digest = hashlib.sha256()
    for tensor in (digits.train_images, digits.train_labels, digits.test_images, digits.test_labels):
        digest.update(tensor.numpy().astype("<i8").tobytes())
    assert digest.hexdigest() == "7d4d8a939f52b197929caaa4e4c31e3f40090fd54ad12cc62d25af885f8c4cf0"


# The device


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_best_device_here_is_chosen_unless_told(cuda, mps, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device() == choose_device("auto") == torch.device(chosen)
    assert choose_device("cpu") == CPU
    for name, is_here in {"cuda": cuda, "mps": mps}.items():
        if is_here:
            assert choose_device(name) == torch.device(name)
