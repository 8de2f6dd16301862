"""What a check says of a run as a whole: does it run, what comes out, does it learn, does it keep to itself?"""

from collections.abc import Iterator

import torch

from resnet_course.checks.report import Line, describe_error, describe_shape, judged
from resnet_course.checks.trace import Run, close, relu

RUN_PROPERTIES = {
    "runs": "no error",
    "output": "forward returns one tensor, of the shape asked",
    "input left as it was": "the caller's tensor comes back unchanged",
    "layers": "parameters() holds every layer that runs, each runs once, and no other is there",
    "gradients": "every parameter gets one, and so does the input",
    "evaluation mode": "the same image gives the same output, after eval() whatever its neighbours",
}


def some(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(names[:3]) + f" and {len(names) - 3} more" * (len(names) > 3)


def judge_run(run: Run) -> Iterator[Line]:
    """The lines on one run; what code of the learner's fails on here, but did not before, stays open."""
    if not run.error and not run.all("conv2d"):
        run.error = "no convolution runs: build it of nn.Conv2d"
    yield judged("runs", run.error)
    came_out = run.out is not None and not run.out.isnan().any()
    questions = {
        "output": (find_wrong_output, run.out is not None or (run.given is not None and not run.error)),
        "input left as it was": (find_changed_input, run.given is not None),
        "layers": (find_wrong_layer, any(value.weight is not None for value in run.recorder.values)),
        "gradients": (find_missing_gradient, came_out),
        "evaluation mode": (find_dependence, came_out),
    }
    for name, (find, told) in questions.items():
        try:
            if told:
                yield judged(name, find(run))
        except BaseException as error:  # exit() and an interrupt, too
            yield Line("open", name, f"it fails on the way: {describe_error(error)}")


def find_wrong_output(run: Run) -> str | None:
    if run.returned is None:
        return "forward returns nothing: end it with return"
    if not isinstance(run.returned, torch.Tensor):
        return f"forward returns a {type(run.returned).__name__}: return the tensor alone"
    if run.out.isnan().any():
        made = [value for value in run.recorder.values if value.numbers.isnan().any()]
        first = run.name_of(made[0].weight) or made[0].kind if made else "a step"
        return f"NaN comes out, which is no number: {first} is the first to put it out"
    (got, wanted), hint = (run.out.shape, run.wanted_shape), ""
    if len(got) == 4 and got[2:] == wanted[2:] and wanted[1] / got[1] in (2, 4):
        hint = f": {wanted[1] // got[1]} times as many are due (the expansion of a bottleneck is 4)"
    elif len(got) == 4 and got[0] != wanted[0]:
        hint = f": {got[0]} images come out for {wanted[0]}"
    text = f"it has {describe_shape(got)} instead of {describe_shape(wanted)}{hint}"
    return text if got != wanted else None


def find_changed_input(run: Run) -> str | None:
    if torch.equal(run.given, run.x):
        return None
    if close(run.given, relu(run.x)):
        return "the input comes back as ReLU of itself: an in-place ReLU must not be given the block's own input"
    return "the caller's input is changed: write out = out + x or out += x, not x += out"


def find_wrong_layer(run: Run) -> str | None:
    weights = [value.weight for value in run.recorder.values if value.weight is not None]
    known = {id(tensor) for tensor in (*run.module.parameters(), *run.module.buffers())}
    if lost := [weight for weight in weights if id(weight) not in known and weight.is_leaf]:
        text = f"{len(lost)} of the {len(weights)} layers that run are not in parameters(), so no optimizer trains them"
        return f"{text}: make them in __init__, as self.name = ..., a list of them in nn.ModuleList or nn.Sequential"
    ids = [id(weight) for weight in weights]
    if reused := [run.name_of(weight) or "a layer" for i, weight in enumerate(weights) if ids[i] in ids[:i]]:
        names = some([*dict.fromkeys(reused)])
        return f"{names} runs in more than one place with the same weights: make a layer for each place"
    twin = run.build()
    if twin is not run.module and {*map(id, twin.parameters())} & {*map(id, run.module.parameters())}:
        return "two instances share their layers: make the layers in __init__, not in the class or outside"
    used = run.recorder.used
    unused = [name for name, parameter in run.module.named_parameters() if id(parameter) not in used]
    text = f"{some(unused)}: nothing that runs takes it; is a step forgotten, or one too many?"
    return text if unused and run.out is not None and run.is_followed() else None


def find_missing_gradient(run: Run) -> str | None:
    if not run.out.requires_grad:
        return "no gradient comes back at all: forward must not use torch.no_grad(), detach() or .data"
    try:
        run.out.backward(torch.rand_like(run.out))
    except RuntimeError as error:
        return f"backward fails: {describe_error(error)}"
    used = [pair for pair in run.module.named_parameters() if id(pair[1]) in run.recorder.used]
    missing = some([name for name, parameter in used if parameter.grad is None])
    text = "torch.no_grad(), detach() or .data cuts it off, or an output is lost"
    return f"no gradient reaches {missing}: {text}" if missing else None


def find_dependence(run: Run) -> str | None:
    few = len(run.recorder.values) < 60  # of a network, dropout alone is asked
    if run.recorder.dropouts:
        return "dropout is left in: ResNet has none, its BatchNorm regularises"
    if few and not close(run.again(run.x), run.again(run.x)):
        return "the same input gives another output the second time: something draws random numbers"
    run.module.eval()
    with torch.no_grad():
        whole, alone = run.again(run.x), run.again(run.x[:1])
    run.module.train()
    text = "after eval() an image's output depends on the others of its batch: BatchNorm must then use its running "
    text += "statistics, so leave track_running_stats on and let eval() reach every layer"
    # A deep network amplifies rounding, so the measure is the largest output.
    return text if (whole[:1] - alone).abs().max() > 0.001 * whole.abs().max() else None
