"""Feedback on a whole network: stem, stages of blocks, head, and the number of its parameters."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parameter import is_lazy

from resnet_course.checks import judgement, report
from resnet_course.checks.anatomy import Block, Plan, make_plan
from resnet_course.checks.judgement import as_batch_norm, judge_block, judge_convolutions
from resnet_course.checks.report import Line, Report, judged
from resnet_course.checks.runs import RUN_PROPERTIES, judge_run
from resnet_course.checks.trace import NORMS, Run, Value, close, main_path, make_run, relu
from resnet_lib.arithmetic import cifar_resnet_cost, resnet_cost

# Blocks in each stage: He et al. 2016, table 1.
BLOCK_COUNTS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
NETWORK_PROPERTIES = {
    "stem": "convolution, BatchNorm, ReLU, and max pooling where the form has it",
    "blocks in each stage": "as the depth asks",
    "parameters": "as many as the form has",
    "head": "average over height and width, then one linear layer",
}


def check_resnet(model: nn.Module, depth: int, num_classes: int = 1000) -> Report:
    """Check a network for ImageNet (18, 34, 50, 101 or 152 weight layers) or for CIFAR (6n+2), images in, logits out.

    Where a depth is of both kinds, as 50, the model's own first convolution decides. A model for grey images is given
    such. It stays as it is: a copy of it runs, on the CPU.

    Source: He et al. 2016, table 1 and section 4.2.

    >>> from resnet_lib.networks import resnet18
    >>> check_resnet(resnet18(num_classes=10), 18, num_classes=10).ok
    True
    """
    return _check_network("check_resnet", model, depth, num_classes, "")


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


@dataclass
class Form:
    """What is asked of a network: the paper's for ImageNet, the paper's for CIFAR, or the first in small."""

    depth: int
    num_classes: int
    kind: str  # "imagenet", "cifar" or "small"
    width: int = 64  # of the first stage
    in_channels: int = 3

    def __post_init__(self) -> None:
        self.pools = self.kind == "imagenet"
        self.counts = ((self.depth - 2) // 6,) * 3 if self.kind == "cifar" else BLOCK_COUNTS[self.depth]
        self.expansion = 4 if self.kind != "cifar" and self.depth >= 50 else 1
        self.features = self.width * 2 ** (len(self.counts) - 1) * self.expansion
        self.stem = Plan((7 if self.pools else 3,), (self.in_channels, self.width), (1 + self.pools,), False)

    def plan(self, stage: int, first: bool) -> Plan:
        """The plan of a stage's first block, or of its others.

        >>> Form(50, 10, "imagenet").plan(1, first=True).channels
        (256, 128, 128, 512)
        """
        width = self.width * 2**stage
        before = width * self.expansion // 2 if stage else width
        return make_plan(before if first else width * self.expansion, width, 1 + (first and stage > 0), self.expansion)

    def parameters(self, shortcut: str) -> int:
        """How many a network has with shortcuts of this option."""
        size = self.in_channels, self.num_classes
        if self.kind == "cifar":
            return cifar_resnet_cost(self.depth, shortcut, 32, self.width, *size).parameters
        larger_stem = 0 if self.pools else self.in_channels * 64 * (7 * 7 - 3 * 3)
        return resnet_cost(self.depth, shortcut, 224, *size).parameters - larger_stem


def _check_network(title: str, model: Any, depth: Any, num_classes: Any, kind: str) -> Report:
    model = getattr(model, "_orig_mod", model)  # of torch.compile, whose code can't be followed
    problem = report.find_wrong_number("num_classes", num_classes) or report.find_wrong_number("depth", depth)
    if not isinstance(model, nn.Module):
        problem = f"model must be a network that is built, such as resnet18(), got {report.describe(model)}"
    elif isinstance(model, torch.jit.ScriptModule):
        problem = "a scripted or traced model hides what it runs: hand in the nn.Module that it was made of"
    elif any(map(is_lazy, model.parameters())):
        problem = "its lazy layers are not made yet: run it once, as model(torch.zeros(1, 3, 64, 64)), then hand it in"
    elif not problem and int(depth) not in BLOCK_COUNTS and (kind or (int(depth) - 2) % 6 or depth < 8):
        choices = ", ".join(map(str, BLOCK_COUNTS)) + ("" if kind else ", or 6n+2 for CIFAR: 8, 14, 20, …")
        problem = f"depth must be one of {choices}, got {depth}"
    if problem:
        return report.refuse(title, problem)
    with report.undisturbed():
        # A model that keeps tensors with a gradient can't be copied.
        copied, problem = report.attempt("the model can't be copied", copy.deepcopy, model)
        if problem:
            return report.refuse(title, problem)
        copied = copied.to("cpu", torch.float32).train().requires_grad_()
        run, form, findings = _run_network(copied, int(depth), int(num_classes), kind)
        if run.out is None or not run.out.isnan().any():
            findings += report.follow(run.label, judge_network(run, form))
    if any(line.text.startswith("pre-activation") for _, line in findings):  # its blocks are shifted: tell that alone
        findings = [(at, line) for at, line in findings if line.name != "steps" or line.text.startswith("pre-act")]
    properties = {"runs": ""} | NETWORK_PROPERTIES | judgement.BLOCK_PROPERTIES | RUN_PROPERTIES
    return Report(title, report.merge(properties, findings))


def _run_network(model: nn.Module, depth: int, num_classes: int, kind: str) -> tuple[Run, Form, report.Findings]:
    """Run on small images; a head with a fixed pooling, such as AvgPool2d(7), works at 224×224, and is right."""
    filters = [parameter.shape for parameter in model.parameters() if parameter.dim() == 4]
    width, in_channels = filters[0][:2] if filters else (64, 3)
    both = depth in BLOCK_COUNTS and (depth - 2) % 6 == 0
    kind = kind or ("imagenet" if depth in BLOCK_COUNTS and not (both and width < 64) else "cifar")
    form = Form(depth, num_classes, kind, width if kind == "cifar" else 64, in_channels if in_channels in (1, 3) else 3)
    runs: list[Run] = []
    for size in (64, 224) if form.pools else (32,):
        x = torch.randn(2, form.in_channels, size, size)
        runs.append(make_run(type(model).__name__, lambda: model, x, (2, num_classes)))
        if not runs[-1].error:
            break
    run = runs[0] if runs[-1].error else runs[-1]
    fixed = "64×64 fails, 224×224 works; pooling by a mean over height and width takes images of any size"
    notes = {
        "image size": fixed * (run is not runs[0]),
        "width": f"{form.width} channels in the first stage; the paper has 16" * (kind == "cifar" and form.width != 16),
        "grey images": "checked with images of one channel" * (form.in_channels == 1),
    }
    lines = [*judge_run(run), *(Line("note", name, text) for name, text in notes.items() if text)]
    return run, form, [(run.label, line) for line in lines]


def find_blocks(run: Run, form: Form) -> tuple[Block, list[Block], list[int]]:
    """The convolutions as they ran, sorted into stem and blocks; no blocks if they are not those asked."""
    path, kernels, counts = main_path(convs_of(run)), form.plan(0, first=True).kernels, [0] * len(form.counts)
    pooled = [len(value.convs) for value in run.all("max_pool2d")]
    starts = range(pooled[0] if pooled and 0 < pooled[0] < 5 else 1, len(path), len(kernels))
    taken = [path[i][0].parents[0] for i in starts]  # by each block
    stem = Block(form.stem, run, [conv for conv, _ in path[: starts.start]], None, run.start, (*taken, None)[0])
    blocks = []
    for i, x, out in zip(starts, taken, [*taken[1:], None], strict=True):
        branch = [conv for conv, _ in path[i : i + len(kernels)]]
        stage = math.log2(branch[-1].channels[1] / (form.expansion if len(branch) == len(kernels) else 1) / form.width)
        big = [max(conv.kernel) > 1 for conv in branch]
        if stage not in range(len(counts)) or big != [kernel > 1 for kernel in kernels][: len(branch)]:
            return stem, [], [0] * len(counts)
        counts[int(stage)] += 1
        plan = form.plan(int(stage), first=counts[int(stage)] == 1)
        label, end = f"stage {stage + 1:g}, block {counts[int(stage)]}", out or find_features(run, branch[-1])
        blocks.append(Block(plan, run, branch, path[i][1], x, end, label))
    return stem, blocks, counts


def find_classifiers(run: Run) -> list[Value]:
    """The linear layers that ran, or the first that failed, or a last 1×1 convolution that does what one would."""
    failed, last = run.recorder.failed, run.all("conv2d")[-1:]
    if failed is not None and failed.kind == "linear":
        return run.all("linear") or [failed]
    ends = run.out is not None and last and close(last[0].numbers.mean((2, 3)), run.out.flatten(1))
    return run.all("linear") or (last if ends and max(last[0].kernel) == 1 else [])


def convs_of(run: Run) -> list[Value]:
    """The convolutions of stem and blocks."""
    classifiers = find_classifiers(run)
    return [conv for conv in run.all("conv2d") if conv not in classifiers]


def find_features(run: Run, last: Value) -> Value | None:
    """What the head was given: the last block's output."""
    value = next((linear.parents[0] for linear in find_classifiers(run)), None)
    while value is not None and value.shape != last.shape:
        value = value.parents[0] if value.parents else None
    return value


