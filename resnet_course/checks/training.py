"""Feedback on a network and a training loop that were written together: the loop trains the network on small digits."""

from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from resnet_course.checks.networks import Form, judge_network
from resnet_course.checks.report import Line, Report, attempt, follow, judged, merge, refuse, undisturbed
from resnet_course.checks.trace import make_run
from resnet_lib.datasets import load_dataset

EPOCHS = 4
PROPERTIES = {
    "runs": "the network is built, and the loop comes to its end",
    "network": "a ResNet-18",
    "losses": "one number for each epoch, the last smaller than the first",
    "weights": "every parameter has moved",
    "images left as they were": "nothing in them changes",
    "learns": "most of the digits that it has not seen are recognised",
}


def check_training(build: Callable[..., nn.Module], train: Callable[..., Any]) -> Report:
    """Check a ResNet-18 and its training loop, by training a narrow one on digits; it takes some seconds.

    The network is built as ``build(num_classes, width)``, with ``width`` channels in the first stage, for images
    (N, 3, 32, 32). The loop is called as ``train(model, images, labels, epochs)``, and returns the mean loss of each
    epoch as a list of numbers.

    >>> check_training(3, 3)
    check_training: 1 of 1 properties wrong
      wrong  argument: it takes a class and a function, got objects of type int and int
    """
    if not callable(build) or not callable(train):
        kinds = f"{type(build).__name__} and {type(train).__name__}"
        return refuse("check_training", f"it takes a class and a function, got objects of type {kinds}")
    with undisturbed():
        findings = follow("", (("", line) for line in _judge(build, train)))
    return Report("check_training", merge(PROPERTIES, findings))


def _judge(build: Callable[..., nn.Module], train: Callable[..., Any]) -> Iterator[Line]:
    def scaled(images: torch.Tensor) -> torch.Tensor:
        return F.interpolate(digits.normalise(images), size=(32, 32)).repeat(1, 3, 1, 1)

    digits, _, _ = load_dataset("digits").part(images=800)
    run = make_run("MyResNet18(10, 8)", lambda: build(10, 8), torch.randn(2, 3, 64, 64), (2, 10))
    if run.error:
        yield Line("wrong", "runs", run.error)
        return
    found = follow("", judge_network(run, Form(18, 10, "imagenet", width=8)))
    told = [line for _, line in found if line.verdict == "wrong" and line.name != "parameters"]  # of a width of 64
    wrong = [f"{line.name}: {line.text} (check_resnet tells more)" for line in told]
    if run.out is None or run.out.shape != (2, 10):
        wrong = ["for 2 images and 10 classes it should put out a tensor of shape (2, 10)"]
    yield judged("network", wrong[0] if wrong else "")
    if run.out is None or run.out.shape != (2, 10):
        return
    model, images, labels = build(10, 8), scaled(digits.train_images), digits.train_labels
    given, before = images.clone(), {name: value.detach().clone() for name, value in model.named_parameters()}
    losses, problem = attempt("the loop fails", train, model, given, labels.clone(), EPOCHS)
    yield judged("runs", problem)
    if problem:
        return
    yield judged("losses", find_wrong_losses(losses))
    still = [name for name, value in model.named_parameters() if name in before and torch.equal(value, before[name])]
    text = f"{len(still)} of {len(before)} do not move, such as {', '.join(still[:1])}: does backward() come between "
    yield judged("weights", f"{text}zero_grad() and step()?" if still else "")
    yield judged("images left as they were", "" if torch.equal(given, images) else "the caller's images are changed")
    with torch.no_grad():
        logits, problem = attempt("it fails after training", model.eval(), scaled(digits.test_images))
    error = 100.0 if problem else 100 * (logits.argmax(1) != digits.test_labels).float().mean().item()
    text = f"{error:.0f} % of the digits that it has not seen are classified wrongly; who guesses has 90 %"
    yield judged("learns", problem or (text if error > 50 else ""))
    yield Line("note", "digits", f"{error:.1f} % of {len(digits.test_labels)} unseen digits are classified wrongly")


def find_wrong_losses(losses: Any) -> str:
    if losses is None or not isinstance(losses, (list, tuple)) or len(losses) != EPOCHS:
        got = f"{len(losses)} of them" if isinstance(losses, (list, tuple)) else f"{losses!r:.40}"
        return f"it returns {got}: return a list with the mean loss of each of the {EPOCHS} epochs"
    if any(isinstance(loss, torch.Tensor) for loss in losses):
        return "the losses are tensors: take loss.item(), since a tensor keeps the memory of its step"
    if not all(isinstance(loss, Real) and abs(loss) < float("inf") for loss in losses):
        return f"the losses are {', '.join(map(str, losses))}: each should be a finite number"
    return "" if losses[-1] < losses[0] else f"the loss does not fall, from {losses[0]:.2f} to {losses[-1]:.2f}"
