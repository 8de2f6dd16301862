"""A network as it ran: its convolutions sorted into stem, stages of blocks and head, and what is wrong with each."""

import math
from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from resnet_course.checks.forms import Form
from resnet_course.checks.report import Line, describe_shape
from resnet_course.checks.trace import Call, Run, close
from resnet_course.checks.twins import Block, Plan, main_path

HEADS = ("mean", "sum", "amax", "flatten", "view", "reshape", "linear", "avg_pool2d", "max_pool2d",
         "adaptive_avg_pool2d", "adaptive_max_pool2d")  # fmt: skip


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

    def tell_pre_activation(self, findings: list[tuple[str, list[Line]]]) -> list[tuple[str, list[Line]]]:
        """One line for a network whose shortcuts carry what precedes an activation, since its blocks are shifted."""
        joins = [block.join for block in self.blocks if block.complete]
        line = next((join.line for join in joins if join is not None and join.kind == "before"), "")
        if not line:
            return findings
        kept = [(label, [one for one in lines if one.name not in ("steps", "shortcut")]) for label, lines in findings]
        text = f"pre-activation, the second ResNet paper's: the shortcuts carry what comes before `{line}`"
        return [*kept, (self.run.label, [Line("wrong", "steps", text)])]

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
