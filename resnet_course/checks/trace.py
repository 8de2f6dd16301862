"""What a learner's module does while it runs: every operation, in order, with what goes in and out.

Layers are found as they run, not by name or place: a convolution counts whether an `nn.Sequential` runs it, a module in
a list, or a function. So a check can look at code of any style.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from resnet_course.checks.report import LIMIT_S, TookTooLong, describe_error, describe_shape, limited_time

# What the functions that hold weights are called, and where among their arguments the weight stands.
WEIGHTS = {"conv2d": 1, "linear": 1, "batch_norm": 3, "group_norm": 2, "layer_norm": 2, "instance_norm": 3}


@dataclass(eq=False)
class Call:
    """One operation on images or features. Tensors are copies, so a later in-place operation does not change them."""

    kind: str  # the function's name, such as "conv2d", "batch_norm" or "relu"
    operands: list[Tensor]  # the images or features that go in: two for an addition
    history: frozenset["Call"]  # the convolutions that they have gone through
    rerun: Callable[[Tensor], Tensor]  # the same operation on another input
    weight: Tensor | None = None  # the parameter itself: it tells which layer this is
    bias: Tensor | None = None
    options: dict[str, Any] = field(default_factory=dict)
    went_out: Tensor | None = None  # None if the call failed

    @property
    def came_in(self) -> Tensor:
        return self.operands[0]

    @property
    def kernel(self) -> tuple[int, int]:
        return self.weight.shape[2], self.weight.shape[3]

    @property
    def channels(self) -> tuple[int, int]:
        """Channels, or features, in and out."""
        return self.weight.shape[1] * self.options.get("groups", 1), self.weight.shape[0]

    @property
    def is_step(self) -> bool:
        """It took one thing and made another of it, without a convolution or a linear layer."""
        return len(self.operands) == 1 and self.went_out is not None and self.kind not in ("conv2d", "linear")

    @property
    def stride(self) -> int:
        return self.options["stride"]


class Recorder(TorchFunctionMode):
    """Writes down what runs inside its `with` block. Dropout is left out, and counted; padding joins its convolution.

    >>> layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    >>> with Recorder() as recorder:
    ...     out = layers(torch.rand(2, 3, 5, 5))
    >>> [(call.kind, tuple(call.went_out.shape)) for call in recorder.calls]
    [('conv2d', (2, 8, 3, 3)), ('batch_norm', (2, 8, 3, 3))]
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.used: set[int] = set()  # every tensor that any function took
        self.dropouts = 0

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "").strip("_")
        if name == "get":  # x.shape, x.T
            return function(*args, **kwargs)
        tensors = [tensor for tensor in tensors_in((*args, *kwargs.values())) if not is_lazy(tensor)]
        self.used.update(map(id, tensors))
        if "dropout" in name and _option(args, kwargs, 1, "p", 0.5) > 0 and _option(args, kwargs, 2, "training", True):
            self.dropouts += 1
            return tensors[0]
        history = frozenset().union(*(getattr(tensor, "_convolutions", ()) for tensor in tensors))
        call = _describe(function, name, args, kwargs, tensors, history)
        if call is not None:
            self.calls.append(call)
        out = function(*args, **kwargs)
        if call is not None and isinstance(out, Tensor) and out.dim() > 1:
            call.went_out = out.detach().clone()
            history = history | {call} if name == "conv2d" else history
        elif call is not None:
            self.calls.remove(call)
        for tensor in tensors_in([out]):
            vars(tensor)["_convolutions"] = history
            if name == "pad":
                vars(tensor)["_padding"] = call
        return out


def _option(args: tuple, kwargs: dict[str, Any], position: int, keyword: str, default: Any = None) -> Any:
    return args[position] if len(args) > position else kwargs.get(keyword, default)


