"""Training repeats bit for bit, leaves its surroundings alone, and computes what a loop by hand computes."""

import json
import math
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
import torch
from outcomes import CPU, figures, first_digits
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from resnet_lib import training
from resnet_lib.recipes import PAPER_CIFAR10, Recipe
from resnet_lib.records import Record, load_record, save_record
from resnet_lib.schedules import make_scheduler
from resnet_lib.training import (
    Run,
    build_model,
    choose_device,
    evaluate,
    fit,
    train,
    train_epoch,
)

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = Recipe(depth=8, width=2, epochs=2, batch_size=32)
FEW = first_digits(90)  # no multiple of the batch
CHANGES = [
    *[{"seed": 1}, {"depth": 14}, {"shortcut": "none"}, {"shortcut": "B"}, {"shortcut": "C"}, {"width": 3}],
    *[{"batch_size": 31}, {"lr": 0.1001}, {"momentum": 0.8}, {"weight_decay": 1e-3}, {"epochs": 3}],
    *[{"schedule": "steps", "warm_up": True}, {"augment": True}, {"images": 89}, {"held_out": 1}],
    {"precision": "bfloat16"},
]


@contextmanager
def watched_rates() -> Iterator[list[float]]:
    """The learning rate of every optimizer step that is taken meanwhile."""
    rates: list[float] = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    try:
        yield rates
    finally:
        hook.remove()


# The same bits, and nothing else touched


def random_states() -> tuple:
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


@pytest.fixture(scope="module")
def usual() -> Record:
    return train(TINY, FEW, CPU)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_field_counts_and_the_same_recipe_gives_the_same_bits_and_leaves_all_else_alone(change, usual):
    data = [getattr(FEW, field.name) for field in fields(FEW) if "images" in field.name or "labels" in field.name]
    before = [tensor.clone() for tensor in data]
    first = train(replace(TINY, **change), FEW, CPU)
    assert first.curves["train_loss"] != usual.curves["train_loss"] and first.train_loss != usual.train_loss
    for module in (torch, random, np.random):
        (module.manual_seed if module is torch else module.seed)(12345)
    states = random_states()
    assert figures(train(replace(TINY, **change), FEW, CPU)) == figures(first)
    assert random_states() == states
    assert all(torch.equal(one, other) for one, other in zip(data, before, strict=True))


def test_the_seed_decides_the_weights_and_a_plain_network_and_its_twin_start_from_the_same():
    models = [
        build_model(replace(TINY, **change), FEW).state_dict() for change in ({}, {"shortcut": "none"}, {"seed": 1})
    ]
    assert list(models[0]) == list(models[1])
    assert all(torch.equal(value, models[1][key]) for key, value in models[0].items())
    assert not torch.equal(models[0]["conv1.weight"], models[2]["conv1.weight"])


def test_networks_built_side_by_side_start_from_the_same_weights_as_alone():
    recipes = [replace(TINY, seed=seed % 4, depth=20) for seed in range(24)]
    alone = [build_model(recipe, FEW).state_dict() for recipe in recipes[:4]]
    with ThreadPoolExecutor(8) as pool:
        for recipe, together in zip(recipes, pool.map(lambda recipe: build_model(recipe, FEW), recipes), strict=True):
            assert all(torch.equal(value, alone[recipe.seed][key]) for key, value in together.state_dict().items())


def test_the_model_is_the_recipes_for_the_datasets_images():
    model = build_model(Recipe(width=5), replace(FEW, num_classes=7, train_images=FEW.train_images.expand(-1, 3, 8, 8)))
    assert model.conv1.weight.shape == (5, 3, 3, 3) and model.fc.weight.shape == (7, 20)


# An epoch, and an evaluation, against the same by hand


