"""What a check says of the steps of a block: the line that the numbers tell, against the right one."""

from collections.abc import Iterator
from itertools import pairwise

from resnet_course.checks.report import Line
from resnet_course.checks.twins import NORMS, Block, Join
from resnet_lib.orderings import ORDERINGS

WRITTEN_OUT = {"sub", "rsub", "mul", "rmul", "div", "add", "radd", "pow", "rsqrt", "addcmul"}  # of a norm written out


def judge_norms(block: Block) -> Iterator[Line]:
    seen = [call.history | {call} for call in block.convolutions]
    norms = [call for call in block.run.recorder.calls if call.kind in NORMS and call.history in seen]
    others = dict.fromkeys(NORMS[call.kind] for call in norms if call.kind != "batch_norm")
    resting = [call for call in norms if call.kind == "batch_norm" and not call.options["training"]]
    if others:
        yield Line("wrong", "norms", f"another norm than BatchNorm runs: {', '.join(others)}")
    elif resting:
        name = block.run.name_of(resting[0].weight) or "a BatchNorm"
        text = f"{name} takes its running statistics while training: leave its train() and training alone"
        yield Line("wrong", "norms", text)
    elif norms:
        yield Line("right", "norms", "")


def judge_steps(block: Block) -> Iterator[Line]:
    """Convolution, BatchNorm, ReLU and addition in their order: the line that the numbers tell, against the right."""
    wrong: list[str] = []
    unknown: list[str] = []
    first = block.name_of(block.branch[0])
    if block.before is None:
        wrong.append(f"{first} does not take the block's input, but other numbers")
    elif block.before.line:
        wrong.append(f"`{block.before.line}` stands before {first}")
    for (call, following), steps in zip(pairwise(block.branch), block.gaps, strict=True):
        name, names = block.name_of(call), f"{block.name_of(call)} and {block.name_of(following)}"
        if steps is None:
            ran = f"; there ran {ran}" if (ran := block.kinds_behind(call)) else ""
            text = "the numbers part: what comes in is not ReLU of BatchNorm of what went out"
            wrong.append(f"between {names} {text}{ran}")
            continue
        line = spell_norm(steps.line, name, unknown)
        told = {
            "bn relu": "",
            "relu": f"no BatchNorm follows {name}",
            "bn": f"no ReLU between {names}: without one the two are a single linear map",
            "": f"neither BatchNorm nor ReLU between {names}",
            "relu bn": f"the BatchNorm of {name} comes after the ReLU: convolution, BatchNorm, ReLU",
        }
        wrong.append(told.get(line, f"between {names} stands `{line}` instead of `bn relu`"))
    if block.complete and block.join is not None:
        wrong += judge_end(block, block.join, unknown)
    elif block.complete:
        ran = block.kinds_behind(block.branch[-1]) or "nothing"
        text = "the numbers part: the output is not ReLU(F(x) + shortcut)"
        wrong.append(f"up to {block.name_of(block.branch[-1])} all can be followed, and then {text}; there ran {ran}")
    wrong = list(filter(None, wrong))
    line, right = block.line, " conv ".join(["", *["bn relu"] * (len(block.branch) - 1), "bn + relu"]).strip()
    known = next((name for name, steps in ORDERINGS.items() if steps == line and "activation" in name), None)
    if known:
        wrong = [f"{known}, one of the orderings of the second ResNet paper"]
    if wrong:
        computes = f" (it computes `{line}` instead of `{right}`)" if line else ""
        yield Line("wrong", "steps", "; ".join(wrong) + computes)
    elif unknown:
        yield Line("open", "steps", "; ".join(unknown))
    elif len(block.branch) == len(block.plan.kernels) and block.branch[-1].went_out is not None:
        yield Line("right", "steps", "")


def spell_norm(line: str, name: str, unknown: list[str]) -> str:
    """The line with "bn" for a norm that is written out, which is told."""
    steps = line.split()
    written = [step for step in steps if step in WRITTEN_OUT]
    if len(written) < 2 or "bn" in steps:
        return line
    unknown.append(f"a norm that is no nn.BatchNorm2d follows {name} ({' '.join(written)}): not judged")
    return " ".join(["bn", *(step for step in steps if step not in written)])


def judge_end(block: Block, join: Join, unknown: list[str]) -> Iterator[str]:
    """What is wrong behind the last convolution, before and after the addition."""
    name, after = block.name_of(block.branch[-1]), join.after.split()
    end = spell_norm(join.end.line, name, unknown)
    early, late = end in ("bn relu", "relu"), "bn" in after
    others = " ".join(step for step in after if step not in ("relu", "bn"))
    if early:
        also = " as well, so the branch can only add" if after == ["relu"] else ": add first, then apply it"
        yield f"the ReLU comes before the addition{also}"
    elif end not in ("", "bn"):
        yield f"behind {name} stands `{end}` instead of `bn`"
    if late:
        yield "a BatchNorm comes after the addition: normalise the branch first, then add"
    elif end in ("", "relu"):
        yield f"no BatchNorm follows {name}"
    if others:
        yield f"{others} follows the addition, and not ReLU" if "relu" not in after else f"`{join.after}` comes last"
    elif "relu" not in after and not early:
        yield "no ReLU follows the addition, so negative values come out: apply it to the sum"
