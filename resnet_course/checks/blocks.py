"""What a check asks of a block: its layers, in their places, and the way branch and shortcut come together.

Every question returns what is wrong, `OPEN` where there is nothing to look at, or None.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
import torch.nn.functional as F

from resnet_course.checks.paths import Block
from resnet_course.checks.report import OPEN, Note, Property
from resnet_course.checks.trace import Call, close


def _name(block: Block, call: Call) -> str:
    place = "the projection" if call is block.projection else f"convolution {block.branch.index(call) + 1}"
    name = block.run.name_of(call.weight)
    return f"{place} ({name})" if name else place


def _describe_convolution(kernel: int, in_channels: int, out_channels: int) -> str:
    weights = kernel * kernel * in_channels * out_channels
    return f"{kernel}×{kernel} from {in_channels} to {out_channels} channels, {weights:,} weights"


def find_wrong_convolution(block: Block) -> str | None:
    plan, x = block.plan, block.run.x
    if x.shape == block.x.shape and not close(x, block.x):
        what = "ReLU of the input" if close(F.relu(x), block.x) else "something other than the input"
        return f"{_name(block, block.branch[0])} takes {what}: the branch begins with a convolution of the input itself"
    wanted = [(kernel, *channels) for kernel, channels in zip(plan.kernels, pairwise(plan.channels), strict=True)]
    pairs = list(zip(block.branch, wanted, strict=False))
    if len(block.branch) < len(wanted) and block.projection is not None and block.projection.kernel > 1:
        name = block.run.name_of(block.projection.weight) or "a convolution"
        return f"{name} takes the block's input: it should take what the convolution before it puts out"
    if block.projection is not None:
        pairs.append((block.projection, (1, plan.channels[0], plan.channels[-1])))
    for call, (kernel, in_channels, out_channels) in pairs:
        if (call.kernel, *call.channels) != (kernel, in_channels, out_channels):
            got = _describe_convolution(call.kernel, *call.channels)
            off = [
                word
                for word, differs in (
                    ("kernel_size", call.kernel != kernel),
                    ("in_channels", call.channels[0] != in_channels),
                    ("out_channels", call.channels[1] != out_channels),
                )
                if differs
            ]
            right = _describe_convolution(kernel, in_channels, out_channels)
            return f"{_name(block, call)} is {got}; it should be {right}: look at its {' and '.join(off)}"
    enough = len(block.branch) == len(wanted) or (block.out is None and len(block.branch) < len(wanted))
    return None if enough else f"the branch has {len(block.branch)} convolutions; it should have {len(wanted)}"


def find_wrong_padding(block: Block) -> str | None:
    for call in [*block.branch, block.projection]:
        if call is None or call.went_out is None:
            continue
        before, after = call.came_in.shape[2:], call.went_out.shape[2:]
        if any(-(-side // call.stride) != new for side, new in zip(before, after, strict=True)):
            return (
                f"{_name(block, call)} takes {before[0]}×{before[1]} to {after[0]}×{after[1]}: a {call.kernel}×"
                f"{call.kernel} convolution needs padding={call.kernel // 2}, so that only its stride shrinks the image"
            )
    return None


def find_wrong_stride(block: Block) -> str | None:
    strides = tuple(call.stride for call in block.branch)[: len(block.plan.strides)]
    wanted = block.plan.strides[: len(strides)]
    place = block.plan.strides.index(block.plan.stride) + 1
    if strides != wanted and not has_papers_stride(block):
        told = f"the strides along the branch are {', '.join(map(str, strides))}, not {', '.join(map(str, wanted))}"
        if block.plan.stride == 1:
            return f"{told}: here the image keeps its size"
        if max(strides) == 1:
            return f"{told}: give convolution {place} the stride"
        if sum(stride > 1 for stride in strides) > 1:
            return f"{told}: the image shrinks more than once, and only convolution {place} should take the stride"
        return f"{told}: the stride belongs on convolution {place}"
    if block.projection is not None and block.projection.stride != block.plan.stride:
        return (
            f"{_name(block, block.projection)} has stride {block.projection.stride}, and the branch "
            f"{block.plan.stride}: give both the same"
        )
    return None


def has_papers_stride(block: Block) -> bool:
    """A bottleneck with its stride on the first 1×1 convolution."""
    stride, ran = block.plan.stride, [(call.kernel, call.stride) for call in block.branch]
    return block.plan.kernels == (1, 3, 1) and stride > 1 and ran == [(1, stride), (3, 1), (1, 1)][: len(ran)]


def find_wrong_projection(block: Block) -> str | None:
    if block.plan.projects and block.projection is None:
        if not block.complete or uses_option_a(block):
            return OPEN
        if block.plan.stride == 1 and block.plan.channels[0] == block.plan.channels[-1]:
            return "no 1×1 convolution on the shortcut, although use_1x1conv asks for one"
        return (
            "no 1×1 convolution on the shortcut, where one is due: it brings the input to the branch's shape when the "
            "stride is not 1 or the channels change"
        )
    if block.projection is not None and not block.plan.projects:
        return (
            f"{_name(block, block.projection)} runs on the shortcut, where none is due: while the shape stays, the "
            "shortcut is the input itself"
        )
    return None


def find_missing_projection_norm(block: Block) -> str | None:
    if block.projection is None or block.projection.went_out is None:
        return None if uses_option_a(block) else OPEN
    if block.norm_after(block.projection) is not None:
        return None
    last = block.run.recorder.calls[-1]
    if block.out is None and last is block.projection:
        return OPEN
    return f"no BatchNorm follows {_name(block, block.projection)}: the shortcut's convolution has one as well"


def find_missing_norm(block: Block) -> str | None:
    for call in block.branch:
        norm = block.norm_after(call)
        if norm is None:
            if call.went_out is None or (block.out is None and call is block.run.recorder.calls[-1]):
                return OPEN
            if call is block.branch[-1] and block.out is not None and block.norm_after_addition is not None:
                return "a BatchNorm comes after the addition: normalise the branch first, then add"
            return f"no BatchNorm follows {_name(block, call)}"
        if not close(norm.came_in, call.went_out):
            return f"the BatchNorm of {_name(block, call)} comes after the ReLU: convolution, BatchNorm, ReLU"
    return None


def find_wrong_relu_between(block: Block) -> str | None:
    for call, following in pairwise(block.branch):
        value, norm = block.value_after(call), block.norm_after(call)
        if value is None:
            return OPEN
        names = f"{_name(block, call)} and {_name(block, following)}"
        if close(following.came_in, F.relu(value)):
            continue
        if close(following.came_in, value):
            if norm is not None and not close(norm.came_in, call.went_out):
                continue  # the ReLU stands before the BatchNorm, which is told elsewhere
            return f"no ReLU between {names}: without one the two are a single linear map"
        return f"between {names} stands something other than BatchNorm and ReLU"
    return None if len(block.branch) > 1 else OPEN


def find_wrong_addition(block: Block) -> str | None:
    if block.out is None or not block.complete:
        return OPEN
    join = block.join
    if join is None:
        return "the output is not ReLU(F(x) + shortcut): add the shortcut to the branch, as it is, and apply ReLU"
    told = {
        "branch": "the shortcut is never added: the output is the branch alone; add the input before the last ReLU",
        "shortcut": "the branch is never added: the output is the shortcut alone",
        "multiply": "branch and shortcut are multiplied: add them",
    }
    if join.operation.startswith("subtract"):
        return "one path is subtracted from the other: add them"
    if join.operation.startswith("concatenate"):
        return "branch and shortcut are concatenated, side by side in more channels: add them with +"
    if join.operation == "add" and join.shortcut.startswith("ReLU"):
        return f"the shortcut carries {join.shortcut}: no activation belongs on the shortcut"
    return told.get(join.operation)


def find_wrong_last_relu(block: Block) -> str | None:
    if block.out is None or not block.complete:
        return OPEN
    relu = block.join.relu if block.join else ("negative" if bool((block.out < 0).any()) else "unknown")
    return {
        "after": None,
        "unknown": OPEN,
        "negative": "negative values come out: the last step must be ReLU of the sum",
        "none": "negative values come out: no ReLU follows the addition; apply it to the sum",
        "before": "the ReLU comes before the addition: add first, then apply it",
        "both": "a ReLU comes before the addition as well, so the branch can only add: apply it to the sum alone",
        "other": "the last activation is not ReLU: negative sums should come out as zero",
    }[relu]


def find_wrong_identity(block: Block) -> str | None:
    """Zero the branch's last layer: a block that keeps the shape must then be ReLU."""
    if block.out is None or block.plan.projects:
        return OPEN
    x = block.run.x
    with _zero_branch(block):
        out = block.run.again(x)
    if close(out, F.relu(x)):
        return None
    if close(out, x):
        return "with a branch of zeros the output is x, not ReLU(x): no ReLU follows the addition"
    got = "something else" if out.any() else "only zeros"
    return f"with a branch of zeros the output should be ReLU(x), and it is {got}: the shortcut must pass x on as it is"


