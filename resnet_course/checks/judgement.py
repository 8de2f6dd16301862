"""What a check says of a block: its convolutions, the steps between them, and how branch and shortcut come together.

A block is told as lines of steps, such as "conv bn relu conv bn" for its branch and "proj bn" for its shortcut. The
tables below have a sentence for each line that is a known mistake; another line is shown as it is. Where a value is
made in an unknown way, the line has a "?": there the numbers part, and no more is claimed.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

import torch.nn.functional as F

from resnet_course.checks.anatomy import Block, Join, find_join, is_option_a, precursor
from resnet_course.checks.report import Line, describe_shape, judged
from resnet_course.checks.trace import NORMS, Value, close
from resnet_lib.orderings import ORDERINGS

BLOCK_PROPERTIES = {
    "convolutions": "every one has its kernel, channels, stride and padding",
    "steps": "the numbers are those of convolution, BatchNorm and ReLU in their order",
    "addition": "branch plus shortcut, each once",
    "shortcut": "the input itself, or what brings it to the new shape",
}
STEPS = {  # between two convolutions, and behind the last
    "bn relu": "",
    "relu": "no BatchNorm follows {0}",
    "bn": "no ReLU between {0} and {1}: without one the two are a single linear map",
    "": "neither BatchNorm nor ReLU between {0} and {1}",
    "relu bn": "the BatchNorm of {0} comes after the ReLU: convolution, BatchNorm, ReLU",
    "bn + relu": "",
    "+ relu": "no BatchNorm follows {0}",
    "bn +": "no ReLU follows the addition, so negative values come out: apply it to the sum",
    "bn relu +": "the ReLU comes before the addition: add first, then apply it",
    "bn relu + relu": "the ReLU comes before the addition as well, so the branch can only add",
    "+ bn relu": "a BatchNorm comes after the addition: normalise the branch first, then add",
}
UNFOLLOWED = "a step can't be followed, such as scripted code or work on single images: not judged"
# Functions that may stand in the place of what is asked, and are not followed.
PRODUCTS = {"linear", "einsum", "matmul", "mm", "bmm", "tensordot"}
TURNS = {"permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims"}
SHORTCUTS = {
    "": "",
    "proj bn": "",
    "option A": "",
    "proj": "no BatchNorm follows {0}: the shortcut's convolution has one as well",
    "proj bn relu": "the shortcut carries ReLU of the projection: no activation belongs on the shortcut",
    "relu": "the shortcut carries ReLU of the input: no activation belongs on the shortcut",
    "pool": "the shortcut pools before its 1×1 convolution, as ResNet-D does; the paper's takes the stride itself",
}


def judge_block(block: Block, bare: bool = False) -> Iterator[Line]:
    """The lines on one block. With ``bare``, the shortcut's convolution may go without BatchNorm."""
    kernels, count = block.plan.kernels, len(block.branch)
    if count > len(kernels) or (count < len(kernels) and block.out is not None):
        got = ", ".join("{}×{}".format(*conv.kernel) for conv in block.branch)
        text = f"along the branch there are {got}; there should be {', '.join(f'{k}×{k}' for k in kernels)}"
        if max(block.branch[-1].kernel) == 1 != kernels[-1]:
            text += f"; {block.name_of(block.branch[-1])} takes the branch's output: was x overwritten on the way?"
        yield Line("wrong", "convolutions", text)
        return
    join = find_join(block) if count == len(kernels) and block.out is not None else None
    yield from judge_convolutions(block)
    yield from judge_steps(block, join)
    if join is not None:
        yield judged("addition", join.problem)
        yield from judge_shortcut(block, join.shortcut, bare) if join.shortcut else ()
        yield judged("gradients", join.cut and f"none passes the {join.cut}: detach() or torch.no_grad() cuts it")
    elif block.out is None:
        yield from judge_failure(block)
    if any(conv.bias is not None for conv in block.convs):
        yield Line("note", "bias", "the BatchNorm behind a convolution subtracts its bias again: bias=False saves it")
    used, parameters = block.run.recorder.used, block.run.module.named_parameters()
    if learnt := [name for name, parameter in parameters if parameter.numel() == 1 and id(parameter) in used]:
        yield Line("note", "factor", f"{learnt[0]} is a single number that is learnt; the paper's block has none")
    for norm in norms_of(block):
        if (share := norm.options["momentum"]) == 0 or 0.5 <= share < 1:  # None, for a cumulative mean, is 1 at first
            text = f"{block.run.name_of(norm.weight) or 'a BatchNorm'} has momentum={share:g}, the newest batch's share"
            yield Line("note", "momentum", f"{text} of the running statistics: the usual 0.1 is what Keras calls 0.9")