def _describe(
    function: Callable, name: str, args: tuple, kwargs: dict, tensors: list[Tensor], history: frozenset[Call]
) -> Call | None:
    """The call of a function that takes images or features: those of its tensors that hold the whole batch."""
    position = WEIGHTS.get(name, 0) if function is not torch.batch_norm else 1
    operands = [tensor for tensor in tensors[: 1 if position else None] if tensor.dim() in (2, 4)]
    operands = [tensor for tensor in operands if len(tensor) == max(map(len, operands))]
    if not operands:
        return None

    def rerun(x: Tensor) -> Tensor:
        x = x.clone()  # the operation may work in place
        changed = [x if value is operands[0] else value for value in args]
        return function(*changed, **{key: x if value is operands[0] else value for key, value in kwargs.items()})

    found = Call(name, [operand.detach().clone() for operand in operands], history, rerun)
    if position:
        found.weight = _option(args, kwargs, position, "weight")
        found.bias = _option(args, kwargs, position + 1, "bias")
    if name == "conv2d":
        padding = getattr(operands[0], "_padding", None)
        if padding is not None:
            found.operands, found.rerun = padding.operands, lambda x: rerun(padding.rerun(x))
        stride, dilation = (_option(args, kwargs, i, key, 1) for i, key in ((3, "stride"), (5, "dilation")))
        found.options = {
            "stride": stride if isinstance(stride, int) else stride[0],
            "dilation": dilation if isinstance(dilation, int) else dilation[0],
            "groups": _option(args, kwargs, 6, "groups", 1),
        }
    elif name == "batch_norm":
        found.options = {"training": _option(args, kwargs, 5, "training", False)}
    return found


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The tensors among values, and in lists and tuples of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


@dataclass
class Run:
    """One module of the learner's, built and run once in training mode."""

    label: str  # how it was built, such as "MyBlock(6, 10, 2)"
    build: Callable[[], Any]
    x: Tensor
    wanted_shape: tuple[int, ...]  # of the output
    module: nn.Module | None = None
    given: Tensor | None = None  # the copy of x that went into forward
    leaf: Tensor | None = None  # what ``given`` was made of: it takes the gradient
    out_gradient: Tensor | None = None  # with which backward began
    returned: Any = None
    out: Tensor | None = None  # what was returned, if it is, or begins with, a tensor
    error: str | None = None
    recorder: Recorder = field(default_factory=Recorder)

    def calls(self, kind: str) -> list[Call]:
        return [call for call in self.recorder.calls if call.kind == kind]

    def again(self, x: Tensor) -> Tensor:
        """The output for a copy of ``x``."""
        with limited_time():
            return next(tensors_in([self.module(x.clone())]))

    @cached_property
    def _layers(self) -> dict[int, str]:
        return {id(parameter): name.rpartition(".")[0] or name for name, parameter in self.module.named_parameters()}

    def name_of(self, weight: Tensor) -> str | None:
        """The layer of a weight as the learner calls it, or None if no module registers it."""
        return self._layers.get(id(weight))


def close(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding."""
    numbers = a.is_floating_point() and b.is_floating_point() and a.shape == b.shape
    return numbers and torch.allclose(a, b.to(a.dtype), rtol=1e-4, atol=1e-5)


def make_run(label: str, build: Callable[[], Any], x: Tensor, wanted_shape: tuple[int, ...]) -> Run:
    """Build and run; whatever the learner's code raises becomes ``run.error``, a sentence."""
    run = Run(label, build, x, wanted_shape)
    place = "the constructor fails"
    try:
        with limited_time():
            module = build()
            if not isinstance(module, nn.Module):
                kind = type(module).__name__
                run.error = f"what it builds is no nn.Module but {kind}: derive the class from nn.Module"
                return run
            run.module, place = module, f"forward fails on an input of shape {tuple(x.shape)}"
            scatter_norms(module)
            run.leaf = x.clone().requires_grad_()
            run.given = run.leaf.clone()  # no leaf: to change it in place is wrong, but no error
            with run.recorder:
                run.returned = module(run.given)
    except TookTooLong:
        run.error = f"{place.split(' fails')[0]} takes longer than {LIMIT_S} seconds: does a loop in it end?"
    except BaseException as error:  # exit() and an interrupt, too: the session goes on
        run.error = f"{place}: {describe_error(error)}"
        failed = run.recorder.calls[-1:]
        if failed and failed[0].went_out is None and len(failed[0].operands) == 2:
            run.error += ": " + " met ".join(describe_shape(operand.shape) for operand in failed[0].operands)
    else:
        run.out = next(tensors_in([run.returned]), None)
    return run


def scatter_norms(module: nn.Module) -> None:
    """Take every norm off its start: a branch that begins at zero would hide what the block does with it."""
    for layer in module.modules():
        if "norm" in type(layer).__name__.lower():
            for name, low in (("weight", 0.5), ("bias", -0.5)):
                value = getattr(layer, name, None)
                if isinstance(value, Tensor) and not is_lazy(value):
                    value.data.uniform_(low, low + 1)
