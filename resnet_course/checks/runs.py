"""What a check asks of a run as a whole: does it run, what comes out, does it learn, does it keep to itself?

Every question returns what is wrong, `OPEN` where there is nothing to look at, or None.
"""

import torch
import torch.nn.functional as F

from resnet_course.checks.report import OPEN, Property, describe_error
from resnet_course.checks.trace import Run, close


def describe_shape(shape: tuple[int, ...]) -> str:
    """A shape (N, C, H, W) in words.

    >>> describe_shape((2, 64, 8, 6))
    '64 channels of 8×6'
    """
    return f"{shape[1]} channels of {shape[2]}×{shape[3]}" if len(shape) == 4 else f"shape {tuple(shape)}"


def some(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def find_error(run: Run) -> str | None:
    if run.error is None and not run.calls("conv2d"):
        return "no convolution runs: build it of nn.Conv2d"
    return run.error


def find_wrong_output(run: Run) -> str | None:
    if run.error:
        return OPEN
    if run.returned is None:
        return "forward returns nothing: end it with return"
    if not isinstance(run.returned, torch.Tensor):
        return f"forward returns a {type(run.returned).__name__}: return the tensor alone"
    return None


def find_wrong_shape(run: Run) -> str | None:
    if run.out is None:
        return OPEN
    got, wanted = tuple(run.out.shape), run.wanted_shape
    if got == wanted:
        return None
    hint = ""
    if len(got) == 4 and got[2:] == wanted[2:]:
        hint = f": out_channels should be {wanted[1]}"
        if wanted[1] % got[1] == 0 and wanted[1] // got[1] in (2, 4):
            hint += f", {wanted[1] // got[1]} times as many (the expansion of a bottleneck is 4)"
    elif len(got) == 4:
        hint = ": look at stride and padding"
    return f"the output has {describe_shape(got)} instead of {describe_shape(wanted)}{hint}"


def find_changed_input(run: Run) -> str | None:
    if run.given is None:
        return OPEN
    if torch.equal(run.given, run.x):
        return None
    if close(run.given, F.relu(run.x)):
        return "the input comes back as ReLU of itself: an in-place ReLU must not be given the block's own input"
    return "the caller's input is changed: write out = out + x or out += x, not x += out"


def find_unregistered(run: Run) -> str | None:
    if not run.recorder.calls:
        return OPEN
    lost = [call for call in run.recorder.calls if run.name_of(call.weight) is None]
    if not lost:
        return None
    return (
        f"{len(lost)} of the {len(run.recorder.calls)} layers that run are not in parameters(), so no optimizer trains "
        "them: make layers in __init__, as self.name = ..., and keep a list of them in nn.ModuleList or nn.Sequential"
    )


def find_unused(run: Run) -> str | None:
    if run.out is None:
        return OPEN
    used = {id(tensor) for call in run.recorder.calls for tensor in (call.weight, call.bias)}
    unused = [name for name, parameter in run.module.named_parameters() if id(parameter) not in used]
    return f"{some(unused)}: of no convolution, BatchNorm or linear layer that runs; leave it out" if unused else None


def find_reused(run: Run) -> str | None:
    if not run.recorder.calls:
        return OPEN
    weights = [call.weight for call in run.recorder.calls]
    reused = [weight for i, weight in enumerate(weights) if any(weight is earlier for earlier in weights[:i])]
    if not reused:
        return None
    names = dict.fromkeys(run.name_of(weight) or "a layer" for weight in reused)
    return f"{some(list(names))} runs in more than one place with the same weights: make a layer for each place"


def find_shared(run: Run) -> str | None:
    if run.module is None:
        return OPEN
    twin = run.build()
    if {id(p) for p in twin.parameters()} & {id(p) for p in run.module.parameters()}:
        return "two instances share their layers: make the layers in __init__, not in the class or outside"
    return None


def find_dropout(run: Run) -> str | None:
    if run.out is None:
        return OPEN
    return "dropout is left in: ResNet has none, its BatchNorm regularises" if run.recorder.dropouts else None


def find_randomness(run: Run) -> str | None:
    if run.out is None or run.recorder.dropouts or close(run.again(run.x), run.again(run.x)):
        return find_dropout(run)
    return "the same input gives another output the second time: something draws random numbers"


def find_missing_gradient(run: Run) -> str | None:
    if run.out is None:
        return OPEN
    if not run.out.requires_grad:
        return "no gradient comes back at all: forward must not use torch.no_grad(), detach() or .data"
    try:
        run.out.backward(torch.rand_like(run.out))
    except RuntimeError as error:
        return f"backward fails: {describe_error(error)}"
    used = {id(tensor) for call in run.recorder.calls for tensor in (call.weight, call.bias)}
    missing = [
        name for name, parameter in run.module.named_parameters() if parameter.grad is None and id(parameter) in used
    ]
    if missing:
        return f"{some(missing)} gets no gradient: forward must not use torch.no_grad(), detach() or .data"
    return None


def find_batch_dependence(run: Run) -> str | None:
    if run.out is None:
        return OPEN
    run.module.eval()
    try:
        with torch.no_grad():
            whole, alone = run.again(run.x), run.again(run.x[:1])
            steady = run.recorder.dropouts == 0 or close(whole, run.again(run.x))
    finally:
        run.module.train()
    if not steady:
        return "after eval() dropout still draws: F.dropout needs training=self.training"
    # A deep network amplifies rounding, so the measure is the largest output.
    if (whole[:1] - alone).abs().max() <= 0.001 * whole.abs().max():
        return None
    return (
        "after eval() an image's output depends on the others of its batch: BatchNorm must then use its running "
        "statistics, so leave track_running_stats on and let eval() reach every layer"
    )


RUN_PROPERTIES = [
    Property("runs", "no error", find_error),
    Property("output", "forward returns one tensor", find_wrong_output),
    Property("shapes", "the output has the shape asked", find_wrong_shape),
    Property("input left as it was", "the caller's tensor comes back unchanged", find_changed_input),
    Property("registered layers", "parameters() holds every layer that runs", find_unregistered),
    Property("no unused layers", "every parameter belongs to a layer that runs", find_unused),
    Property("a layer for each place", "no layer runs twice", find_reused),
    Property("gradients", "every parameter gets a gradient", find_missing_gradient),
    Property("evaluation mode", "after eval() an image's output is its own affair", find_batch_dependence),
]
# Asked of blocks, which are built and run often; of a network, only whether dropout runs.
OWN_PROPERTIES = [
    Property("layers of one's own", "no two instances share any", find_shared),
    Property("no randomness", "the same input gives the same output", find_randomness),
]
NO_DROPOUT = Property("no randomness", "no dropout runs", find_dropout)