def judge_convolutions(block: Block) -> Iterator[Line]:
    plan, wrong, computed = block.plan, [], []
    strides = tuple(conv.options["stride"] for conv in block.branch)
    papers = (max(plan.strides), 1, 1)  # of a bottleneck
    if plan.kernels == (1, 3, 1) and strides == papers[: len(strides)] != plan.strides[: len(strides)]:
        yield Line("note", "stride", "it is on the first 1×1 convolution, the paper's place; torchvision's is the 3×3")
        plan = plan._replace(strides=papers)
    wanted = [*zip(plan.kernels, pairwise(plan.channels), plan.strides, strict=True)][: len(block.branch)]
    wanted.append((1, (plan.channels[0], plan.channels[-1]), max(plan.strides)))  # of the projection
    for conv, (kernel, channels, stride) in zip(block.convs, wanted, strict=False):
        x, half, name = conv.parents[0], [side // 2 for side in conv.kernel], block.name_of(conv)
        own, dilation, groups = conv.options.values()
        if conv is block.projection and x is not block.x:
            stride = own  # a pooling may have taken it, which is told of the shortcut
        got = "{}×{} from {} to {} channels with stride {}".format(*conv.kernel, *conv.channels, own)
        right = "{}×{} from {} to {} channels with stride {}".format(kernel, kernel, *channels, stride)
        got += f" in {groups} groups, as in ResNeXt" * (groups > 1) + f" and dilation {dilation}" * (dilation > 1)
        padded = F.conv2d(x.numbers.to(conv.weight), conv.weight, conv.bias, own, half, dilation, groups).detach()
        if dilation == 1 and not close(padded, conv.numbers):
            got += " and other padding"
            right += f" and padding={half[0]}" + ", zeros on all sides" * (half[0] > 0)
        wrong += [f"{name} is {got}; it should be {right}"] * (got != right)
        if conv.weight.grad_fn is not None:
            computed.append(f"{name} computes its weights from others (weight_norm or the like): not judged")
    if computed and not wrong:
        yield Line("open", "convolutions", computed[0])
    else:
        yield judged("convolutions", "; ".join(wrong))


def norms_of(block: Block) -> list[Value]:
    """The norms that ran right behind its convolutions."""
    seen = [conv.convs for conv in block.convs]
    return [value for value in block.run.recorder.values if value.kind in NORMS and value.convs in seen]


def as_batch_norm(line: str) -> str:
    """The line with "bn" for every norm; that another runs is told once."""
    return re.sub(r"\w*norm", "bn", line)


def judge_steps(block: Block, join: Join | None) -> Iterator[Line]:
    """Convolution, BatchNorm, ReLU and addition in their order."""
    branch, names, wrong = block.branch, [block.name_of(conv) for conv in block.branch], []
    if earlier := precursor(block, join.shortcut) if join else None:
        line = " ".join(block.line(block.x, earlier))
        text = f"pre-activation, the second ResNet paper's: the shortcut carries what comes before `{line}`"
        yield Line("wrong", "steps", text)
        return
    norms = norms_of(block)
    if others := dict.fromkeys(norm.kind.title().replace("_", "") for norm in norms if norm.kind != "batch_norm"):
        wrong.append(f"another norm than BatchNorm runs: {', '.join(others)}")
    elif resting := [norm.weight for norm in norms if not norm.options["training"]]:
        name = block.run.name_of(resting[0]) or "a BatchNorm"
        wrong.append(f"{name} takes its running statistics while training: leave its train() and training alone")
    line = " ".join(block.line(join.branch if join and join.branch else branch[-1]))
    before, *gaps, end = re.split(r" ?\bconv\b ?", line)
    if before:
        wrong.append(f"`{before}` stands before {names[0]}")
    if block.out is not None and len(branch) == len(block.plan.kernels):
        gaps.append(f"{end if join.branch else 'bn'} + {' '.join(join.after)}".strip() if join else "?")
    for i, gap in enumerate(gaps):
        last = i + 1 == len(names)
        at, right = (f"behind {names[i]}", "bn + relu") if last else (" and ".join(names[i : i + 2]), "bn relu")
        known = STEPS.get(as_batch_norm(gap), "{2} stands `{3}` instead of `{4}`")
        if "?" in gap:
            own = {*block.convs, *branch[i].convs}
            ran = [v.kind for v in block.run.recorder.values if branch[i] in v.convs and v.convs <= own]
            kinds = ", ".join([*dict.fromkeys(ran)][1:9])
            known = "{2} the numbers part, and are not made as `{4}`; there ran " + kinds
        place = at if last else f"between {at}"
        wrong.append(known.format(names[i], names[-1] if last else names[i + 1], place, gap, right))
    line += f"{' +' * bool(join and join.shortcut)} {' '.join(join.after) if join else ''}".rstrip()
    if known := next((name for name, ordering in ORDERINGS.items() if ordering == line and "activation" in name), None):
        wrong = [f"{known}, one of the orderings of the second ResNet paper"]
    problem = "; ".join(filter(None, wrong)) + f" (it computes `{line}`)" * (any(wrong) and join is not None)
    if turned := TURNS & {*re.findall(r"\w+", line)}:
        yield Line("open", "steps", f"{turned.pop()} turns the axes: not judged")
    elif "norm" in line.split() and not problem:
        yield Line("open", "steps", "a norm that is no nn.BatchNorm2d runs: not judged")
    elif problem or len(branch) == len(block.plan.kernels):
        yield judged("steps", problem)


def judge_shortcut(block: Block, shortcut: Value, bare: bool) -> Iterator[Line]:
    steps, projects, projection = block.line(shortcut), block.plan.projects, block.projection
    name = block.name_of(projection) if projection else ""
    line = "pool" if "proj" in steps[1:] and "avg_pool" in steps[0] else " ".join(steps)
    other = f"the shortcut carries `{line}`, not the input or its projection"
    problem = SHORTCUTS.get(as_batch_norm(line), other) if not bare or line != "proj" else ""
    if precursor(block, shortcut):
        return  # a pre-activation, which is told of the steps
    if "?" in steps:
        problem = "the numbers part: what the shortcut carries is neither the input, nor its projection, nor option A"
    elif behind := len(shortcut.convs.intersection(block.branch)):
        problem = f"the shortcut starts behind convolution {behind}: it begins at the block's input"
    elif bare and projects != ("proj" in steps):
        problem = "no 1×1 convolution on the shortcut, although use_1x1conv asks for one"
        if not projects:
            problem = f"{name} runs on the shortcut, where none was asked for: without it the input itself is added"
    elif line == "option A":
        yield Line("note", "shortcut", "option A: it has no parameters, and the new channels carry zeros")
    elif line == "proj bn" and not projects and projection.options["stride"] == 1:
        yield Line("note", "shortcut", "option C: a projection on every shortcut, even where the input itself would do")
    if unknown := PRODUCTS & {*steps} or TURNS & {*steps}:
        does = "turns the axes" if unknown & TURNS else "can do what a 1×1 convolution does"
        yield Line("open", "shortcut", f"{unknown.pop()} {does}: not judged")
    elif "norm" in steps and not problem:
        yield Line("open", "shortcut", f"a norm that is no nn.BatchNorm2d follows {name}: not judged")
    else:
        yield judged("shortcut", problem.format(name))


def judge_failure(block: Block) -> Iterator[Line]:
    """Why branch and shortcut did not come together, where the operation that failed tells it."""
    failed = block.run.recorder.failed.parents if block.run.recorder.failed else ()
    ends, others = ([v for v in failed if (block.branch[-1] in v.convs) == mine] for mine in (True, False))
    if len(ends) != 1 or len(others) != 1 or len(block.branch) < len(block.plan.kernels):
        return
    met = f"{describe_shape(ends[0].shape)} on the branch, {describe_shape(others[0].shape)} on the shortcut"
    if others[0] is block.x and block.plan.projects:
        due = "a 1×1 convolution is due where the stride is not 1 or the channels change"
        yield Line("wrong", "shortcut", f"the shortcut is the input as it came, {met}: {due}")
    elif is_option_a(others[0], block.x):
        halves = "halves the image" if others[0].shape[2:] != block.x.shape[2:] else "widens"
        yield Line("wrong", "shortcut", f"the shortcut always {halves}: {met}")
