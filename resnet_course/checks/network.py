"""Feedback on a whole network: stem, stages, head and the number of its parameters."""

import copy

import torch
from torch import nn

from resnet_course.checks.anatomy import Network
from resnet_course.checks.blocks import describe
from resnet_course.checks.forms import BLOCK_COUNTS, Form, find_wrong_number
from resnet_course.checks.judgement import BLOCK_PROPERTIES, judge_block
from resnet_course.checks.report import (
    Line,
    Report,
    describe_error,
    follow,
    merge,
    refuse,
    show,
    undisturbed,
)
from resnet_course.checks.runs import RUN_PROPERTIES, judge_run
from resnet_course.checks.trace import Run, make_run

NETWORK_PROPERTIES = {
    "stem": "convolution, BatchNorm, ReLU, and max pooling where the form has it",
    "blocks in each stage": "as the depth asks",
    "parameters": "as many as the form has",
    "head": "average over height and width, then one linear layer",
}

PROPERTIES = {"runs": RUN_PROPERTIES["runs"], **NETWORK_PROPERTIES, **BLOCK_PROPERTIES, **RUN_PROPERTIES}


def check_resnet(model: nn.Module, depth: int, num_classes: int = 1000) -> Report:
    """Check a network for ImageNet (18, 34, 50, 101 or 152 weight layers) or for CIFAR (6n+2), images in, logits out.

    Where a depth is of both kinds, as 50, the model's own first convolution decides. A model for grey images is given
    such. It stays as it is: a copy of it runs, on the CPU.

    Source: He et al. 2016, table 1 and section 4.2.

    >>> from resnet_lib.networks import resnet18
    >>> check_resnet(resnet18(num_classes=10), 18, num_classes=10).ok
    True
    """
    return _check_network("check_resnet", model, depth, num_classes)


def check_cifar_form(model: nn.Module, depth: int = 50, num_classes: int = 10) -> Report:
    """Check a network of 18, 34, 50, 101 or 152 layers in its form for images (N, 3, 32, 32).

    That form keeps the four stages, and works on all pixels: a 3×3 stem with stride 1 and no max pooling. It is common
    practice and not the paper's own network for CIFAR-10. The model stays as it is: a copy of it runs, on the CPU.

    Source: the stages are those of He et al. 2016, table 1; the stem is that of section 4.2, with 64 channels.

    >>> from resnet_lib.networks import resnet18
    >>> check_cifar_form(resnet18(num_classes=10), 18).ok
    False
    """
    return _check_network("check_cifar_form", model, depth, num_classes, "small")


def _check_network(title: str, model: nn.Module, depth: int, num_classes: int, kind: str = "") -> Report:
    model = getattr(model, "_orig_mod", model)  # of torch.compile, whose code can't be followed
    if isinstance(model, torch.jit.ScriptModule):
        return refuse(title, "a scripted or traced model hides what it runs: hand in the nn.Module that it was made of")
    if not isinstance(model, nn.Module):
        return refuse(title, f"model must be a network that is built, such as resnet18(), got {describe(model)}")
    problem = find_wrong_number("num_classes", num_classes) or find_wrong_number("depth", depth)
    if not problem and (int(depth) not in BLOCK_COUNTS and (kind or (int(depth) - 2) % 6 or depth < 8)):
        choices = ", ".join(map(str, BLOCK_COUNTS)) + ("" if kind else ", or 6n+2 for CIFAR: 8, 14, 20, …")
        problem = f"depth must be one of {choices}, got {show(depth)}"
    if problem:
        return refuse(title, problem)
    with undisturbed():
        try:
            copied = copy.deepcopy(model).to("cpu", torch.float32).train().requires_grad_()
        except BaseException as error:  # of the copy, too: a model that keeps tensors with a gradient can't be copied
            return refuse(title, describe_error(error))
        run, form, notes = _run_network(copied, int(depth), int(num_classes), kind)
        findings = [(run.label, [*judge_run(run), *notes])]
        network = Network(run, form)
        if run.out is None or not run.out.isnan().any():
            findings.append((run.label, follow("head", network.judge())))
            of_blocks = [(block.label, follow("steps", judge_block(block))) for block in network.blocks]
            findings += network.tell_pre_activation(of_blocks)
        return Report(title, tuple(merge(PROPERTIES, findings)))


def _run_network(model: nn.Module, depth: int, num_classes: int, kind: str) -> tuple[Run, Form, list[Line]]:
    """Run on small images; a head with a fixed pooling, such as AvgPool2d(7), works at 224×224 alone, and is right."""
    filters = [parameter for parameter in model.parameters() if parameter.dim() == 4]
    stem = filters[0].shape if filters else (64, 3, 7, 7)
    if not kind:
        both = depth in BLOCK_COUNTS and (depth - 2) % 6 == 0
        kind = "imagenet" if depth in BLOCK_COUNTS and not (both and stem[0] < 64) else "cifar"
    form = Form(depth, num_classes, kind, stem[0] if kind == "cifar" else 64, stem[1] if stem[1] in (1, 3) else 3)
    sizes = (64, 224) if kind == "imagenet" else (32,)
    runs: list[Run] = []
    for size in sizes:
        x = torch.randn(2, form.in_channels, size, size)
        runs.append(make_run(type(model).__name__, lambda: model, x, (2, num_classes)))
        if runs[-1].error is None:
            break
    run = runs[-1] if runs[-1].error is None else runs[0]
    notes = []
    if run.error is None and len(runs) > 1:
        text = "only 224×224 works; pooling by a mean over height and width takes images of any size"
        notes.append(Line("note", "image size", text))
    if form.in_channels == 1:
        notes.append(Line("note", "grey images", "checked with images of one channel"))
    if kind == "cifar" and form.width != 16:
        notes.append(Line("note", "width", f"{form.width} channels in the first stage; the paper has 16"))
    return run, form, notes
