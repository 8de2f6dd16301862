"""What a check says of a run as a whole: does it run, what comes out, does it learn, does it keep to itself?"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from resnet_course.checks.report import Line, describe_error, describe_shape
from resnet_course.checks.trace import Call, Run, close

RUN_PROPERTIES = {
    "runs": "no error",
    "output": "forward returns one tensor, of the shape asked",
    "input left as it was": "the caller's tensor comes back unchanged",
    "registered layers": "parameters() holds every layer that runs",
    "no unused layers": "every parameter takes part",
    "a layer for each place": "no layer runs twice, and no two instances share any",
    "gradients": "every parameter gets one, and so does the input",
    "no randomness": "the same input gives the same output",
    "evaluation mode": "after eval() an image's output is its own affair",
}


def some(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def judge_run(run: Run, twin_of_own: bool = True) -> Iterator[Line]:
    """The lines on one run; what code of the learner's fails on here, but did not before, stays open."""
    numbers = run.out is None or not run.out.isnan().any()
    questions = {
        "output": find_wrong_output,
        "input left as it was": find_changed_input,
        "registered layers": find_unregistered,
        "no unused layers": find_unused,
        "a layer for each place": find_reused,
        "gradients": find_missing_gradient,
        "no randomness": find_randomness,
        "evaluation mode": find_batch_dependence,
    }
    if run.error is None and not run.calls("conv2d"):
        run.error = "no convolution runs: build it of nn.Conv2d"
    yield Line("wrong" if run.error else "right", "runs", run.error or "")
    for name, find in questions.items():
        layers = [call for call in run.recorder.calls if call.weight is not None]
        if run.out is None and (name not in ("registered layers", "a layer for each place", "input left as it was")):
            if name == "output" and not run.error:
                yield Line("wrong", name, find(run, layers))
            continue
        if run.given is None or (not layers and name in ("registered layers", "a layer for each place")):
            continue
        if not numbers and name in ("gradients", "no randomness", "evaluation mode"):
            continue
        try:
            problem = find(run, layers)
        except BaseException as error:  # exit() and an interrupt, too
            yield Line("open", name, f"it fails on the way: {describe_error(error)}")
        else:
            yield Line("wrong" if problem else "right", name, problem or "")


def find_wrong_output(run: Run, layers: list[Call]) -> str | None:
    if run.returned is None:
        return "forward returns nothing: end it with return"
    if not isinstance(run.returned, torch.Tensor):
        return f"forward returns a {type(run.returned).__name__}: return the tensor alone"
    got, wanted = tuple(run.out.shape), run.wanted_shape
    if run.out.isnan().any():
        made = [call for call in run.recorder.calls if call.went_out is not None and call.went_out.isnan().any()]
        names = [run.name_of(call.weight) or call.kind for call in made]
        return "NaN comes out, which is no number" + (f": {names[0]} is the first to put it out" if names else "")
    if got == wanted:
        return None
    hint = ""
    if len(got) == 4 and got[2:] == wanted[2:] and wanted[1] % got[1] == 0 and wanted[1] // got[1] in (2, 4):
        hint = f": {wanted[1] // got[1]} times as many channels (the expansion of a bottleneck is 4)"
    return f"it has {describe_shape(got)} instead of {describe_shape(wanted)}{hint}"


def find_changed_input(run: Run, layers: list[Call]) -> str | None:
    if torch.equal(run.given, run.x):
        return None
    if close(run.given, F.relu(run.x)):
        return "the input comes back as ReLU of itself: an in-place ReLU must not be given the block's own input"
    return "the caller's input is changed: write out = out + x or out += x, not x += out"


def find_unregistered(run: Run, layers: list[Call]) -> str | None:
    known = {id(tensor) for tensor in (*run.module.parameters(), *run.module.buffers())}
    lost = [call for call in layers if id(call.weight) not in known and call.weight.is_leaf]
    if not lost:
        return None
    return (
        f"{len(lost)} of the {len(layers)} layers that run are not in parameters(), so no optimizer trains "
        "them: make layers in __init__, as self.name = ..., and keep a list of them in nn.ModuleList or nn.Sequential"
    )


def find_unused(run: Run, layers: list[Call]) -> str | None:
    unused = [name for name, parameter in run.module.named_parameters() if id(parameter) not in run.recorder.used]
    return f"{some(unused)}: nothing that runs takes it; is a step forgotten, or one too many?" if unused else None


def find_reused(run: Run, layers: list[Call]) -> str | None:
    weights = [call.weight for call in layers]
    reused = [weight for i, weight in enumerate(weights) if any(weight is earlier for earlier in weights[:i])]
    if reused:
        names = dict.fromkeys(run.name_of(weight) or "a layer" for weight in reused)
        return f"{some(list(names))} runs in more than one place with the same weights: make a layer for each place"
    twin = run.build()
    if twin is not run.module and {id(p) for p in twin.parameters()} & {id(p) for p in run.module.parameters()}:
        return "two instances share their layers: make the layers in __init__, not in the class or outside"
    return None


def find_missing_gradient(run: Run, layers: list[Call]) -> str | None:
    if not run.out.requires_grad:
        return "no gradient comes back at all: forward must not use torch.no_grad(), detach() or .data"
    run.out_gradient = torch.rand_like(run.out)
    try:
        run.out.backward(run.out_gradient)
    except RuntimeError as error:
        return f"backward fails: {describe_error(error)}"
    missing = [
        name
        for name, parameter in run.module.named_parameters()
        if parameter.grad is None and id(parameter) in run.recorder.used
    ]
    if missing:
        return (
            f"{some(missing)} gets no gradient: torch.no_grad(), detach() or .data cuts it off, or its output is lost"
        )
    return None


def find_randomness(run: Run, layers: list[Call]) -> str | None:
    if run.recorder.dropouts:
        return "dropout is left in: ResNet has none, its BatchNorm regularises"
    if len(run.recorder.calls) > 60 or close(run.again(run.x), run.again(run.x)):  # of a network, dropout alone
        return None
    return "the same input gives another output the second time: something draws random numbers"


def find_batch_dependence(run: Run, layers: list[Call]) -> str | None:
    run.module.eval()
    try:
        with torch.no_grad():
            whole, alone = run.again(run.x), run.again(run.x[:1])
            steady = close(whole, run.again(run.x))
    finally:
        run.module.train()
    if not steady:
        dropout = "after eval() dropout still draws: F.dropout needs training=self.training"
        return dropout if run.recorder.dropouts else None  # other randomness is told elsewhere
    # A deep network amplifies rounding, so the measure is the largest output.
    if (whole[:1] - alone).abs().max() <= 0.001 * whole.abs().max():
        return None
    return (
        "after eval() an image's output depends on the others of its batch: BatchNorm must then use its running "
        "statistics, so leave track_running_stats on and let eval() reach every layer"
    )