def judge_network(run: Run, form: Form) -> Iterator[tuple[str, Line]]:
    """The lines on the network as a whole, and on each block; what ran after an error has none."""
    if not run.is_followed():
        yield run.label, Line("open", "steps", judgement.UNFOLLOWED)
        return
    stem, blocks, counts = find_blocks(run, form)
    rest = [conv for conv, _ in main_path(convs_of(run))][len(stem.branch) :]
    if rest:
        yield run.label, judged("stem", find_wrong_stem(stem, form))
    if counts == [*form.counts] or not run.error or (rest and not blocks):
        yield run.label, judged("blocks in each stage", find_wrong_counts(form, counts, rest))
    yield run.label, judged("parameters", find_wrong_total(run, form, blocks))
    if find_classifiers(run) or not run.error:
        yield run.label, judged("head", find_wrong_head(run, form, rest))
    for block in blocks:
        yield from ((block.label, line) for line in judge_block(block))


def find_wrong_stem(stem: Block, form: Form) -> str:
    if len(stem.branch) > 1:
        kernels = ", ".join("{}×{}".format(*conv.kernel) for conv in stem.branch)
        return f"it has {len(stem.branch)} convolutions ({kernels}); the form asked has one"
    if problem := next((line.text for line in judge_convolutions(stem) if line.verdict == "wrong"), ""):
        return f"for images of {'224×224' if form.pools else '32×32'} pixels, {problem}"
    line, made = as_batch_norm(" ".join(stem.line(stem.out, stem.branch[0]))).replace("pad max", "max"), stem.out
    wanted = ("bn relu max_pool2d", "bn max_pool2d relu") if form.pools else ("bn relu",)
    if line not in wanted:
        return f"the convolution is followed by `{line}`, not by `{wanted[0]}`"
    while made.kind not in NORMS:
        made = made.parents[0]
    pooled = close(F.max_pool2d(relu(made.numbers), 3, 2, 1), stem.out.numbers)
    return "" if pooled or not form.pools else "its max pooling is not 3×3 with stride 2 and padding 1"