def find_wrong_shortcut_gradient(block: Block) -> str | None:
    if block.out is None:
        return OPEN
    x = block.run.x.clone().requires_grad_()
    with _zero_branch(block):
        out = block.run.again(x)
        try:
            gradient = torch.autograd.grad(out.sum(), x, allow_unused=True)[0] if out.requires_grad else None
        except RuntimeError:  # the line on gradients tells it
            return OPEN
    if not out.any():
        return OPEN
    if gradient is not None and gradient.any():
        return None
    return "with a branch of zeros no gradient reaches the input: detach() or no_grad() cuts the shortcut"


@contextmanager
def _zero_branch(block: Block) -> Iterator[None]:
    """The branch's last BatchNorm, or convolution, is zero inside the `with` block."""
    last = block.norm_after(block.branch[-1]) or block.branch[-1]
    parameters = [parameter for parameter in (last.weight, last.bias) if parameter is not None]
    values = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        for parameter in parameters:
            parameter.zero_()
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, values, strict=True):
                parameter.copy_(value)


def uses_option_a(block: Block) -> bool:
    return block.out is not None and block.complete and block.join is not None and block.join.shortcut == "option A"


def has_bias(block: Block) -> bool:
    return any(call.bias is not None for call in [*block.branch, block.projection] if call is not None)


