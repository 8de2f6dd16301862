"""What a check says of a block: its convolutions, its steps, and the way branch and shortcut come together."""

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F

from resnet_course.checks.report import Line, describe_shape
from resnet_course.checks.steps import judge_norms, judge_steps, spell_norm
from resnet_course.checks.trace import close
from resnet_course.checks.twins import Block, Join

BLOCK_PROPERTIES = {
    "convolutions": "every one has its kernel and channels, and so its weights",
    "padding": "zeros on all sides, so that only strides shrink the image",
    "stride": "on the right convolution, and on the shortcut",
    "norms": "BatchNorm and no other, with the statistics of the batch",
    "steps": "the numbers are those of convolution, BatchNorm and ReLU in their order",
    "addition": "branch plus shortcut, each once",
    "shortcut": "the input itself, or what brings it to the new shape",
}
POOLS = ("avg_pool2d", "max_pool2d", "adaptive_avg_pool2d", "interpolate")
ACTIVATION_ON_SHORTCUT = "no activation belongs on the shortcut"


def judge_block(block: Block, bare_projection: bool = False) -> Iterator[Line]:
    """The lines on one block. With ``bare_projection``, the shortcut's convolution may go without BatchNorm."""
    miscount = find_miscount(block)
    if miscount:
        yield Line("wrong", "convolutions", miscount)
        return
    yield judge_convolutions(block)
    yield _line("padding", find_wrong_padding(block))
    yield from judge_stride(block)
    yield from judge_norms(block)
    yield from judge_steps(block)
    if not block.complete:
        yield from judge_failure(block)
    elif block.join is not None:
        yield _line("addition", find_wrong_addition(block.join))
        yield from judge_shortcut(block, block.join, bare_projection)
    if any(call.bias is not None for call in block.convolutions):
        yield Line("note", "bias", "the BatchNorm behind a convolution subtracts its bias again: bias=False saves it")


def _line(name: str, problem: str) -> Line:
    return Line("wrong" if problem else "right", name, problem)


def find_miscount(block: Block) -> str:
    plan, count = block.plan, len(block.branch)
    if count == len(plan.kernels) or (block.out is None and count < len(plan.kernels)):
        return ""
    kernels = ", ".join(f"{call.kernel[0]}×{call.kernel[1]}" for call in block.branch)
    right = ", ".join(f"{kernel}×{kernel}" for kernel in plan.kernels)
    text = f"along the branch there are {kernels}; there should be {right}"
    if block.projection is not None and max(block.projection.kernel) > 1:
        text += f": {block.name_of(block.projection)} takes the block's input, not what another convolution puts out"
    if count == len(plan.kernels) + 1 and max(block.branch[-1].kernel) == 1:
        text += f"; {block.name_of(block.branch[-1])} takes the branch's output: was x overwritten on the way? Keep "
        text += "the input under a name of its own"
    return text


def judge_convolutions(block: Block) -> Line:
    wrong, plan = [], block.plan
    wanted = list(zip(plan.kernels, pairwise(plan.channels), strict=True))[: len(block.branch)]
    wanted.append((1, (plan.channels[0], plan.channels[-1])))  # of the projection
    for call, (kernel, (before, after)) in zip(block.convolutions, wanted, strict=False):
        name, (got_before, got_after) = block.name_of(call), call.channels
        if call.options["groups"] > 1:
            groups = call.options["groups"]
            wrong.append(f"{name} has {groups} groups, as ResNeXt has; here every channel sees all others")
        if call.options["dilation"] > 1:
            wrong.append(f"{name} has dilation {call.options['dilation']}; it should be 1")
        if (call.kernel, call.channels) != ((kernel, kernel), (before, after)):
            got = f"{call.kernel[0]}×{call.kernel[1]} from {got_before} to {got_after} channels"
            right = f"{kernel}×{kernel} from {before} to {after} channels, {kernel**2 * before * after:,} weights"
            wrong.append(f"{name} is {got}, {call.weight.numel():,} weights; it should be {right}")
    computed = [block.name_of(call) for call in block.convolutions if call.weight.grad_fn is not None]
    if computed and not wrong:
        text = f"{computed[0]} computes its weights from others (weight_norm or the like): not judged"
        return Line("open", "convolutions", text)
    return _line("convolutions", "; ".join(wrong))