def test_train_epoch_is_a_step_for_each_batch_by_hand():
    images, labels = FEW.normalise(FEW.train_images), FEW.train_labels
    order = torch.randperm(90, generator=torch.Generator().manual_seed(5))
    rates, momentum, weight_decay = [0.05, 0.1, 0.02], 0.9, 0.01
    model, by_hand = build_model(TINY, FEW), build_model(TINY, FEW).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=momentum, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: [*rates, 0.0][step])
    loss, error = train_epoch(model.eval(), images, labels, order, 32, optimizer, schedule)

    loss_sum, wrong = 0.0, 0
    own = torch.optim.SGD(by_hand.parameters(), momentum=momentum, weight_decay=weight_decay)
    for rate, batch in zip(rates, [order[:32], order[32:64], order[64:]], strict=True):
        own.param_groups[0]["lr"] = rate
        own.zero_grad()
        log_odds = by_hand(images[batch]).log_softmax(1)
        losses = -log_odds[range(len(batch)), labels[batch]]
        losses.mean().backward()
        own.step()
        loss_sum += losses.sum().item()
        wrong += (log_odds.argmax(1) != labels[batch]).sum().item()
    assert loss == pytest.approx(loss_sum / 90, rel=1e-5) and error == pytest.approx(100 * wrong / 90)
    for one, other in zip(model.state_dict().values(), by_hand.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("batch_size", [7, 1024])
def test_evaluate_is_the_mean_over_the_images_one_by_one_and_changes_nothing(batch_size):
    images, labels = FEW.normalise(FEW.train_images), FEW.train_labels
    model = build_model(TINY, FEW)
    model(images)  # so that the running statistics matter
    before = {key: value.clone() for key, value in model.state_dict().items()}
    loss, error = evaluate(model.train(), images, labels, batch_size)
    losses, wrong = [], 0
    for image, label in zip(images, labels.tolist(), strict=True):
        odds = model.eval()(image.unsqueeze(0))[0].double().softmax(0)
        losses.append(-math.log(odds[label].item()))
        wrong += odds.argmax().item() != label
    assert loss == pytest.approx(sum(losses) / 90, rel=1e-5) and error == 100 * wrong / 90
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


# The schedule


def rates_of(recipe: Recipe, total_steps: int, train_errors: tuple[float, ...] = ()) -> list[float]:
    """The learning rate at each step."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=recipe.lr)
    scheduler = make_scheduler(optimizer, recipe, total_steps, list(train_errors))
    rates = []
    for _ in range(total_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step() if len(rates) < total_steps else None
    return rates


def test_the_papers_rate_falls_to_a_tenth_at_half_and_to_a_hundredth_at_three_quarters():
    assert rates_of(PAPER_CIFAR10, 640) == pytest.approx([0.1] * 320 + [0.01] * 160 + [0.001] * 160)
    assert rates_of(Recipe(schedule="steps", lr=1.0), 5) == pytest.approx([1.0, 1.0, 1.0, 0.1, 0.01])


def test_warm_up_holds_a_tenth_until_an_epoch_was_below_80_percent():
    recipe = Recipe(schedule="steps", warm_up=True)
    for errors in ((), (100.0,), (95.0, 80.0)):
        assert rates_of(recipe, 40, errors) == pytest.approx([0.01] * 40)
    for errors in ((79.9,), (95.0, 79.0, 90.0)):
        assert rates_of(recipe, 40, errors) == rates_of(replace(recipe, warm_up=False), 40)


def test_a_run_warms_up_by_its_own_errors(monkeypatch):
    whole, errors = train_epoch, iter([90.0, 80.0, 79.0, 85.0, *[40.0] * 6])
    monkeypatch.setattr(training, "train_epoch", lambda *args: (whole(*args)[0], next(errors)))
    with watched_rates() as rates:
        train(replace(TINY, schedule="steps", warm_up=True, epochs=10, batch_size=10), FEW, CPU)
    # The scheduler moves on right after a step, so the first step of the fourth epoch may still be a small one.
    assert rates[:27] == pytest.approx([0.01] * 27)
    assert rates[28:] == pytest.approx([0.1] * 17 + [0.01] * 23 + [0.001] * 22)


# A run


@pytest.mark.parametrize(("batch_size", "steps"), [(90, 1), (89, 2), (30, 3)])
def test_the_last_batch_may_be_smaller_and_the_schedule_ends_with_the_last_step(batch_size, steps):
    recipe = replace(TINY, batch_size=batch_size, epochs=4)
    with watched_rates() as rates:
        train(recipe, FEW, CPU)
    assert rates == pytest.approx(rates_of(recipe, 4 * steps))


@pytest.mark.parametrize(("images", "held_out", "trained_on"), [(None, 30, 60), (50, 0, 50), (50, 30, 50)])
def test_an_epoch_sees_each_image_that_is_not_held_out_once_in_an_order_of_its_own(
    monkeypatch, images, held_out, trained_on
):
    whole, seen, orders = train_epoch, [], []

    def note(model, images, labels, order, *rest):
        seen.append(images[order].flatten(1).sum(1).sort().values)
        orders.append(order.tolist())
        return whole(model, images, labels, order, *rest)

    monkeypatch.setattr(training, "train_epoch", note)
    for seed in (0, 0, 1):
        train(replace(TINY, images=images, held_out=held_out, seed=seed), FEW, CPU)
    fewer, _, _ = FEW.part(images, held_out)
    wanted = fewer.normalise(fewer.train_images).flatten(1).sum(1).sort().values
    assert len(wanted) == trained_on and all(torch.equal(x, wanted) for x in seen)
    assert orders[:2] == orders[2:4] and orders[0] != orders[4] and orders[0] != orders[1] != list(range(trained_on))


@pytest.mark.parametrize("settings", [{}, {"augment": True, "images": 50, "held_out": 30}], ids=str)
def test_the_final_figures_are_those_of_the_trained_network_over_all_images(settings):
    run = Run(replace(TINY, **settings), FEW, CPU)
    for _ in range(2):
        run.train_epoch()
    record = run.record()
    fewer, held_images, held_labels = FEW.part(settings.get("images"), settings.get("held_out", 0))
    train_loss, train_error = evaluate(run.model, fewer.normalise(fewer.train_images), fewer.train_labels)
    _, test_error = evaluate(run.model, fewer.normalise(fewer.test_images), fewer.test_labels)
    assert record.train_loss == pytest.approx(train_loss, rel=1e-5) and record.train_error == train_error
    assert record.test_error == record.curves["test_error"][-1] == test_error
    assert record.recipe == run.recipe and record.environment["device"] == "cpu"
    assert all(len(curve) == 2 for curve in record.curves.values()) and ("held_out_error" in record.curves) == bool(
        settings
    )
    if settings:
        _, held_out_error = evaluate(run.model, fewer.normalise(held_images), held_labels)
        assert record.held_out_error == held_out_error == record.curves["held_out_error"][-1]
    else:
        assert record.held_out_error is None


def test_the_best_error_is_the_lowest_of_the_curve_and_the_final_one_its_last(monkeypatch):
    errors = iter([50.0, 30.0, 40.0, 20.0])  # of three epochs on the test images, then on the training images
    monkeypatch.setattr(training, "evaluate", lambda *args: (1.5, next(errors)))
    record = train(replace(TINY, epochs=3), FEW, CPU)
    assert record.curves["test_error"] == [50.0, 30.0, 40.0]
    assert (record.best_test_error, record.test_error, record.train_error, record.train_loss) == (30.0, 40.0, 20.0, 1.5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_loss_that_is_not_finite_ends_the_run_and_marks_the_record(tmp_path, precision):
    recipe, told = replace(TINY, lr=1e30, epochs=9, precision=precision), []
    record = train(recipe, FEW, CPU, lambda *of: told.append(of), tmp_path / "checkpoint")
    loss = record.curves["train_loss"]
    assert (
        record.diverged and record.train_loss is None and loss[-1] is None and None not in loss[:-1] and len(loss) < 9
    )
    assert told[-1] == (1, None) and len({len(curve) for curve in record.curves.values()}) == 1
    assert load_record(save_record(record, tmp_path)) == record and "NaN" not in json.dumps(asdict(record))
    assert figures(train(recipe, FEW, CPU, checkpoint=tmp_path / "checkpoint")) == figures(record), "nor does it go on"
    assert fit(build_model(recipe, FEW), recipe, FEW) == record.curves


def test_a_loss_that_was_not_finite_once_is_no_result_though_the_network_recovers(monkeypatch):
    whole, losses = train_epoch, iter([2.0, math.inf])
    monkeypatch.setattr(training, "train_epoch", lambda *args: (next(losses), whole(*args)[1]))
    record = train(replace(TINY, epochs=5), FEW, CPU)
    assert record.diverged and record.curves["train_loss"] == [2.0, None]


def test_fit_trains_any_model_in_place_as_train_trains_the_recipes_own():
    recipe = replace(TINY, augment=True, held_out=10)
    assert fit(build_model(recipe, FEW), recipe, FEW) == train(recipe, FEW, CPU).curves
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Dropout())
    curves = fit(model, replace(TINY, epochs=20), FEW)
    assert curves["train_loss"][-1] < curves["train_loss"][0] / 2 and not model.training
    assert evaluate(model, FEW.normalise(FEW.test_images), FEW.test_labels)[1] == curves["test_error"][-1]


@pytest.mark.parametrize(("here", "chosen"), [("cuda mps", "cuda"), ("mps", "mps"), ("", "cpu")])
def test_the_best_device_here_is_chosen_unless_told_and_one_that_is_not_here_is_refused(here, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in here)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in here)
    assert choose_device() == choose_device("auto") == torch.device(chosen) and choose_device("cpu") == CPU
    for name in ("cuda", "mps"):
        if name in here:
            assert choose_device(name) == torch.device(name)
        else:
            with pytest.raises(ValueError, match=f"this machine has, got '{name}': use 'cpu' or 'auto'"):
                choose_device(name)
    for name in ("gpu", "cuda:99", None):
        with pytest.raises(ValueError, match=f"device must be one of 'auto', 'cpu', 'cuda', 'mps', got {name!r}"):
            fit(nn.Flatten(), TINY, FEW, name)