def has_projection_norm(block: Block) -> bool:
    return block.projection is not None and block.norm_after(block.projection) is not None


NOTES = [
    Note("bias", "the BatchNorm behind a convolution subtracts its bias again: bias=False saves it", has_bias),
    Note(
        "stride",
        "it sits on the first 1×1 convolution, as in the paper; on the 3×3, as in torchvision, it skips no pixel",
        has_papers_stride,
    ),
    Note("shortcut", "option A: it has no parameters, and the new channels carry zeros", uses_option_a),
]
PROJECTION_NORM_NOTE = Note(
    "BatchNorm on the projection", "there is one, as in BasicBlock; the simple block does without", has_projection_norm
)
# A `Residual` has no BatchNorm on its projection, the paper's blocks have one.
PROJECTION_NORM = Property(
    "BatchNorm on the projection", "wherever the shortcut has a convolution", find_missing_projection_norm
)
LAYER_PROPERTIES = [
    Property("convolutions", "every one has its kernel and channels, and so its weights", find_wrong_convolution),
    Property("padding", "only strides shrink the image", find_wrong_padding),
    Property("stride", "on the right convolution, and on the shortcut", find_wrong_stride),
    Property("projection", "a 1×1 convolution where one is due, else the input itself", find_wrong_projection),
    Property("BatchNorm", "one follows every convolution of the branch", find_missing_norm),
]
JOIN_PROPERTIES = [
    Property("ReLU between the convolutions", "the branch is not linear", find_wrong_relu_between),
    Property("addition", "branch plus shortcut", find_wrong_addition),
    Property("ReLU after the addition", "once, on the sum", find_wrong_last_relu),
]
IDENTITY_PROPERTIES = [
    Property("identity at zero branch", "a branch of zeros leaves ReLU(x)", find_wrong_identity),
    Property("gradient through the shortcut", "it reaches the input past the branch", find_wrong_shortcut_gradient),
]
