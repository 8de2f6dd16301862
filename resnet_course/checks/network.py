"""Feedback on a whole network: stem, stages, head and the number of its parameters."""

import copy
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_course.checks.blocks import describe
from resnet_course.checks.forms import BLOCK_COUNTS, Form, find_wrong_number
from resnet_course.checks.judgement import BLOCK_PROPERTIES, judge_block
from resnet_course.checks.report import (
    Line,
    Report,
    describe_error,
    describe_shape,
    follow,
    merge,
    refuse,
    show,
    undisturbed,
)
from resnet_course.checks.runs import RUN_PROPERTIES, judge_run
from resnet_course.checks.trace import Call, Run, close, make_run
from resnet_course.checks.twins import Block, Plan, main_path

HEADS = ("mean", "sum", "amax", "flatten", "view", "reshape", "linear", "avg_pool2d", "max_pool2d",
         "adaptive_avg_pool2d", "adaptive_max_pool2d")  # fmt: skip


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
            findings += [(block.label, follow("steps", judge_block(block))) for block in network.blocks]
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


class Network:
    """A network as it ran: its convolutions sorted into stem and blocks; no blocks if they are not those asked."""

    def __init__(self, run: Run, form: Form) -> None:
        self.run, self.form = run, form
        path = main_path(run.calls("conv2d"))
        pooling = next(iter(run.calls("max_pool2d")), None)
        in_stem = max(1, len(pooling.history)) if pooling is not None and len(pooling.history) < 5 else 1
        self.stem, self.rest = [call for call, _ in path[:in_stem]], path[in_stem:]
        self.stages: list[list[Block]] = [[] for _ in form.counts]
        kernels = form.plan(0, first=True).kernels
        length = len(kernels)
        chunks = [self.rest[i : i + length] for i in range(0, len(self.rest), length)]
        for i, chunk in enumerate(chunks):
            branch = [call for call, _ in chunk]
            stage = self._stage_of(branch, length)
            big = [max(call.kernel) > 1 for call in branch]
            if stage is None or big != [kernel > 1 for kernel in kernels][: len(branch)]:
                self.stages = [[] for _ in form.counts]
                return
            blocks = self.stages[stage]
            label = f"stage {stage + 1}, block {len(blocks) + 1}"
            following = chunks[i + 1][0][0].came_in if i + 1 < len(chunks) else self.features
            blocks.append(
                Block(label, form.plan(stage, not blocks), run, branch, chunk[0][1], branch[0].came_in, following)
            )

    @property
    def blocks(self) -> list[Block]:
        return [block for stage in self.stages for block in stage]

    def _stage_of(self, branch: list[Call], length: int) -> int | None:
        """The stage that the channels of the block's last convolution belong to."""
        wide = branch[-1].channels[1] / (self.form.expansion if len(branch) == length else 1)
        number = math.log2(wide / self.form.width)
        return int(number) if number in range(len(self.form.counts)) else None

    @property
    def features(self) -> Tensor | None:
        """What the head was given: the last block's output."""
        last = self.rest[-1][0] if self.rest else None
        if last is None or last.went_out is None:
            return None
        calls = [call for call in self.run.recorder.calls if call.kind in HEADS and last in call.history]
        return next((c.came_in for c in reversed(calls) if c.came_in.shape == last.went_out.shape), None)

    def judge(self) -> Iterator[Line]:
        """The lines on the network as a whole."""
        for name, find in (
            ("stem", self.find_wrong_stem),
            ("blocks in each stage", self.find_wrong_counts),
            ("parameters", self.find_wrong_total),
            ("head", self.find_wrong_head),
        ):
            problem = find()
            if problem != "open":
                yield Line("wrong" if problem else "right", name, problem or "")

    def find_wrong_stem(self) -> str | None:
        kernel, stride, pools = self.form.stem
        if not self.stem:
            return "open"
        call, width = self.stem[-1], self.form.width
        size = "224×224" if pools else "32×32"
        right = f"{kernel}×{kernel}, to {width} channels, with stride {stride} and padding {kernel // 2}"
        if len(self.stem) > 1:
            kernels = ", ".join(f"{call.kernel[0]}×{call.kernel[1]}" for call in self.stem)
            return f"it has {len(self.stem)} convolutions ({kernels}); the form asked has one, {right}"
        if (call.kernel, call.channels[1], call.stride) != ((kernel, kernel), width, stride):
            got = f"{call.kernel[0]}×{call.kernel[1]}, to {call.channels[1]} channels, with stride {call.stride}"
            return f"its convolution is {got}; for images of {size} it should be {right}"
        if call.went_out is None or not self.rest:
            return "open"
        side = call.came_in.shape[-1]
        if call.went_out.shape[-1] != -(-side // stride):
            return f"its convolution makes {call.went_out.shape[-1]} of {side} pixels: it needs padding={kernel // 2}"
        plan = Plan((kernel,), (self.form.in_channels, width), (stride,), False)
        taken = self.rest[0][0].came_in
        block = Block("the stem", plan, self.run, self.stem, None, self.run.x, taken)
        ways = {steps.line: steps.value for steps in block.steps_behind(call)}
        if "bn" in ways:
            activated = F.relu(ways["bn"])
            if close(taken, F.max_pool2d(activated, 3, 2, 1) if pools else activated):
                return None
        line = next((line for line, value in ways.items() if close(value, taken)), None)
        if line is None:
            got = f"the first block gets {describe_shape(taken.shape)}"
            return f"{got}, and not what convolution, BatchNorm, ReLU{' and max pooling' * pools} make"
        steps = line.split()
        wrong = []
        if "bn" not in steps:
            wrong.append("no BatchNorm follows the first convolution")
        if "relu" not in steps:
            wrong.append("the ReLU behind BatchNorm is missing")
        if pools and "max_pool2d" not in steps:
            wrong.append("the max pooling is missing: 3×3 with stride 2 and padding 1, behind the ReLU")
        elif not pools and "max_pool2d" in steps:
            wrong.append("a max pooling stands behind the first convolution: put nn.Identity() in its place")
        made = f"`{line}` follows the convolution, which gives {describe_shape(taken.shape)}"
        return "; ".join(wrong) or f"{made}; max pooling is 3×3 with stride 2 and padding 1" * pools or made

    def find_wrong_counts(self) -> str | None:
        form, counts = self.form, [len(stage) for stage in self.stages]
        if counts == list(form.counts):
            return None
        if self.run.error and (any(counts) or not self.rest):
            return "open"
        if any(counts):
            return f"the stages have {counts} blocks; ResNet-{form.depth} has {list(form.counts)}"
        kinds = "bottlenecks, 1×1, 3×3 and 1×1" if form.expansion == 4 else "basic blocks, 3×3 and 3×3"
        widths = ", ".join(str(form.width * 2**i) for i in range(len(form.counts)))
        got = ", ".join(f"{call.kernel[0]}×{call.kernel[1]} to {call.channels[1]}" for call, _ in self.rest[:6])
        return (
            f"ResNet-{form.depth} is built of {kinds}, with {widths} channels; the convolutions behind the stem are "
            f"{got or 'missing'}{', …' * (len(self.rest) > 6)}"
        )

    def find_wrong_total(self) -> str | None:
        biases = {id(call.bias): call.bias.numel() for call in self.run.calls("conv2d") if call.bias is not None}
        found = sum(parameter.numel() for parameter in self.run.module.parameters()) - sum(biases.values())
        keeping = any(b.projection is not None and b.plan.keeps_shape and b.projection.stride == 1 for b in self.blocks)
        any_projection = any(block.projection is not None for block in self.blocks)
        option_a = any(b.complete and b.join and b.join.kind == "option A" for b in self.blocks)
        shortcut = "C" if keeping else "A" if option_a or (self.form.kind == "cifar" and not any_projection) else "B"
        wanted = self.form.parameters(shortcut)
        if found == wanted:
            return None
        return f"{found:,} parameters instead of {wanted:,} ({found - wanted:+,}), not counting biases of convolutions"

    def find_wrong_head(self) -> str | None:
        form, linear = self.form, self.run.calls("linear")
        if not linear:
            return "open" if self.run.error else "no linear layer runs: the head is nn.Linear, behind the pooling"
        if len(linear) > 1:
            return f"{len(linear)} linear layers run: ResNet's head has one"
        arrived, last = linear[0].came_in, self.features
        (features, classes), wanted = linear[0].channels, form.features
        if arrived.dim() != 2:
            return f"the linear layer gets shape {tuple(arrived.shape)}: flatten it to (N, {wanted}) after the pooling"
        if last is not None and last.shape[2:] != (1, 1) and close(arrived, last.flatten(1)):
            told = f"the linear layer gets {arrived.shape[1]} features, an image flattened without pooling"
            return f"{told}: average over height and width first, which leaves {last.shape[1]}"
        if features != wanted:
            hint = ", that is 512 · expansion" if form.expansion == 4 else ""
            return f"the linear layer takes {features} features, and the last stage puts out {wanted}{hint}"
        if classes != form.num_classes:
            return f"the linear layer puts out {classes} classes instead of {form.num_classes}: look at num_classes"
        out, logits = self.run.out, linear[0].went_out
        if out is None or logits is None:
            return "open"
        if not close(out, logits):
            return _name_last_activation(out, logits)
        if last is None or close(arrived, last.mean((2, 3))):
            return None
        if close(arrived, last.amax((2, 3))):
            return "the pooling before the linear layer takes the maximum: take the average over height and width"
        return "what the linear layer gets is not the average of the last block's output over height and width"


def _name_last_activation(out: Tensor, logits: Tensor) -> str:
    activations = {
        "softmax": logits.softmax(1),
        "log_softmax": logits.log_softmax(1),
        "sigmoid": logits.sigmoid(),
        "ReLU": F.relu(logits),
    }
    name = next((name for name, value in activations.items() if close(out, value)), "something")
    why = "cross_entropy applies softmax itself and expects" if "softmax" in name else "the loss expects"
    return f"{name} follows the linear layer: {why} its output as it is"
