"""Feedback on a function that folds a BatchNorm into the convolution in front of it.

In evaluation mode BatchNorm is γ·(z − mean)/√(var + eps) + β, a line through each channel z = w∗x + b. So it is a
convolution again, with s = γ/√(var + eps), weights w·s and bias (b − mean)·s + β.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from resnet_course.checks.report import Line, Report, attempt, describe, follow, judged, merge, refuse, undisturbed
from resnet_course.checks.trace import close

CASES: dict[str, dict[str, Any]] = {
    "a convolution without bias": {"bias": False},
    "a convolution with bias": {"bias": True},
    "a convolution with stride 2": {"bias": False, "stride": 2},
    "a convolution in two groups": {"bias": True, "groups": 2},
}
PROPERTIES = {
    "runs": "no error",
    "returns a convolution": "a module, or weight and bias",
    "weight": "the convolution's times γ/√(var + eps)",
    "bias": "(b − mean)·γ/√(var + eps) + β",
    "output": "the same as of both layers in evaluation mode",
    "BatchNorm left as it was": "nothing in it changes",
}


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
        return refuse(title, f"it takes a function, got an object of type {type(fold).__name__}")
    with undisturbed(), torch.no_grad():
        judged_cases = (follow(case, ((case, line) for line in _judge_case(fold, CASES[case]))) for case in CASES)
        findings = [finding for of_case in judged_cases for finding in of_case]
    lines = merge(PROPERTIES, findings)
    # A module of another kind than nn.Conv2d has no weights to look at, and needs none if its output is right.
    if not any(line.name == "weight" for _, line in findings) and lines[4].verdict == "right":
        lines = tuple(line for line in lines if line.name not in ("weight", "bias"))
    return Report(title, lines)


def _judge_case(fold: Callable[..., Any], options: dict[str, Any]) -> Iterator[Line]:
    conv, norm = nn.Conv2d(6, 6, kernel_size=3, padding=1, **options).eval(), nn.BatchNorm2d(6, eps=0.1).eval()
    state = norm.state_dict()  # of a BatchNorm that has seen something, with an eps that counts
    state["running_mean"].normal_()
    state["running_var"].uniform_(0.5, 2.0)
    state["weight"].uniform_(0.5, 1.5).mul_(torch.tensor([1.0, 1, 1, 1, 1, -1]))
    state["bias"].normal_()
    x, given_conv, given_norm = torch.randn(2, 6, 9, 9), copy.deepcopy(conv), copy.deepcopy(norm)
    made, problem = attempt("it fails", fold, given_conv, given_norm)
    yield judged("runs", problem)
    if problem:
        return
    if _changed(conv, given_conv):
        made = given_conv if made is None else made
        text = "the caller's convolution is changed in place; a copy leaves the network as it was"
        yield Line("note", "convolution", text)
    changed = "its parameters or running statistics have changed" * _changed(norm, given_norm)
    yield judged("BatchNorm left as it was", "it is in training mode" if given_norm.training else changed)
    yield judged("returns a convolution", problem := _find_wrong_return(made, conv))
    if problem:
        return
    if isinstance(made, (nn.Conv2d, tuple, list)):
        weight, bias = (made.weight, made.bias) if isinstance(made, nn.Conv2d) else made
        yield judged("weight", problem := _find_wrong_weight(weight, conv, norm))
        if not problem:
            yield judged("bias", _find_wrong_bias(bias, conv, norm))
        if not isinstance(made, nn.Module):
            given_conv.weight, given_conv.bias = nn.Parameter(weight), nn.Parameter(bias)
            made = given_conv
    yield judged("output", _find_wrong_output(made, x, norm(conv(x))))


def _changed(before: nn.Module, now: nn.Module) -> bool:
    old, new = before.state_dict(), now.state_dict()
    return old.keys() != new.keys() or any(not torch.equal(old[name], new[name]) for name in old)


def _find_wrong_return(made: Any, conv: nn.Conv2d) -> str:
    if made is None:
        return "it returns nothing: end it with return conv, or return weight, bias"
    if isinstance(made, nn.Module) and any("BatchNorm" in type(layer).__name__ for layer in made.modules()):
        return "what it returns still holds a BatchNorm: one convolution must do the work of both"
    if isinstance(made, nn.Module) and not isinstance(made, nn.Conv2d):
        return ""
    parts = (made.weight, made.bias) if isinstance(made, nn.Conv2d) else made
    if not isinstance(parts, (tuple, list)) or len(parts) != 2:
        return f"it returns an object of type {type(made).__name__}: return a convolution, or the tensors weight, bias"
    weight, bias = parts
    if not isinstance(weight, Tensor) or not isinstance(bias, (Tensor, type(None))):
        return "weight and bias must both be tensors"
    if weight.shape != conv.weight.shape:
        return f"the weight has shape {tuple(weight.shape)} instead of {tuple(conv.weight.shape)}"
    if bias is None:
        return "there is no bias: the folded convolution needs one, even where the convolution had none"
    return "" if bias.shape == (6,) else f"the bias has shape {tuple(bias.shape)} instead of (6,)"


def _find_wrong_weight(weight: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> str:
    gamma, var, eps = norm.weight, norm.state_dict()["running_var"], norm.eps
    scale = gamma / (var + eps).sqrt()
    twins = [
        (scale, ""),
        (gamma / var.sqrt(), f"bn.eps is missing, here {eps}: it stands under the root"),
        (gamma / (var + 1e-5).sqrt(), f"bn.eps is missing, here {eps}: it stands under the root"),
        (gamma / (var.sqrt() + eps), "eps stands under the root: (var + eps).sqrt()"),
        (gamma / (var + eps), "the root is missing: (var + eps).sqrt()"),
        (1 / (var + eps).sqrt(), "BatchNorm's own weight, γ, is missing"),
        (torch.ones(6), "it is still the convolution's"),
        (gamma, "the running variance is missing"),
    ]
    if conv.groups == 1 and close(weight, conv.weight * scale[None, :, None, None]):
        return "it is scaled along the channels in: the factor of a channel out goes to weight[channel]"
    found = (mistake for factor, mistake in twins if close(weight, conv.weight * factor[:, None, None, None]))
    return next(found, "it is not the convolution's times γ/√(var + eps), channel by channel")


def _find_wrong_bias(bias: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> str:
    own = torch.zeros(6) if conv.bias is None else conv.bias
    mean, beta = norm.state_dict()["running_mean"], norm.bias
    scale = norm.weight / (norm.state_dict()["running_var"] + norm.eps).sqrt()
    twins = [
        ((own - mean) * scale + beta, ""),
        (beta - mean * scale, "the convolution's own bias is missing"),
        (beta + own - mean * scale, "the convolution's own bias goes through BatchNorm as well: scale it"),
        (beta + own * scale, "the running mean is missing"),
        (beta + own * scale - mean, "the running mean must be scaled like the rest"),
        (beta + (own + mean) * scale, "the running mean is subtracted, not added"),
        ((own - mean) * scale, "BatchNorm's own bias, β, is missing"),
        (own, "it is still the convolution's"),
    ]
    return next((mistake for twin, mistake in twins if close(bias, twin)), "it is not (b − mean)·γ/√(var + eps) + β")


def _find_wrong_output(made: nn.Module, x: Tensor, wanted: Tensor) -> str:
    found, problem = attempt(f"what it returns fails on {x.shape[1]} channels", made, x)
    if problem or not isinstance(found, Tensor):
        return problem or f"what it returns puts out {describe(found)}, no tensor"
    if found.shape != wanted.shape:
        hint = "take stride, padding and groups over from the convolution"
        return f"the output has shape {tuple(found.shape)} instead of {tuple(wanted.shape)}: {hint}"
    return "" if close(found, wanted) else "it differs from that of both layers, one behind the other"