def find_wrong_counts(form: Form, counts: list[int], rest: list[Value]) -> str:
    if any(counts):
        told = f"the stages have {counts} blocks; ResNet-{form.depth} has {[*form.counts]}"
        return told if counts != [*form.counts] else ""
    kinds = "bottlenecks, 1×1, 3×3 and 1×1" if form.expansion == 4 else "basic blocks, 3×3 and 3×3"
    widths = ", ".join(str(form.width * 2**i) for i in range(len(form.counts)))
    got = ", ".join("{}×{} to {}".format(*conv.kernel, conv.channels[1]) for conv in rest[:6]) or "missing"
    text = f"ResNet-{form.depth} is built of {kinds}, with {widths} channels; the convolutions behind the stem are "
    return f"{text}{got}{', …' * (len(rest) > 6)}"


def find_wrong_total(run: Run, form: Form, blocks: list[Block]) -> str:
    biases = {id(conv.bias): conv.bias.numel() for conv in convs_of(run) if conv.bias is not None}
    found = sum(parameter.numel() for parameter in run.module.parameters()) - sum(biases.values())
    wanted = form.parameters("A" if form.kind == "cifar" and not any(block.projection for block in blocks) else "B")
    gap = f"{found:,} parameters instead of {wanted:,} ({found - wanted:+,}), not counting biases of convolutions"
    return "" if found in (wanted, form.parameters("A"), form.parameters("C")) else gap


def find_wrong_head(run: Run, form: Form, rest: list[Value]) -> str:
    layers = find_classifiers(run)
    if len(layers) != 1:
        return f"{len(layers) or 'no'} linear layers run: ResNet's head has one, nn.Linear behind the pooling"
    layer, (taken, classes) = layers[0], layers[0].channels
    arrived, logits = layer.parents[0].numbers, layer.numbers
    if layer.kind == "conv2d":  # before the mean or behind it
        arrived, logits = arrived.mean((2, 3)), logits.mean((2, 3))
    arrived = arrived.flatten(1)
    features = find_features(run, rest[-1]) if rest else None
    if layer.kind == "linear" and len(shape := layer.options["given"]) != 2:
        return f"the linear layer gets shape {shape}: flatten it to (N, {form.features}) after the pooling"
    if features is not None and features.shape[2:] != (1, 1) and close(arrived, features.numbers.flatten(1)):
        told = f"the linear layer gets {arrived.shape[1]} features, an image flattened without pooling"
        return f"{told}: average over height and width first, which leaves {features.shape[1]}"
    if (taken, classes) != (form.features, form.num_classes):
        hint = " (512 · expansion go in)" * (form.expansion == 4)
        return f"the linear layer is {taken} → {classes}; it should be {form.features} → {form.num_classes}{hint}"
    if run.out is not None and not close(run.out.flatten(1), logits):
        made = {"softmax": logits.softmax(1), "log_softmax": logits.log_softmax(1), "ReLU": relu(logits)}
        name = next((name for name, value in made.items() if close(run.out, value)), "something")
        why = "cross_entropy applies softmax itself and expects" if "softmax" in name else "the loss expects"
        return f"{name} follows the linear layer: {why} its output as it is"
    if features is None or close(arrived, features.numbers.mean((2, 3))):
        return ""
    what = "the maximum" if close(arrived, features.numbers.amax((2, 3))) else "other numbers"
    return f"the linear layer gets {what} of the last block's output, not its average over height and width"