def find_wrong_padding(block: Block) -> str:
    for call in block.convolutions:
        if call.went_out is None or call.options["dilation"] > 1:
            continue
        halves = [side // 2 for side in call.kernel]
        padded = F.conv2d(
            call.came_in, call.weight, call.bias, call.stride, halves, groups=call.options["groups"]
        ).detach()
        before, after = call.came_in.shape[2:], call.went_out.shape[2:]
        if padded.shape != call.went_out.shape:
            return (
                f"{block.name_of(call)} takes {before[0]}×{before[1]} to {after[0]}×{after[1]}: a {call.kernel[0]}×"
                f"{call.kernel[1]} convolution needs padding={halves[0]}, so that only its stride shrinks the image"
            )
        if not close(padded, call.went_out):
            return f"{block.name_of(call)} is not padded with {halves[0]} zeros on every side, as it should be"
    return ""


def judge_stride(block: Block) -> Iterator[Line]:
    plan, strides = block.plan, tuple(call.stride for call in block.branch)
    wanted, place = plan.strides[: len(strides)], plan.strides.index(plan.stride) + 1
    papers = plan.kernels == (1, 3, 1) and plan.stride > 1 and strides == (plan.stride, 1, 1)[: len(strides)]
    pooled = [call.kind for call in block.run.recorder.calls if call.kind in POOLS and call.history <= block.seen]
    projection = block.projection
    if strides != wanted and not papers:
        if plan.stride == 1:
            hint = "here the image keeps its size"
        elif max(strides) == 1:
            hint = f"a pooling stands in for it ({pooled[0]})" if pooled else f"give convolution {place} the stride"
        elif sum(stride > 1 for stride in strides) > 1:
            hint = f"the image shrinks more than once, and only convolution {place} should take the stride"
        else:
            hint = f"the stride belongs on convolution {place}"
        got, right = (", ".join(map(str, numbers)) for numbers in (strides, wanted))
        yield Line("wrong", "stride", f"the strides along the branch are {got}, not {right}: {hint}")
    elif projection is not None and projection.stride != plan.stride and not pooled:
        text = f"{block.name_of(projection)} has stride {projection.stride}, and the branch {plan.stride}"
        yield Line("wrong", "stride", f"{text}: give both the same")
    else:
        yield Line("right", "stride", "")
    if papers:
        text = "it sits on the first 1×1 convolution, as in the paper; on the 3×3, as in torchvision, it skips none"
        yield Line("note", "stride", text)


def find_wrong_addition(join: Join) -> str:
    branch, shortcut = join.weights
    alone = join.kind == "none"
    if join.operation == "concatenated":
        return "branch and shortcut are concatenated, side by side in more channels: add them with +"
    if join.operation == "multiplied":
        return "branch and shortcut are multiplied: add them"
    told = {
        (1, 1): "",
        (1, 0): "the shortcut is never added: the output is the branch alone; add the input before the last ReLU",
        (2, 0): "the branch is added to itself: x was overwritten on the way; keep the input under a name of its own",
        (0, 1): "the branch is never added: the output is the shortcut alone",
        (1, -1): "one path is subtracted from the other: add them",
        (-1, 1): "one path is subtracted from the other: add them",
        (1, 2): "the shortcut is added twice",
        (2, 1): "the branch is added twice",
        (0.5, 0.5): "the average of branch and shortcut is taken: add them",
    }
    scaled = f"{branch:g} times the branch" + ("" if alone else f" plus {shortcut:g} times the shortcut")
    return told.get((branch, shortcut), f"the sum is scaled, {scaled}: add both as they are")


def judge_shortcut(block: Block, join: Join, bare_projection: bool) -> Iterator[Line]:
    kind, line, plan = join.kind, join.line, block.plan
    wrong: list[str] = []
    unknown: list[str] = []
    if kind == "conv":
        name, source = block.name_of(block.projection), block.source[0]
        if source in POOLS:
            wrong.append(f"the shortcut pools ({source}) before its 1×1 convolution, as ResNet-D does; the paper's ")
            wrong[0] += "convolution takes the stride itself"
        elif source:
            wrong.append(f"{name} takes {source}: it should take the block's input itself")
        line = spell_norm(line, name, unknown)
        if "relu" in line.split():
            wrong.append(f"the shortcut carries ReLU of the projection: {ACTIVATION_ON_SHORTCUT}")
        elif not line and not bare_projection:
            wrong.append(f"no BatchNorm follows {name}: the shortcut's convolution has one as well")
        elif line not in ("", "bn"):
            wrong.append(f"the shortcut carries `{line}` behind {name}")
        if not plan.projects and plan.keeps_shape and bare_projection:
            wrong.append(f"{name} runs on the shortcut, where none was asked for: without it the input itself is added")
        elif not plan.projects and plan.keeps_shape and block.projection.stride == 1 and not wrong:
            text = "option C: a projection on every shortcut, even where the input itself would do"
            yield Line("note", "shortcut", text)
    elif kind == "x" and line == "relu":
        wrong.append(f"the shortcut carries ReLU of the input: {ACTIVATION_ON_SHORTCUT}")
    elif kind == "x" and line:
        wrong.append(f"the shortcut carries `{line}` of the input, and not the input itself")
    elif kind == "x" and plan.projects and bare_projection:
        wrong.append("no 1×1 convolution on the shortcut, although use_1x1conv asks for one")
    elif kind == "option A":
        text = "option A: it has no parameters, and the new channels carry zeros"
        yield Line("note", "shortcut", text + (f"; here behind `{line}`" if line else ""))
    elif kind == "before":
        wrong.append(f"the shortcut carries the input before its `{line}`: pre-activation")
    elif kind == "behind":
        wrong.append(f"the shortcut starts behind convolution {line}: it begins at the block's input")
    if unknown and not wrong:
        yield Line("open", "shortcut", unknown[0])
    elif kind != "none":
        yield _line("shortcut", "; ".join(wrong))


def judge_failure(block: Block) -> Iterator[Line]:
    """Why branch and shortcut did not come together, where the operation that failed tells it."""
    failed = next((call for call in block.run.recorder.calls if call.went_out is None), None)
    if failed is None or len(failed.operands) != 2 or len(block.branch) < len(block.plan.kernels):
        return
    for end in block.steps_behind(block.branch[-1]):
        others = [operand for operand in failed.operands if not close(operand, end.value)]
        if len(others) != 1:
            continue
        shape = others[0].shape
        met = f"{describe_shape(end.value.shape)} on the branch, {describe_shape(shape)} on the shortcut"
        kind = next((way.kind for way in block.carried(shape[1]) if close(way.value, others[0])), "")
        if kind == "x" and not block.plan.keeps_shape:
            due = "a 1×1 convolution is due where the stride is not 1 or the channels change"
            yield Line("wrong", "shortcut", f"the shortcut is the input as it came, {met}: {due}")
        elif kind == "option A":
            halves = "halves the image" if shape[2:] != block.x.shape[2:] else "widens"
            yield Line("wrong", "shortcut", f"the shortcut always {halves}: {met}")
        return


def judge_gradient(block: Block, lines: list[Line]) -> Iterator[Line]:
    """The input's gradient, against the twin's: it must come back past the branch as well."""
    run = block.run
    if not block.complete or run.leaf.grad is None or any(line.verdict == "wrong" for line in lines):
        return
    for detached in ("", "shortcut", "branch"):
        x = run.x.clone().requires_grad_()
        out = block.twin(x, detached)
        if out is None or not close(out, run.out):
            return
        try:
            (gradient,) = torch.autograd.grad(out, x, run.out_gradient)
        except RuntimeError:  # weights that are computed have used up their graph
            return
        if close(gradient, run.leaf.grad):
            if detached:
                text = f"none passes the {detached}: detach() or torch.no_grad() cuts it"
                yield Line("wrong", "gradients", text)
            return
