"""Feedback on a function that folds a BatchNorm into the convolution in front of it.

In evaluation mode BatchNorm is γ·(z − mean)/√(var + eps) + β, a line through each channel z = w∗x + b. So it is a
convolution again, with s = γ/√(var + eps), weights w·s and bias (b − mean)·s + β.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from resnet_course.checks.blocks import describe
from resnet_course.checks.report import Line, Report, describe_error, limited_time, merge, refuse, undisturbed
from resnet_course.checks.trace import close

OPEN = "open"  # what a question answers where there is nothing to look at
CASES: list[tuple[str, dict[str, Any]]] = [
    ("a convolution without bias", {"bias": False}),
    ("a convolution with bias", {"bias": True}),
    ("a convolution with stride 2", {"bias": False, "stride": 2}),
    ("a convolution in two groups", {"bias": True, "groups": 2}),
]


@dataclass
class Fold:
    """One pair of layers, and what the learner's function made of it."""

    label: str
    conv: nn.Conv2d  # as they were before
    norm: nn.BatchNorm2d
    given: tuple[nn.Conv2d, nn.BatchNorm2d]
    x: Tensor
    returned: Any = None
    error: str | None = None

    @property
    def scale(self) -> Tensor:
        return self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()

    @property
    def own_bias(self) -> Tensor:
        return torch.zeros_like(self.norm.bias) if self.conv.bias is None else self.conv.bias

    @property
    def changed_in_place(self) -> bool:
        """The function returned nothing, but wrote into the convolution."""
        return self.returned is None and _changed(self.conv, self.given[0])

    @property
    def result(self) -> tuple[Any, Any] | None:
        """Weight and bias as returned, or None if there are none."""
        made = self.given[0] if self.changed_in_place else self.returned
        if isinstance(made, nn.Conv2d):
            return made.weight, made.bias
        return tuple(made) if isinstance(made, (tuple, list)) and len(made) == 2 else None

    def run(self) -> Tensor:
        """What the folded convolution puts out."""
        made = self.given[0] if self.changed_in_place else self.returned
        if isinstance(made, nn.Module):
            return made(self.x)
        weight, bias = self.result
        conv = self.conv
        return torch.conv2d(self.x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def _changed(before: nn.Module, now: nn.Module) -> bool:
    old, new = before.state_dict(), now.state_dict()
    return old.keys() != new.keys() or any(not torch.equal(old[name], new[name]) for name in old)


def _make_layers(options: dict[str, Any]) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """A convolution and a BatchNorm that has seen something, with an eps that counts."""
    conv, norm = nn.Conv2d(6, 6, kernel_size=3, padding=1, **options), nn.BatchNorm2d(6, eps=0.1)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    norm.weight.data.uniform_(0.5, 1.5).mul_(torch.tensor([1.0, 1, 1, 1, 1, -1]))
    norm.bias.data.normal_()
    return conv.eval(), norm.eval()


def _run_case(fold: Callable[..., Any], label: str, options: dict[str, Any]) -> Fold:
    conv, norm = _make_layers(options)
    case = Fold(label, conv, norm, (copy.deepcopy(conv), copy.deepcopy(norm)), torch.randn(2, 6, 9, 9))
    try:
        with limited_time():
            case.returned = fold(*case.given)
    except BaseException as error:  # exit() and an interrupt, too
        case.error = f"it fails: {describe_error(error)}"
    return case


def find_wrong_return(case: Fold) -> str | None:
    if case.error:
        return OPEN
    if case.returned is None:
        return None if case.changed_in_place else "it returns nothing: end it with return conv, or return weight, bias"
    if isinstance(case.returned, nn.Module):
        norms = any("BatchNorm" in type(layer).__name__ for layer in case.returned.modules())
        return "what it returns still holds a BatchNorm: one convolution must do the work of both" if norms else None
    if case.result is None:
        kind = type(case.returned).__name__
        return f"it returns an object of type {kind}: return a convolution, or the tensors weight, bias"
    weight, bias = case.result
    if bias is None:
        return None
    return None if isinstance(weight, Tensor) and isinstance(bias, Tensor) else "weight and bias must both be tensors"


def _ready(case: Fold) -> bool:
    return case.result is not None and isinstance(case.result[0], Tensor) and find_wrong_return(case) is None


def find_wrong_shape(case: Fold) -> str | None:
    if not _ready(case):
        return OPEN
    (weight, bias), wanted = case.result, case.conv.weight.shape
    if weight.shape != wanted:
        return f"the weight has shape {tuple(weight.shape)} instead of {tuple(wanted)}, that of the convolution's own"
    if bias is None:
        return "there is no bias: the folded convolution needs one, even where the convolution had none"
    return None if bias.shape == (6,) else f"the bias has shape {tuple(bias.shape)} instead of (6,)"


def _likely_scales(case: Fold) -> Iterator[tuple[Tensor, str]]:
    gamma, var, eps = case.norm.weight, case.norm.running_var, case.norm.eps
    yield gamma / var.sqrt(), f"bn.eps is missing, here {eps}: it stands under the root"
    yield gamma / (var.sqrt() + eps), "eps stands under the root: (var + eps).sqrt()"
    yield gamma / (var + eps), "the root is missing: (var + eps).sqrt()"
    yield 1 / (var + eps).sqrt(), "BatchNorm's own weight, γ, is missing"
    yield torch.ones_like(gamma), "it is still the convolution's"
    yield gamma, "the running variance is missing"


def find_wrong_weight(case: Fold) -> str | None:
    if find_wrong_shape(case) is not None:
        return OPEN
    found, own = case.result[0], case.conv.weight
    if close(found, own * case.scale.reshape(-1, 1, 1, 1)):
        return None
    for scale, mistake in _likely_scales(case):
        if close(found, own * scale.reshape(-1, 1, 1, 1)):
            return mistake
    if own.shape[1] == 6 and close(found, own * case.scale.reshape(1, -1, 1, 1)):
        return "it is scaled along the channels in: the factor of a channel out goes to weight[channel]"
    return "it is not the convolution's times γ/√(var + eps), channel by channel"


def _likely_biases(case: Fold) -> Iterator[tuple[Tensor, str]]:
    own, scale, mean, beta = case.own_bias, case.scale, case.norm.running_mean, case.norm.bias
    if case.conv.bias is not None:
        yield beta - mean * scale, "the convolution's own bias is missing"
        yield beta + own - mean * scale, "the convolution's own bias goes through BatchNorm as well: scale it"
    yield beta + own * scale, "the running mean is missing"
    yield beta + own * scale - mean, "the running mean must be scaled like the rest"
    yield beta + (own + mean) * scale, "the running mean is subtracted, not added"
    yield (own - mean) * scale, "BatchNorm's own bias, β, is missing"
    yield own, "it is still the convolution's"


def find_wrong_bias(case: Fold) -> str | None:
    if find_wrong_shape(case) is not None or find_wrong_weight(case) is not None:
        return OPEN
    found = case.result[1]
    if close(found, (case.own_bias - case.norm.running_mean) * case.scale + case.norm.bias):
        return None
    likely = (mistake for bias, mistake in _likely_biases(case) if close(found, bias))
    return next(likely, "it is not (b − mean)·γ/√(var + eps) + β")


def find_wrong_output(case: Fold) -> str | None:
    if case.error or find_wrong_return(case) is not None or (case.result and find_wrong_shape(case) is not None):
        return OPEN
    wanted = case.norm(case.conv(case.x))
    try:
        found = case.run()
    except Exception as error:
        return f"what it returns fails on {case.x.shape[1]} channels: {describe_error(error)}"
    if found.shape != wanted.shape:
        return (
            f"the output has shape {tuple(found.shape)} instead of {tuple(wanted.shape)}: "
            "take stride, padding and groups over from the convolution"
        )
    return None if close(found, wanted) else "it differs from that of both layers, one behind the other"


def find_changed_norm(case: Fold) -> str | None:
    if case.error:
        return OPEN
    norm = case.given[1]
    if norm.training:
        return "it is in training mode afterwards"
    return "its parameters or running statistics have changed" if _changed(case.norm, norm) else None


PROPERTIES = {
    "runs": "no error",
    "returns a convolution": "a module, or weight and bias",
    "shapes": "weight and bias have the convolution's",
    "weight": "the convolution's times γ/√(var + eps)",
    "bias": "(b − mean)·γ/√(var + eps) + β",
    "output": "the same as of both layers in evaluation mode",
    "BatchNorm left as it was": "nothing in it changes",
}


def judge_fold(case: Fold) -> Iterator[Line]:
    """The lines on one case."""
    yield Line("wrong" if case.error else "right", "runs", case.error or "")
    questions = (find_wrong_return, find_wrong_shape, find_wrong_weight, find_wrong_bias, find_wrong_output)
    for name, find in zip(list(PROPERTIES)[1:], (*questions, find_changed_norm), strict=True):
        problem = find(case)
        if problem != OPEN:
            yield Line("wrong" if problem else "right", name, problem or "")
    if _changed(case.conv, case.given[0]):
        text = "the caller's convolution is changed in place; a copy leaves the network as it was"
        yield Line("note", "convolution", text)


def check_fold_batchnorm(fold: Callable[..., Any]) -> Report:
    """Check a function that folds a BatchNorm into a convolution, called as ``fold(conv, bn)``.

    Both layers come in evaluation mode. The function returns a convolution (any module, or the caller's own, changed)
    or the tensors ``weight, bias``. It is tried with and without a bias, with a stride and with groups.

    Source: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, section 3.1: at inference BatchNorm is linear.

    >>> check_fold_batchnorm(lambda conv, bn: conv).ok
    False
    """
    title = "check_fold_batchnorm"
    if isinstance(fold, nn.Module) or not callable(fold):
        return refuse(title, f"it takes a function, got {describe(fold)}")
    with undisturbed(), torch.no_grad():
        cases = [_run_case(fold, label, options) for label, options in CASES]
        lines = merge(PROPERTIES, [(case.label, list(judge_fold(case))) for case in cases])
    # A module of another kind than nn.Conv2d has no weights to look at, and needs none if its output is right.
    if all(isinstance(case.returned, nn.Module) and case.result is None for case in cases):
        lines = [line for line in lines if line.name not in ("shapes", "weight", "bias")]
    return Report(title, tuple(lines))
