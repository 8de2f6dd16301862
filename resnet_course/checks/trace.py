"""What a learner's module does while it runs: its layers, in the order of their use, with what goes in and out.

Layers are found as they run, not by name or place: a convolution counts whether an `nn.Sequential` runs it, a module in
a list, or a function. So a check can look at a block of any style.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from resnet_course.checks.report import describe_error

# The functions that every style of layer ends in, and where among their arguments the weight stands.
LAYERS = {"conv2d": 1, "batch_norm": 3, "linear": 1}


@dataclass(eq=False)
class Call:
    """One use of a layer. Tensors are copies, so a later in-place operation does not change them."""

    kind: str  # "conv2d", "batch_norm" or "linear"
    weight: Tensor  # the parameter itself: it tells which layer this is
    bias: Tensor | None
    stride: int
    came_in: Tensor
    history: frozenset["Call"]  # the convolutions that the input has gone through
    went_out: Tensor | None = None  # None if the call failed

    @property
    def kernel(self) -> int:
        return self.weight.shape[-1]

    @property
    def channels(self) -> tuple[int, int]:
        """Channels, or features, in and out."""
        return self.weight.shape[1], self.weight.shape[0]


class Recorder(TorchFunctionMode):
    """Writes down every layer that runs inside its `with` block. Dropout is left out, and counted.

    >>> with Recorder() as recorder:
    ...     out = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))(torch.rand(2, 3, 5, 5))
    >>> [(call.kind, tuple(call.went_out.shape)) for call in recorder.calls]
    [('conv2d', (2, 8, 3, 3)), ('batch_norm', (2, 8, 3, 3))]
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.dropouts = 0

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        if "dropout" in name and kwargs.get("p", 0.5) > 0:
            self.dropouts += 1
            return args[0] if args else kwargs["input"]
        tensors = list(_tensors((*args, *kwargs.values())))
        history = frozenset().union(*(getattr(tensor, "_convolutions", ()) for tensor in tensors))
        call = self._begin(name, args, kwargs, history)
        out = function(*args, **kwargs)
        if call is not None:
            call.went_out = out.detach().clone()
            if call.kind == "conv2d":
                history = history | {call}
        if history:
            for tensor in _tensors([out]):
                tensor._convolutions = history
        return out

    def _begin(self, name: str, args: tuple, kwargs: dict[str, Any], history: frozenset[Call]) -> Call | None:
        def argument(position: int, keyword: str, default: Any = None) -> Any:
            return args[position] if len(args) > position else kwargs.get(keyword, default)

        if name not in LAYERS or (weight := argument(LAYERS[name], "weight")) is None:
            return None
        stride = argument(3, "stride", 1) if name == "conv2d" else 1
        call = Call(
            kind=name,
            weight=weight,
            bias=argument(LAYERS[name] + 1, "bias"),
            stride=stride if isinstance(stride, int) else stride[0],
            came_in=argument(0, "input").detach().clone(),
            history=history,
        )
        self.calls.append(call)
        return call


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


@dataclass
class Run:
    """One module of the learner's, built and run once in training mode."""

    label: str  # how it was built, such as "MyBlock(6, 10, 2)"
    build: Callable[[], Any]
    x: Tensor
    wanted_shape: tuple[int, ...]  # of the output
    module: nn.Module | None = None
    given: Tensor | None = None  # the copy of x that went into forward
    returned: Any = None
    out: Tensor | None = None  # what was returned, if it is, or begins with, a tensor
    error: str | None = None
    recorder: Recorder = field(default_factory=Recorder)

    def calls(self, kind: str) -> list[Call]:
        return [call for call in self.recorder.calls if call.kind == kind]

    def again(self, x: Tensor) -> Tensor:
        """The output for a copy of ``x``."""
        return next(_tensors([self.module(x.clone())]))

    @cached_property
    def _layers(self) -> dict[int, str]:
        return {id(parameter): name.rpartition(".")[0] or name for name, parameter in self.module.named_parameters()}

    def name_of(self, weight: Tensor) -> str | None:
        """The layer of a weight as the learner calls it, or None if no module registers it."""
        return self._layers.get(id(weight))


def close(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding."""
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def make_run(label: str, build: Callable[[], Any], x: Tensor, wanted_shape: tuple[int, ...]) -> Run:
    """Build and run; whatever the learner's code raises becomes ``run.error``, a sentence."""
    run = Run(label, build, x, wanted_shape)
    try:
        module = build()
    except Exception as error:
        run.error = f"the constructor fails: {describe_error(error)}"
        return run
    if not isinstance(module, nn.Module):
        run.error = f"what it builds is no nn.Module but {type(module).__name__}: derive the class from nn.Module"
        return run
    run.module = module
    try:
        scatter_batchnorms(module)
        run.given = x.clone().requires_grad_().clone()  # no leaf: to change it in place is wrong, but no error
        with run.recorder:
            run.returned = module(run.given)
    except Exception as error:
        run.error = f"forward fails on an input of shape {tuple(x.shape)}: {describe_error(error)}"
        return run
    run.out = next(_tensors([run.returned]), None)
    return run


def scatter_batchnorms(module: nn.Module) -> None:
    """Take every BatchNorm off its start: a branch that begins at zero would hide what the block does with it."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.affine:
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.uniform_(-0.5, 0.5)
